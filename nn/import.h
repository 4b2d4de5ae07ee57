/* nn/import.h: weights from elsewhere (nn/tensor_file.h) into one of our nets. */
#pragma once
#include "nn/model_file.h"
#include "nn/tensor_file.h"

/* What the file's names and shapes say of its net.
 *   in-out arch  input, strides: as asked for, 0 and "" when nothing is (then what the architecture
 *                is usually given); classes: as asked for, 0 for the file's; the rest is found
 * ERR_FORMAT: the names are of no net that hearsay has; ERR_CONFIG: the input does not fit. */
err_t nn_import_arch(nn_arch_t *arch, const nn_tensor_file_t *file);

typedef struct {
    size_t file_classes;     /* of the file's head */
    bool head_drawn;         /* it was left, and the net's drawn from the seed */
    bool head_names;         /* because the classes' names differ, not their number */
    size_t counters_missing; /* num_batches_tracked that the file lacks: 0 */
} nn_import_report_t;

/* Fills a state of a net that is made already. Each entry must be there in the net's shape, finite,
 * and nothing else; the head alone (the last dense layer) may be of another number of classes, and
 * is then drawn from `seed`, as nn_state_draw would. `class_names` (arch.classes) or NULL: when the
 * file is a hearsay model that names other classes, its head is left, too.
 * ERR_FORMAT names the file and the tensor, and how many more there are. */
err_t nn_import_state(nn_state_t *state, nn_import_report_t *report, nn_tensor_file_t *file,
                      const char *const *class_names, uint64_t seed);

/* Metadata of a hearsay model file; *found false when the file has none (then nothing is to be
 * freed). ERR_FORMAT also for a model that is not FP32. */
err_t nn_import_meta(nn_model_meta_t *meta, bool *found, const nn_tensor_file_t *file);
