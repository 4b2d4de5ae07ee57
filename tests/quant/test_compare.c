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

enum { PICTURES = 70 /* more than one batch */, CALIBRATION = 32, RESULTS = 4 };
/* Sanitizers' own threads do not outlive a fork. */
#if defined(__SANITIZE_THREAD__)
#define TIMING_S 0
#else
#define TIMING_S 0.01
#endif

static void drop_compression_and_cost_are_as_documented(void **unused)
{
    (void)unused;
    nn_model_t model;
    models_draw(&model);
    quant_result_t fp32 = {.precision = QUANT_FP32, .bytes = 1000, .measures.accuracy = 0.90};
    quant_result_t fp16 = {.precision = QUANT_FP16, .bytes = 400, .measures.accuracy = 0.925};
    quant_result_t int8 = {.precision = QUANT_INT8, .bytes = 250, .measures.accuracy = 0.885};
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
    data_set_t set, calibration;
    models_draw(&model);
    models_pictures(&set, PICTURES);
    models_pictures(&calibration, CALIBRATION);
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
                                             .calibration = &calibration,
                                             .calibration_name = "other noise",
                                             .convert = quant_convert_defaults(),
                                             .per_tensor = true,
                                             .threads = 1,
                                             .seconds = TIMING_S,
                                             .bytes_run = bytes_run,
                                             .cost_per_mb = 5.0};
    assert_ok(quant_compare(comparison, &options));
    data_set_free(&calibration);
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
    static const char *const precisions[] = {"fp32", "fp16", "int8", "int8"};
    static const char *const names[] = {"fp32", "fp16", "int8", "int8-per-tensor"};
    size_t bytes = 0;
    const json_t *communication = json_object_get(json, "communication");
    assert_string_equal(string(json, "precision"), precisions[i]);
    assert_string_equal(string(json, "name"), names[i]);
    assert_string_equal(string(json, "file"), r->file);
    assert_ok(file_size(&bytes, r->file));
    assert_int_equal(json_integer_value(json_object_get(json, "bytes")), bytes);
    assert_true(fabs(real(json, "accuracy") - r->measures.accuracy) < 1e-6);
    assert_true(fabs(real(json, "loss") - r->measures.loss) < 1e-6 * r->measures.loss);
    assert_true(r->measures.loss > 0 && json_is_null(json_object_get(json, "top5")));
    assert_true(fabs(real(json, "macro_f1") - r->measures.macro_f1) < 1e-6);
    assert_true(fabs(real(json, "macro_auc") - r->measures.macro_auc) < 1e-6);
    assert_true(fabs(real(json, "calibration_error") - r->measures.ece) < 1e-6);
    assert_true(fabs(real(json, "drop_points") - r->drop_points) < 1e-6);
    assert_true(fabs(real(json, "compression") - r->compression) < 1e-6);
    assert_string_equal(string(json, "computes"), quant_precision_computes(r->precision));
    assert_string_equal(string(communication, "basis"), i ? "projected" : "measured");
    assert_true(fabs(real(communication, "bytes_run") - r->bytes_run) < 1);
    assert_true(fabs(real(communication, "cost_run") - r->cost_run) < 1e-4);
}

static void check_classes(const json_t *json, const quant_result_t *r)
{
    static const char *const names[] = {"sea", "land", "river"};
    const json_t *classes = json_object_get(json, "classes"), *row;
    uint64_t sum = 0;
    assert_int_equal(json_array_size(classes), 3);
    for (size_t c = 0; c < 3; c++) {
        const json_t *of = json_array_get(classes, c);
        assert_string_equal(string(of, "name"), names[c]);
        assert_true(real(of, "samples") == (double)r->measures.of[c].samples);
        assert_true(fabs(real(of, "auc") - r->measures.of[c].auc) < 1e-6);
        assert_null(json_object_get(of, "roc"));
        row = json_array_get(json_object_get(json, "confusion"), c);
        for (size_t k = 0; k < 3; k++)
            sum += (uint64_t)json_integer_value(json_array_get(row, k));
    }
    assert_int_equal(sum, PICTURES);
}

