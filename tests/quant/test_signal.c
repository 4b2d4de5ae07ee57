/* Signal to noise of each layer, and what timing a file gives. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/infer.h"
#include "quant/fold.h"
#include "quant/quant.h"
#include "tests/quant/models.h"

enum { PICTURES = 12, PIXELS = 28 * 28 * 3, CLASSES = 3, LAYERS = 6 };

/* A model, folded, in integers, and pictures. */
typedef struct {
    nn_model_t model;
    nn_net_t *net;
    nn_state_t folded;
    quant_integer_t integer;
    data_set_t set;
} fixture_t;

static void fixture_init(fixture_t *f)
{
    *f = (fixture_t){0};
    models_draw(&f->model);
    models_pictures(&f->set, PICTURES);
    assert_ok(quant_fold_net(&f->net, f->model.net));
    assert_ok(nn_state_init(&f->folded, f->net));
    assert_ok(quant_fold_state(&f->folded, &f->model.state));
    models_integer(&f->integer, &f->model);
}

static void fixture_free(fixture_t *f)
{
    quant_integer_free(&f->integer);
    data_set_free(&f->set);
    nn_state_free(&f->folded);
    nn_net_destroy(&f->net);
    nn_model_free(&f->model);
}

/* The last layer's, by hand: logits of the one beside logits of the other. */
static double last_layer_db(const fixture_t *f, size_t count)
{
    static float x[PIXELS];
    float real[CLASSES], integer[CLASSES];
    double signal = 0, noise = 0;
    nn_infer_t *infer = NULL;
    assert_ok(nn_infer_new(&infer, f->net, 1, 1));
    for (size_t k = 0; k < count; k++) {
        uint32_t picture = (uint32_t)(k * PICTURES / count);
        int32_t label;
        data_batch(x, &label, &f->set, &picture, 1, &f->model.meta.normalisation, NULL, NULL);
        nn_infer_run(infer, real, &f->folded, x, 1);
        quant_integer_reference(integer, NULL, &f->integer, x);
        for (size_t c = 0; c < CLASSES; c++) {
            double difference = (double)real[c] - (double)integer[c];
            signal += (double)real[c] * (double)real[c];
            noise += difference * difference;
        }
    }
    nn_infer_destroy(&infer);
    return 10 * log10(signal / noise);
}

static void every_layer_has_its_ratio(void **unused)
{
    (void)unused;
    static const char *const names[] = {"conv1", "conv2", "conv3", "fc1", "fc2", "fc3"};
    fixture_t f;
    quant_signals_t s;
    fixture_init(&f);
    assert_ok(quant_signals_measure(&s, &f.folded, &f.integer, &f.set, 5, NULL));
    assert_int_equal(s.count, LAYERS);
    assert_int_equal(s.pictures, 5);
    for (size_t i = 0; i < LAYERS; i++) {
        assert_string_equal(s.layers[i].layer, names[i]);
        assert_true(s.layers[i].db > 15 && s.layers[i].db < 80);
        assert_true(s.layers[i].db >= s.layers[s.worst].db);
    }
    assert_true(fabs(s.layers[LAYERS - 1].db - last_layer_db(&f, 5)) < 0.05);
    quant_signals_free(&s);
    fixture_free(&f);
}

/* A layer whose weights are spoilt, and those behind it; not those ahead. */
static void a_spoilt_layer_shows(void **unused)
{
    (void)unused;
    fixture_t f;
    quant_signals_t before, after;
    fixture_init(&f);
    assert_ok(quant_signals_measure(&before, &f.folded, &f.integer, &f.set, PICTURES, NULL));
    for (size_t i = 0; i < f.integer.net->op_count; i++) {
        const nn_op_t *op = &f.integer.net->ops[i];
        if (strcmp(op->name, "conv3") != 0)
            continue;
        size_t count = f.integer.net->entries[op->weight].count;
        memset(f.integer.layers[i].weight, 0, count);
    }
    assert_ok(quant_signals_measure(&after, &f.folded, &f.integer, &f.set, PICTURES, NULL));
    for (size_t i = 0; i < 2; i++)
        assert_true(after.layers[i].db == before.layers[i].db);
    assert_true(after.layers[2].db < 20 && after.layers[2].db < before.layers[2].db - 10);
    assert_true(after.worst >= 2);
    quant_signals_free(&before);
    quant_signals_free(&after);
    fixture_free(&f);
}

