/* data/source.h: where pictures come from. A source knows every picture's label and name without
 * having decoded one; a set holds decoded pictures, all of one size, read-only once loaded.
 *
 * SPEC    cifar10:DIR[:train|test]   CIFAR-10's binary batches; both parts without the suffix
 *         folder:DIR                 class folders of JPEG or PNG, entries sorted bytewise
 *         synthetic:SEED[:COUNT]     land cover drawn by seed, 2,500 pictures without COUNT
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    DATA_CLASSES_MAX = 1000,
    DATA_CHANNELS = 3,
    DATA_SYNTHETIC_COUNT = 2500,
    DATA_SYNTHETIC_CLASSES = 10
};

typedef struct data_source_s data_source_t;

/* Opens a SPEC. `classes` (`class_count` names) fixes the list and order of classes: a class
 * without a folder has zero pictures, a folder that is not in the list is an error; NULL, 0 takes
 * the source's own, in its order. Errors name the file or folder and what to do. The caller closes.
 * ERR_CONFIG: not a SPEC, no such folder, unknown class, no pictures; ERR_FORMAT: damaged batch
 * file; ERR_IO. */
err_t data_source_open(data_source_t **source, const char *spec, const char *const *classes,
                       size_t class_count);
void data_source_close(data_source_t **source);
/* True when two SPECs name pictures in common, however they are spelled: the same folder by another
 * path, parts of CIFAR-10 that are not train and test, synthetic pictures of one seed, of which the
 * fewer are the first of the more. False also when one is no SPEC, or its folder is not there. */
bool data_source_overlap(const char *spec, const char *other);

size_t data_source_count(const data_source_t *source);
size_t data_source_class_count(const data_source_t *source);
const char *const *data_source_class_names(const data_source_t *source);
/* (count) class of every picture, in 0 .. class_count-1. Owned by the source. */
const int32_t *data_source_labels(const data_source_t *source);
/* What a message calls picture i: a path, "data_batch_1.bin[17]", "synthetic[17]". `out` is filled.
 */
void data_source_item_name(const data_source_t *source, size_t i, char *out, size_t size);
/* How many of its first pictures are the data set's own training part, when it comes with a test
 * part (cifar10 without suffix: 50,000 of 60,000); else == count. */
size_t data_source_train_count(const data_source_t *source);

typedef struct {
    size_t count;         /* pictures */
    size_t height, width; /* of every one */
    size_t class_count;
    uint8_t *pixels; /* (count, height, width, 3), owned */
    int32_t *labels; /* (count), owned */
} data_set_t;

typedef enum { DATA_BAD_STOP, DATA_BAD_SKIP } data_bad_image_t;

/* Decodes pictures `indices` (`count` of them, any order, kept) and resizes them to size x size
 * (area average when shrinking, bilinear when growing). A picture that is broken, truncated or gone
 * is ERR_FORMAT or ERR_IO naming its file under DATA_BAD_STOP; under DATA_BAD_SKIP it is left out,
 * logged and counted in *skipped. ERR_REFUSED soon after *interrupted, which may be NULL, has
 * become true. The caller frees `set` with data_set_free. */
err_t data_source_load(data_set_t *set, size_t *skipped, const data_source_t *source,
                       const uint32_t *indices, size_t count, size_t size, data_bad_image_t policy,
                       const volatile bool *interrupted);
void data_set_free(data_set_t *set);

/* One picture file (JPEG or PNG, told by its first bytes) resized to size x size: for predict.
 *   out pixels (size,size,3) */
err_t data_load_image(uint8_t *pixels, const char *path, size_t size);
