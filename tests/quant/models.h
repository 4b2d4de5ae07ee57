/* tests/quant/models.h: small models to convert. */
#pragma once
#include "nn/builder.h"
#include "nn/model_file.h"
#include "quant/calibrate.h"
#include "tests/support/harness.h"

/* A cnn of width 0.25 for 28x28 pictures of three classes ("sea", "land", "river"), drawn from
 * test_seed: BatchNorms with scales of both signs, means and variances well off 0 and 1. The caller
 * frees with nn_model_free. */
void models_draw(nn_model_t *model);

/* `count` pictures of noise for it, with labels. The caller frees with data_set_free. */
void models_pictures(data_set_t *set, size_t count);

/* A mobilenet_v2 of width 0.25 for 32x32 pictures of five classes, with `count` pictures of noise
 * of its own; its BatchNorms have scales around 1 and the statistics of those pictures. The caller
 * frees both. */
void models_draw_mobilenet(nn_model_t *model, data_set_t *set, size_t count, const char *strides);

/* The model in integers by the defaults, calibrated on 32 pictures of noise. The caller frees. */
void models_integer(quant_integer_t *integer, const nn_model_t *model);
/* The same as a file. */
void models_save_integer(const char *path, const nn_model_t *model);

/* Values of an entry by name. */
float *models_values(const nn_state_t *state, const char *name);

/* A net of one 8x8 picture to build on by hand. The caller destroys it. */
nn_net_t *models_begin(nn_builder_t *b);

/* `trained` + `tested` synthetic pictures of size x size pixels, shuffled by test_seed. The caller
 * frees both. */
void models_landscapes(data_set_t *train, size_t trained, data_set_t *test, size_t tested,
                       size_t size);