static void other_lists_and_interruptions_are_refused(void **unused)
{
    (void)unused;
    const volatile bool interrupted = true;
    fixture_t f;
    quant_signals_t s;
    fixture_init(&f);
    assert_fails(quant_signals_measure(&s, &f.model.state, &f.integer, &f.set, 1, NULL), ERR_CONFIG,
                 "the float model is not the one that the integer model was made from");
    quant_signals_free(&s);
    assert_int_equal(quant_signals_measure(&s, &f.folded, &f.integer, &f.set, 1, &interrupted),
                     ERR_REFUSED);
    quant_signals_free(&s);
    fixture_free(&f);
}

static void of_large_pictures_few_are_looked_at(void **unused)
{
    (void)unused;
    static const struct {
        nn_arch_t arch;
        size_t pictures;
    } cases[] = {
        {{.name = "cnn", .width = 1, .input = 64, .classes = 10}, 16},
        /* 3.0e8 multiplications a picture: Sandler et al. 2018, table 4 */
        {{.name = "mobilenet_v2", .width = 1, .strides = "imagenet", .input = 224, .classes = 10},
         3},
        {{.name = "cnn", .width = 1, .input = 1024, .classes = 10}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nn_net_t *net = NULL, *folded = NULL;
        assert_ok(nn_net_new(&net, &cases[i].arch));
        assert_ok(quant_fold_net(&folded, net));
        assert_int_equal(quant_signal_pictures(folded), cases[i].pictures);
        nn_net_destroy(&folded);
        nn_net_destroy(&net);
    }
}

#if !defined(__SANITIZE_THREAD__) /* threads do not outlive a fork there */
static void files_take_turns_and_errors_come_back(void **unused)
{
    (void)unused;
    const volatile bool interrupted = true;
    fixture_t f;
    quant_timing_t timings[2];
    char fp32[512], int8[512], expected[600];
    const char *folder = test_dir();
    fixture_init(&f);
    snprintf(fp32, sizeof fp32, "%s/m.safetensors", folder);
    snprintf(int8, sizeof int8, "%s/int8.safetensors", folder);
    assert_ok(nn_model_save(fp32, &f.model.state, &f.model.meta));
    const char *paths[] = {fp32, int8};
    snprintf(expected, sizeof expected, "open %s: No such file or directory", int8);
    assert_fails(quant_time(timings, paths, 2, &f.set, 1, 0.003, NULL), ERR_IO, expected);
    err_clear();
    models_save_integer(int8, &f.model);
    assert_ok(quant_time(timings, paths, 2, &f.set, 2, 0.003, NULL));
    for (size_t i = 0; i < 2; i++) {
        const quant_timing_t *t = &timings[i];
        assert_true(t->runs >= 9 && t->batches >= 9 && t->load_s > 0);
        assert_true(t->p50_s > 0 && t->p50_s <= t->p90_s && t->p90_s <= t->p99_s);
        assert_true(t->images_per_s > 0 && t->threads == 2);
    }
    assert_int_equal(quant_time(timings, paths, 2, &f.set, 1, 1, &interrupted), ERR_REFUSED);
    fixture_free(&f);
}
#endif

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_layer_has_its_ratio),
    cmocka_unit_test(a_spoilt_layer_shows),
    cmocka_unit_test(of_large_pictures_few_are_looked_at),
    cmocka_unit_test(other_lists_and_interruptions_are_refused),
#if !defined(__SANITIZE_THREAD__)
    cmocka_unit_test(files_take_turns_and_errors_come_back),
#endif
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
