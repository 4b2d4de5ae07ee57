/* The comparison: its arithmetic, its file and its table. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "quant/precision.h"
#include "quant/report.h"
#include "tests/quant/models.h"

enum { PICTURES = 70 }; /* more than one batch */

static void drop_compression_and_cost_are_as_documented(void **unused)
{
    (void)unused;
    nn_model_t model;
    models_draw(&model);
    quant_result_t fp32 = {.precision = QUANT_FP32, .bytes = 1000, .accuracy = 0.90};
    quant_result_t fp16 = {.precision = QUANT_FP16, .bytes = 400, .accuracy = 0.925};
    quant_result_t int8 = {.precision = QUANT_INT8, .bytes = 250, .accuracy = 0.885};
    quant_result_compare(&fp16, &fp32, model.net, 8e6, 5.0);
    quant_result_compare(&int8, &fp32, model.net, 8e6, 5.0);
    quant_result_compare(&fp32, &fp32, model.net, 8e6, 5.0);
    assert_true(fp32.drop_points == 0 && fp32.compression == 1);
    assert_true(fp32.bytes_run == 8e6 && fp32.cost_run == 40.0);
    assert_true(fabs(fp16.drop_points + 2.5) < 1e-9 && fp16.compression == 2.5);
    assert_true(fp16.bytes_run == 4e6 && fp16.cost_run == 20.0);
    assert_true(fabs(int8.drop_points - 1.5) < 1e-9 && int8.compression == 4);
    double part = quant_wire_bytes(model.net, QUANT_INT8) / quant_wire_bytes(model.net, QUANT_FP32);
    assert_true(part > 0.25 && part < 0.5);
    assert_true(fabs(int8.bytes_run - 8e6 * part) < 1e-3);
    quant_result_compare(&int8, &fp32, model.net, -1, 5.0);
    assert_true(int8.bytes_run < 0 && int8.cost_run < 0);
    nn_model_free(&model);
}

/* Compares in a fresh folder, which is returned (static). */
static const char *compare(quant_comparison_t *comparison, double bytes_run)
{
    static char folder[512], path[600];
    static const quant_precision_t precisions[] = {QUANT_FP16, QUANT_INT8, QUANT_FP16};
    nn_model_t model;
    data_set_t set;
    models_draw(&model);
    models_pictures(&set, PICTURES);
    snprintf(folder, sizeof folder, "%s/quantized", test_dir());
    snprintf(path, sizeof path, "%s/../consensus.safetensors", folder);
    assert_ok(file_make_folder(folder));
    assert_ok(nn_model_save(path, &model.state, &model.meta));
    const quant_compare_options_t options = {.model_path = path,
                                             .out_folder = folder,
                                             .precisions = precisions,
                                             .precision_count = 3,
                                             .set = &set,
                                             .data_name = "noise",
                                             .threads = 1,
                                             .bytes_run = bytes_run,
                                             .cost_per_mb = 5.0};
    assert_ok(quant_compare(comparison, &options));
    data_set_free(&set);
    nn_model_free(&model);
    return folder;
}