/* What fp32 has nothing of, and what is told of int8 alone. */
static void check_beside_fp32(const json_t *json, const quant_result_t *r, size_t i)
{
    const json_t *pair = json_object_get(json, "against_fp32");
    const json_t *signals = json_object_get(json, "signal_to_noise");
    assert_true(json_is_null(pair) == (i == 0) && json_is_null(signals) == (i < 2));
    if (i) {
        double uneven = real(pair, "only_fp32_right") - real(pair, "only_this_right");
        assert_true(fabs(real(pair, "agreement") - r->pair.agreement) < 1e-6);
        assert_true(fabs(real(pair, "mcnemar_p") - r->pair.p) < 1e-6);
        assert_true(fabs(uneven - r->drop_points / 100 * PICTURES) < 1e-6);
    }
    if (i < 2)
        return;
    json_t *layers = json_object_get(signals, "layers");
    assert_int_equal(json_array_size(layers), 6); /* three convolutions, three dense layers */
    assert_string_equal(string(json_array_get(layers, 0), "layer"), "conv1");
    assert_string_equal(string(json_array_get(layers, 5), "layer"), "fc3");
    for (size_t k = 0; k < 6; k++)
        assert_true(real(json_array_get(layers, k), "db") > 15);
    assert_string_equal(string(signals, "worst"), r->signals.layers[r->signals.worst].layer);
}

static void check_timing(const json_t *json)
{
    const json_t *timing = json_object_get(json, "timing"), *latency, *throughput;
    if (TIMING_S == 0) {
        assert_true(json_is_null(timing));
        return;
    }
    latency = json_object_get(timing, "latency");
    throughput = json_object_get(timing, "throughput");
    assert_true(real(timing, "load_s") > 0 && real(latency, "p50_s") > 0);
    assert_true(real(latency, "p50_s") <= real(latency, "p90_s"));
    assert_true(real(latency, "p90_s") <= real(latency, "p99_s"));
    assert_true(real(latency, "runs") >= 9 && real(latency, "batch") == 1);
    assert_true(real(latency, "threads") == 1 && real(throughput, "threads") == 1);
    assert_true(real(throughput, "images_per_s") > 0 && real(throughput, "batch") == 32);
    assert_true(real(json_object_get(timing, "memory_bytes"), "batch_32") >= 0);
}

static void comparison_file_holds_what_was_measured(void **unused)
{
    (void)unused;
    quant_comparison_t c;
    const char *folder = compare(&c, 182e6);
    json_t *root = load_json(folder);
    json_t *results = json_object_get(root, "results");
    const json_t *calibration = json_object_get(root, "calibration");
    assert_int_equal(c.count, RESULTS); /* fp16 asked for twice is done once */
    assert_int_equal(json_array_size(results), RESULTS);
    assert_string_equal(string(calibration, "data"), "other noise");
    assert_string_equal(string(calibration, "clipping"), "mse");
    assert_true(real(calibration, "samples") == CALIBRATION);
    assert_true(real(calibration, "weight_bits") == 8);
    assert_string_equal(string(root, "model"), c.model);
    assert_string_equal(string(root, "data"), "noise");
    assert_string_not_equal(string(root, "cpu"), "");
    assert_true(real(root, "threads") == 1 && real(root, "cost_per_mb") == 5);
    assert_true(real(root, "samples") == PICTURES);
    for (size_t i = 0; i < RESULTS; i++) {
        const json_t *result = json_array_get(results, i);
        check_result(result, &c.results[i], i);
        check_classes(result, &c.results[i]);
        check_beside_fp32(result, &c.results[i], i);
        check_timing(result);
    }
    /* headers of some kilobytes apart, the files hold what was worked out */
    for (size_t i = 0; i < RESULTS; i++)
        assert_true(c.results[i].bytes > c.results[i].bytes_computed &&
                    c.results[i].bytes < c.results[i].bytes_computed + 4096);
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
    quant_measures_t m;
    data_set_t set;
    compare(&c, -1);
    models_pictures(&set, PICTURES);
    for (size_t i = 0; i < c.count; i++) {
        assert_ok(quant_open(&runner, c.results[i].file, 16, 1));
        assert_ok(quant_evaluate(&m, runner, &set, NULL));
        assert_int_equal(m.samples, PICTURES);
        assert_true(m.accuracy == c.results[i].measures.accuracy);
        assert_true(fabs(m.loss - c.results[i].measures.loss) < 1e-5);
        quant_measures_free(&m);
        quant_close(&runner);
    }
    assert_true(c.results[0].measures.loss != c.results[2].measures.loss);
    data_set_free(&set);
    quant_comparison_free(&c);
}

