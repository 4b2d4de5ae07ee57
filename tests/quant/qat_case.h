/* tests/quant/qat_case.h: what quantization-aware training is tested with. */
#pragma once
#include "quant/fold.h"
#include "quant/qat.h"
#include "tests/quant/models.h"

/* A model of tests/quant/models.h, folded, with pictures of noise and post-training integers. */
typedef struct {
    nn_model_t model;
    nn_net_t *net;
    nn_state_t folded;
    data_set_t set;
    quant_calibration_t calibration;
    quant_convert_options_t convert;
    quant_integer_t start;
} qat_case_t;

enum { PICTURES = 60, BATCH = 16, PIXELS = 28 * 28 * 3 };

/* With weights of so many bits. The caller frees. */
void qat_case_make(qat_case_t *c, int bits, bool per_tensor);
/* Folds c->model and calibrates on the first `pictures` of c->set by c->convert. */
void qat_case_calibrate(qat_case_t *c, size_t pictures);
void qat_case_free(qat_case_t *c);
