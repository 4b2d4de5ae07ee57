/* node/whole.h: all pictures of a SPEC, as a model takes them. For commands that work on a model
 * and a data set: evaluate, quantize. */
#pragma once
#include "data/source.h"
#include "nn/model_file.h"

/* Decodes every picture of `spec` at the model's input size, with the model's classes in its order.
 * `spec` NULL is ERR_USAGE. ERR_CONFIG when the data has a class that the model does not know.
 * `model_path` stands in messages. The caller frees `set`. */
err_t node_load_whole(data_set_t *set, const char *spec, const nn_model_meta_t *meta,
                      const char *model_path);

/* Two parts of the pictures of `spec`: a tenth to calibrate on, at least 2, drawn by `seed`, of
 * which the first `samples` drawn are decoded; and the others to test on. Errors as above, and
 * ERR_CONFIG when there are fewer than 3 pictures. The caller frees both. */
err_t node_load_apart(data_set_t *test, data_set_t *calibration, const char *spec,
                      const nn_model_meta_t *meta, const char *model_path, size_t samples,
                      uint64_t seed);
/* The whole of the tenth that node_load_apart sets apart by `seed`. Errors as there. */
err_t node_load_tenth(data_set_t *set, const char *spec, const nn_model_meta_t *meta,
                      const char *model_path, uint64_t seed);
/* At most `samples` pictures of `spec`, drawn by `seed`. Errors as above. The caller frees. */
err_t node_load_drawn(data_set_t *set, const char *spec, const nn_model_meta_t *meta,
                      const char *model_path, size_t samples, uint64_t seed);

/* --threads, or as many as there are cores. */
int node_threads(int wanted);