static void unknown_communication_is_null(void **unused)
{
    (void)unused;
    quant_comparison_t c;
    json_t *root = load_json(compare(&c, -1));
    for (size_t i = 0; i < RESULTS; i++) {
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

/* A result whose figures are round. */
static quant_result_t result_of(quant_precision_t precision, const char *name, double accuracy)
{
    quant_result_t r = {.precision = precision,
                        .bytes = 1740000,
                        .bytes_computed = 1736000,
                        .measures = {.accuracy = accuracy, .loss = 0.2710, .top5 = 1},
                        .pair = {.agreement = 0.995, .p = 0.0004},
                        .compression = 1,
                        .bytes_run = 182e6,
                        .cost_run = 910};
    snprintf(r.name, sizeof r.name, "%s", name);
    r.measures.macro_auc = (double)NAN;
    return r;
}

static void table_has_a_line_for_each_measure(void **unused)
{
    (void)unused;
    char model[] = "m.safetensors", data[] = "noise", calibration[] = "noise";
    quant_signal_t layers[] = {{"conv1", 31.44}};
    quant_result_t results[] = {result_of(QUANT_FP32, "fp32", 0.912),
                                result_of(QUANT_INT8, "int8", 0.9075)};
    results[1].drop_points = 0.45;
    results[1].signals = (quant_signals_t){layers, 1, 0, 16};
    results[0].timing = (quant_timing_t){9, 2, 0.012, 0.00075, 0.0008, 1.5, 9, 1465.2, 1000, 2000};
    results[1].timing = (quant_timing_t){9, 2, 0.012, 0.00025, 0.0008, 1.5, 9, 2930.4, 1000, 2000};
    quant_comparison_t c = {.model = model,
                            .data = data,
                            .samples = 400,
                            .threads = 2,
                            .results = results,
                            .count = 2,
                            .cost_per_mb = 5.0,
                            .calibration = calibration,
                            .calibration_samples = 64,
                            .convert = quant_convert_defaults()};
    static const char *const lines[] = {
        "m.safetensors on noise (400 pictures), 2 threads, ",
        "\n                                fp32            int8\n",
        "\naccuracy                     91.20 %         90.75 %\n",
        "\n  drop, points                     -           +0.45\n",
        "\n  McNemar's p                      -         < 0.001\n",
        "\nagrees with fp32                   -         99.50 %\n",
        "\nmacro ROC AUC                      -               -\n",
        "\nlatency p50                   750 us          250 us\n",
        "\n  faster                       1.00x           3.00x\nthroughput, batch 32 ",
        "\nthroughput, batch 32          1465/s          2930/s\n  faster ",
        "           2.00x\nmemory, batch 1",
        "\n  cost                       $910.00         $910.00\n",
        "\nint8: int8 weights and activations, int32 sums\n",
        "\nint8: calibrated on 64 pictures of noise,\n      ranges cut by mse, biases corrected\n",
        "\nint8: signal to noise is lowest, 31.4 dB, at conv1\n",
        "standard error is 1.42 points",
        "\nlatency: one picture by 1 thread; throughput: by 2 threads; both of pictures decoded\n",
        "projected"};
    char *text = printed(&c);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!strstr(text, lines[i]))
            fail_msg("\"%s\" is missing in:\n%s", lines[i], text);
    free(text);
    results[0].bytes_run = results[1].bytes_run = -1;
    results[0].timing.runs = results[1].timing.runs = 0;
    text = printed(&c);
    assert_null(strstr(text, "projected"));
    assert_null(strstr(text, "latency"));
    assert_null(strstr(text, "cost"));
    free(text);
}

/* Five models, names and figures of every kind: no line is wider than a terminal of 100 columns. */
static void table_fits_a_hundred_columns(void **unused)
{
    (void)unused;
    quant_comparison_t c;
    compare(&c, 1e15);
    c.results = xrealloc(c.results, RESULTS + 1, sizeof *c.results);
    c.results[c.count++] = result_of(QUANT_INT8, "int8-qat", 0.5);
    c.results[RESULTS].file = xstrdup("");
    free(c.model);
    c.model = xstrdup("m.safetensors");
    char *text = printed(&c);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (strlen(line) > 100)
            fail_msg("%zu columns: %s", strlen(line), line);
    free(text);
    quant_comparison_free(&c);
}

static char *markdown_of(const char *folder)
{
    char path[600];
    unsigned char *text = NULL;
    size_t size;
    snprintf(path, sizeof path, "%s/comparison.md", folder);
    assert_ok(file_read(&text, &size, path, 1 << 20));
    return (char *)text;
}

static void markdown_holds_classes_confusion_and_layers(void **unused)
{
    (void)unused;
    quant_comparison_t c;
    char *text = markdown_of(compare(&c, -1));
    static const char *const parts[] = {
        "|  | fp32 | fp16 | int8 | int8-per-tensor |\n|---|---:|",
        "\n### Recall of each class\n",
        "\n### ROC AUC of each class\n",
        "\n| river (",
        "\n### Confusion matrix of int8-per-tensor\n",
        "\n|  | sea | land | river |\n|---|---:|---:|---:|\n| sea | ",
        "\n### Signal to noise of each layer of int8\n",
        "\n| conv1"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!strstr(text, parts[i]))
            fail_msg("\"%s\" is missing in:\n%s", parts[i], text);
    free(text);
    quant_comparison_free(&c);
}

/* An int8 file that is there is compared as it is. */
static void int8_of_the_peers_is_taken_as_it_is(void **unused)
{
    (void)unused;
    static const quant_precision_t precisions[] = {QUANT_INT8};
    const char *folder = test_dir();
    char path[512], int8[600];
    size_t before = 0;
    unsigned char *kept = NULL, *now = NULL;
    nn_model_t model;
    data_set_t set;
    quant_comparison_t c;
    models_draw(&model);
    models_pictures(&set, 9);
    snprintf(path, sizeof path, "%s/m.safetensors", folder);
    snprintf(int8, sizeof int8, "%s/model-int8.safetensors", folder);
    assert_ok(nn_model_save(path, &model.state, &model.meta));
    models_save_integer(int8, &model);
    assert_ok(file_read(&kept, &before, int8, 1 << 24));
    const quant_compare_options_t options = {.model_path = path,
                                             .out_folder = folder,
                                             .precisions = precisions,
                                             .precision_count = 1,
                                             .set = &set,
                                             .data_name = "noise",
                                             .calibration_name = "by the peers",
                                             .convert = quant_convert_defaults(),
                                             .int8_is_made = true,
                                             .threads = 1,
                                             .bytes_run = -1};
    assert_ok(quant_compare(&c, &options));
    size_t after = 0;
    assert_ok(file_read(&now, &after, int8, 1 << 24));
    assert_int_equal(before, after);
    assert_memory_equal(kept, now, before);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.results[1].signals.count, 6);
    assert_string_equal(c.calibration, "by the peers");
    free(kept);
    free(now);
    quant_comparison_free(&c);
    data_set_free(&set);
    nn_model_free(&model);
}

