#include "tests/quant/qat_case.h"

void qat_case_calibrate(qat_case_t *c, size_t pictures)
{
    assert_ok(quant_fold_net(&c->net, c->model.net));
    assert_ok(nn_state_init(&c->folded, c->net));
    assert_ok(quant_fold_state(&c->folded, &c->model.state));
    c->calibration = (quant_calibration_t){.folded = &c->folded,
                                           .set = &c->set,
                                           .count = pictures,
                                           .normalisation = &c->model.meta.normalisation,
                                           .threads = 1};
    assert_ok(quant_calibrate(&c->start, &c->model.meta, &c->calibration, &c->convert));
}

void qat_case_make(qat_case_t *c, int bits, bool per_tensor)
{
    *c = (qat_case_t){.convert = quant_convert_defaults()};
    c->convert.weight_bits = bits;
    c->convert.per_tensor = per_tensor;
    models_draw(&c->model);
    models_pictures(&c->set, PICTURES);
    qat_case_calibrate(c, PICTURES);
}

void qat_case_free(qat_case_t *c)
{
    quant_integer_free(&c->start);
    data_set_free(&c->set);
    nn_state_free(&c->folded);
    nn_net_destroy(&c->net);
    nn_model_free(&c->model);
}
