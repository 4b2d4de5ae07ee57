#include "tests/quant/models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "nn/infer.h"
#include "nn/memory.h"

static void draw_batch_norm(float *values, const nn_entry_t *e, rng_t *rng)
{
    for (size_t i = 0; i < e->count; i++) {
        double x = rng_normal(rng);
        if (e->kind == NN_KIND_RUNNING_VAR)
            values[i] = (float)exp(2 * x);
        else if (e->kind == NN_KIND_BN_WEIGHT)
            values[i] = (float)(1 + x);
        else
            values[i] = (float)(0.5 * x);
    }
}

void models_draw(nn_model_t *model)
{
    static const char *const names[] = {"sea", "land", "river"};
    const nn_arch_t arch = {.name = "cnn", .width = 0.25, .input = 28, .classes = 3};
    rng_t rng = test_rng(1000);
    *model = (nn_model_t){0};
    assert_ok(nn_net_new(&model->net, &arch));
    assert_ok(nn_state_init(&model->state, model->net));
    nn_state_draw(&model->state, test_seed);
    for (size_t i = 0; i < model->net->entry_count; i++) {
        const nn_entry_t *e = &model->net->entries[i];
        if (e->kind != NN_KIND_WEIGHT && e->kind != NN_KIND_BIAS && e->kind != NN_KIND_COUNTER)
            draw_batch_norm(model->state.values + e->offset, e, &rng);
    }
    model->meta = (nn_model_meta_t){.arch = arch,
                                    .normalisation = data_normalisation_default(),
                                    .federation = "test",
                                    .round = 7,
                                    .precision = "fp32"};
    model->meta.class_names = xcalloc(3, sizeof *model->meta.class_names);
    for (size_t i = 0; i < 3; i++)
        model->meta.class_names[i] = xstrdup(names[i]);
}

void models_pictures(data_set_t *set, size_t count)
{
    rng_t rng = test_rng(1001);
    size_t bytes = count * 28 * 28 * 3;
    *set = (data_set_t){.count = count, .height = 28, .width = 28, .class_count = 3};
    set->pixels = xcalloc(bytes, 1);
    set->labels = xcalloc(count, sizeof *set->labels);
    for (size_t i = 0; i < bytes; i++)
        set->pixels[i] = (uint8_t)rng_below(&rng, 256);
    for (size_t i = 0; i < count; i++)
        set->labels[i] = (int32_t)rng_below(&rng, 3);
}

static void estimate(nn_model_t *model, const data_set_t *set)
{
    const size_t channels = nn_statistics_count(model->net);
    double *mean = xcalloc(channels, sizeof *mean), *var = xcalloc(channels, sizeof *var);
    uint64_t *count = xcalloc(nn_batch_norm_count(model->net), sizeof *count);
    assert_ok(nn_statistics_estimate(mean, var, count, &model->state, set, NULL,
                                     &model->meta.normalisation, NULL, NULL, set->count, 1, NULL));
    nn_statistics_apply(&model->state, mean, var, count);
    free(mean);
    free(var);
    free(count);
}

void models_draw_mobilenet(nn_model_t *model, data_set_t *set, size_t count, const char *strides)
{
    nn_arch_t arch = {.name = "mobilenet_v2", .width = 0.25, .input = 32, .classes = 5};
    rng_t rng = test_rng(1002);
    snprintf(arch.strides, sizeof arch.strides, "%s", strides);
    *model = (nn_model_t){0};
    assert_ok(nn_net_new(&model->net, &arch));
    assert_ok(nn_state_init(&model->state, model->net));
    nn_state_draw(&model->state, test_seed);
    for (size_t i = 0; i < model->net->entry_count; i++) {
        const nn_entry_t *e = &model->net->entries[i];
        float *values = model->state.values + e->offset;
        if (e->kind == NN_KIND_BN_WEIGHT || e->kind == NN_KIND_BN_BIAS)
            for (size_t k = 0; k < e->count; k++)
                values[k] += (float)(0.3 * rng_normal(&rng));
    }
    model->meta = (nn_model_meta_t){.arch = model->net->arch,
                                    .normalisation = data_normalisation_default(),
                                    .federation = "test",
                                    .precision = "fp32"};
    *set = (data_set_t){.count = count, .height = 32, .width = 32, .class_count = 5};
    set->pixels = xcalloc(count * 32 * 32 * 3, 1);
    set->labels = xcalloc(count, sizeof *set->labels);
    for (size_t i = 0; i < count * 32 * 32 * 3; i++)
        set->pixels[i] = (uint8_t)rng_below(&rng, 256);
    for (size_t i = 0; i < count; i++)
        set->labels[i] = (int32_t)rng_below(&rng, 5);
    estimate(model, set);
}

void models_integer(quant_integer_t *integer, const nn_model_t *model)
{
    data_set_t set;
    const quant_convert_options_t options = quant_convert_defaults();
    models_pictures(&set, 32);
    const quant_calibration_t calibration = {
        .set = &set, .count = set.count, .normalisation = &model->meta.normalisation, .threads = 1};
    assert_ok(quant_quantize(integer, model, &calibration, &options));
    data_set_free(&set);
}

void models_save_integer(const char *path, const nn_model_t *model)
{
    quant_integer_t integer;
    models_integer(&integer, model);
    assert_ok(quant_integer_save(path, &integer));
    quant_integer_free(&integer);
}

float *models_values(const nn_state_t *state, const char *name)
{
    int entry = nn_net_find(state->net, name);
    assert_true(entry != NN_NONE);
    return state->values + state->net->entries[entry].offset;
}

nn_net_t *models_begin(nn_builder_t *b)
{
    nn_net_t *net = nn_calloc(1, sizeof *net);
    *b = (nn_builder_t){.net = net, .tensor_capacity = 4};
    net->tensors = nn_calloc(4, sizeof *net->tensors);
    net->tensors[0] = (nn_shape_t){8, 8, 3};
    net->tensor_count = 1;
    return net;
}

void models_landscapes(data_set_t *train, size_t trained, data_set_t *test, size_t tested,
                       size_t size)
{
    data_source_t *source = NULL;
    size_t skipped, all = trained + tested;
    uint32_t *order = xcalloc(all, sizeof *order);
    char spec[64];
    rng_t rng = test_rng(1);
    snprintf(spec, sizeof spec, "synthetic:%llu:%zu", (unsigned long long)test_seed, all);
    assert_ok(data_source_open(&source, spec, NULL, 0));
    for (size_t i = 0; i < all; i++)
        order[i] = (uint32_t)i;
    rng_shuffle_u32(&rng, order, all);
    assert_ok(data_source_load(train, &skipped, source, order, trained, size, DATA_BAD_STOP, NULL));
    assert_ok(data_source_load(test, &skipped, source, order + trained, tested, size, DATA_BAD_STOP,
                               NULL));
    data_source_close(&source);
    free(order);
}