static void wrong_data_and_options_are_refused(void **unused)
{
    (void)unused;
    quant_comparison_t c;
    quant_runner_t *runner = NULL;
    quant_measures_t metrics;
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
    static const quant_precision_t int8[] = {QUANT_INT8};
    data_set_t few;
    models_pictures(&few, 1);
    assert_ok(nn_model_save(path, &model.state, &model.meta));
    options.threads = 1;
    options.precisions = int8;
    options.precision_count = 1;
    set.height = set.width = 28;
    set.class_count = 3;
    set.count = 2;
    assert_fails(quant_compare(&c, &options), ERR_CONFIG, "int8 needs pictures to calibrate on");
    options.calibration = &few;
    options.calibration_name = "few";
    assert_fails(quant_compare(&c, &options), ERR_CONFIG,
                 "few: 1 picture to calibrate int8 on: give 2 or more, better a few hundred");
    options.int8_is_made = options.per_tensor = true;
    assert_fails(quant_compare(&c, &options), ERR_CONFIG,
                 "int8-per-tensor has to be calibrated as int8 beside it, which is made already: "
                 "leave one of the two out");
    data_set_free(&few);
    data_set_free(&set);
    nn_model_free(&model);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(drop_compression_and_cost_are_as_documented),
    cmocka_unit_test(comparison_file_holds_what_was_measured),
    cmocka_unit_test(accuracy_is_that_of_the_written_file),
    cmocka_unit_test(unknown_communication_is_null),
    cmocka_unit_test(table_has_a_line_for_each_measure),
    cmocka_unit_test(table_fits_a_hundred_columns),
    cmocka_unit_test(markdown_holds_classes_confusion_and_layers),
    cmocka_unit_test(int8_of_the_peers_is_taken_as_it_is),
    cmocka_unit_test(wrong_data_and_options_are_refused),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