static double real(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static const char *string(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    assert_non_null(value);
    return value;
}

static json_t *load_json(const char *folder)
{
    char path[600];
    snprintf(path, sizeof path, "%s/comparison.json", folder);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    return root;
}

static void check_result(const json_t *json, const quant_result_t *r, size_t i)
{
    static const char *const names[] = {"fp32", "fp16", "int8"};
    static const char *const bases[] = {"measured", "projected", "projected"};
    size_t bytes = 0;
    const json_t *communication = json_object_get(json, "communication");
    assert_string_equal(string(json, "precision"), names[i]);
    assert_string_equal(string(json, "file"), r->file);
    assert_ok(file_size(&bytes, r->file));
    assert_int_equal(json_integer_value(json_object_get(json, "bytes")), bytes);
    assert_true(fabs(real(json, "accuracy") - r->accuracy) < 1e-6);
    assert_true(fabs(real(json, "loss") - r->loss) < 1e-6 * r->loss && r->loss > 0);
    assert_true(fabs(real(json, "drop_points") - r->drop_points) < 1e-6);
    assert_true(fabs(real(json, "compression") - r->compression) < 1e-6);
    assert_string_equal(string(json, "computes"), quant_precision_computes(r->precision));
    assert_string_equal(string(communication, "basis"), bases[i]);
    assert_true(fabs(real(communication, "bytes_run") - r->bytes_run) < 1);
    assert_true(fabs(real(communication, "cost_run") - r->cost_run) < 1e-4);
}

static void comparison_file_holds_what_was_measured(void **unused)
{
    (void)unused;
    quant_comparison_t c;
    const char *folder = compare(&c, 182e6);
    json_t *root = load_json(folder);
    json_t *results = json_object_get(root, "results");
    assert_int_equal(c.count, 3); /* fp16 asked for twice is done once */
    assert_int_equal(json_array_size(results), 3);
    assert_string_equal(string(root, "model"), c.model);
    assert_string_equal(string(root, "data"), "noise");
    assert_string_not_equal(string(root, "cpu"), "");
    assert_true(real(root, "threads") == 1 && real(root, "cost_per_mb") == 5);
    assert_true(real(root, "samples") == PICTURES);
    for (size_t i = 0; i < 3; i++)
        check_result(json_array_get(results, i), &c.results[i], i);
    assert_true(c.results[0].bytes_run == 182e6 && c.results[0].cost_run == 910);
    assert_true(c.results[1].compression > 1.5 && c.results[2].compression > 2.2);
    json_decref(root);
    quant_comparison_free(&c);
}

/* What is reported is what the file on the disk does, not the model in memory. */
static void accuracy_is_that_of_the_written_file(void **unused)
{
    (void)unused;
    quant_comparison_t c;
    quant_runner_t *runner = NULL;
    nn_metrics_t metrics;
    data_set_t set;
    compare(&c, -1);
    models_pictures(&set, PICTURES);
    for (size_t i = 0; i < c.count; i++) {
        assert_ok(quant_open(&runner, c.results[i].file, 16, 1));
        assert_ok(quant_evaluate(&metrics, runner, &set, NULL));
        assert_int_equal(metrics.samples, PICTURES);
        assert_true(metrics.accuracy == c.results[i].accuracy);
        assert_true(fabs(metrics.loss - c.results[i].loss) < 1e-5);
        nn_metrics_free(&metrics);
        quant_close(&runner);
    }
    assert_true(c.results[0].loss != c.results[2].loss);
    data_set_free(&set);
    quant_comparison_free(&c);
}

static void unknown_communication_is_null(void **unused)
{
    (void)unused;
    quant_comparison_t c;
    json_t *root = load_json(compare(&c, -1));
    for (size_t i = 0; i < 3; i++) {
        json_t *communication =
            json_object_get(json_array_get(json_object_get(root, "results"), i), "communication");
        assert_true(json_is_null(json_object_get(communication, "bytes_run")));
        assert_true(json_is_null(json_object_get(communication, "cost_run")));
    }
    json_decref(root);
    quant_comparison_free(&c);
}

static char *printed(const quant_comparison_t *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    quant_comparison_print(c, out);
    fclose(out);
    return text;
}

static void table_says_what_computes_in_which_type(void **unused)
{
    (void)unused;
    char model[] = "m.safetensors", data[] = "noise";
    quant_result_t results[] = {
        {QUANT_FP32, model, 1740000, 0.912, 0.2710, 0, 1, 182e6, 910},
        {QUANT_INT8, model, 447000, 0.9075, 0.2741, 0.45, 3.8926, 48.1e6, 240.5}};
    quant_comparison_t c = {model, data, 400, 2, results, 2, 5.0};
    char *text = printed(&c);
    assert_non_null(strstr(text, "m.safetensors on noise (400 pictures), 2 threads, "));
    assert_non_null(strstr(
        text, "precision  computes in       file    smaller   accuracy    drop     loss       sent"
              "        cost\n"
              "fp32       float32        1.74 MB      1.00x    91.20 %       -   0.2710     182 MB"
              "     $910.00\n"
              "int8       int8            447 kB      3.89x    90.75 %   +0.45   0.2741    48.1 MB"
              "     $240.50\n"));
    assert_non_null(strstr(text, "int8: int8 weights and activations, int32 sums\n"));
    assert_non_null(strstr(text, "standard error is 1.42 points"));
    assert_non_null(strstr(text, "projected"));
    free(text);
    results[0].bytes_run = results[1].bytes_run = -1;
    text = printed(&c);
    assert_non_null(strstr(text, "unknown     unknown\n"));
    assert_null(strstr(text, "projected"));
    free(text);
}

static void wrong_data_and_options_are_refused(void **unused)
{
    (void)unused;
    quant_comparison_t c;
    quant_runner_t *runner = NULL;
    nn_metrics_t metrics;
    data_set_t set;
    nn_model_t model;
    char path[512];
    models_draw(&model);
    models_pictures(&set, 2);
    snprintf(path, sizeof path, "%s/int8.safetensors", test_dir());
    models_save_integer(path, &model);
    assert_ok(quant_open(&runner, path, 2, 1));
    set.class_count = 4;
    assert_fails(quant_evaluate(&metrics, runner, &set, NULL), ERR_CONFIG,
                 "data of 4 classes for a model of 3");
    set.height = set.width = 27;
    assert_fails(quant_evaluate(&metrics, runner, &set, NULL), ERR_CONFIG,
                 "pictures of 27x27 for a model that takes 28x28");
    set.count = 0;
    assert_fails(quant_evaluate(&metrics, runner, &set, NULL), ERR_CONFIG,
                 "there are no pictures to evaluate the model on");
    quant_close(&runner);

    quant_compare_options_t options = {
        .model_path = path, .out_folder = test_dir(), .set = &set, .data_name = "", .threads = 1};
    char expected[600];
    snprintf(
        expected, sizeof expected,
        "%s: precision is \"int8\", expected \"fp32\": take the FP32 model that it was made from",
        path);
    assert_fails(quant_compare(&c, &options), ERR_FORMAT, expected);
    assert_null(c.results);
    options.cost_per_mb = -1;
    assert_fails(quant_compare(&c, &options), ERR_CONFIG, "cost per MB of -1: must be 0 or more");
    options.cost_per_mb = 0;
    options.threads = 0;
    assert_fails(quant_compare(&c, &options), ERR_CONFIG, "0 threads: must be 1 or more");
    data_set_free(&set);
    nn_model_free(&model);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(drop_compression_and_cost_are_as_documented),
    cmocka_unit_test(comparison_file_holds_what_was_measured),
    cmocka_unit_test(accuracy_is_that_of_the_written_file),
    cmocka_unit_test(unknown_communication_is_null),
    cmocka_unit_test(table_says_what_computes_in_which_type),
    cmocka_unit_test(wrong_data_and_options_are_refused),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
