/* Folded files: there and back, and what a reader must refuse. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nn/safetensors.h"
#include "quant/fold.h"
#include "quant/half.h"
#include "quant/precision.h"
#include "quant/quant.h"
#include "tests/quant/models.h"

enum { PICTURES = 6, PIXELS = 28 * 28 * 3, CLASSES = 3 };

/* A file of `model`, over the last one; static text. */
static const char *save(const nn_model_t *model, quant_precision_t precision)
{
    static char path[512];
    if (!path[0])
        snprintf(path, sizeof path, "%s/m.safetensors", test_dir());
    if (precision == QUANT_INT8)
        models_save_integer(path, model);
    else
        assert_ok(quant_save(path, model, precision));
    return path;
}

static void logits_of(float *logits, const char *path)
{
    static float x[PICTURES * PIXELS];
    quant_runner_t *runner = NULL;
    rng_t rng = test_rng(1);
    for (size_t i = 0; i < PICTURES * PIXELS; i++)
        x[i] = 2 * rng_float(&rng) - 1;
    assert_ok(quant_open(&runner, path, PICTURES, 1));
    quant_run(runner, logits, x, PICTURES);
    quant_close(&runner);
}

/* Largest difference between two models' logits over the largest logit. */
static double apart(const float *a, const float *b)
{
    double difference = 0, largest = 0;
    for (size_t i = 0; i < PICTURES * CLASSES; i++) {
        difference = fmax(difference, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)a[i]));
    }
    return difference / largest;
}

static void every_precision_runs_close_to_the_native_model(void **unused)
{
    (void)unused;
    nn_model_t model;
    char native[512];
    float a[PICTURES * CLASSES], b[PICTURES * CLASSES];
    models_draw(&model);
    snprintf(native, sizeof native, "%s/native.safetensors", test_dir());
    assert_ok(nn_model_save(native, &model.state, &model.meta));
    logits_of(a, native);
    logits_of(b, save(&model, QUANT_FP32));
    assert_true(apart(a, b) < 1e-5);
    logits_of(b, save(&model, QUANT_FP16));
    assert_true(apart(a, b) < 5e-3 && apart(a, b) > 0);
    logits_of(b, save(&model, QUANT_INT8));
    assert_true(apart(a, b) < 0.15 && apart(a, b) > 0);
    nn_model_free(&model);
}

static void files_hold_what_the_folded_model_rounds_to(void **unused)
{
    (void)unused;
    nn_model_t model;
    nn_net_t *net = NULL;
    nn_state_t folded;
    safetensors_t *file = NULL;
    models_draw(&model);
    assert_ok(quant_fold_net(&net, model.net));
    assert_ok(nn_state_init(&folded, net));
    assert_ok(quant_fold_state(&folded, &model.state));
    const float *w = models_values(&folded, "conv2.weight");
    const float *b = models_values(&folded, "conv2.bias");
    const size_t outputs = 16, inputs = 8 * 5 * 5;

    assert_ok(safetensors_open(&file, save(&model, QUANT_INT8)));
    assert_int_equal(safetensors_count(file), 3 * 6 + 2);
    const safetensors_tensor_t *weight = safetensors_find(file, "conv2.weight");
    const safetensors_tensor_t *scale = safetensors_find(file, "conv2.weight_scale");
    const safetensors_tensor_t *bias = safetensors_find(file, "conv2.bias");
    const safetensors_tensor_t *scales = safetensors_find(file, "activations.scale");
    const safetensors_tensor_t *zeros = safetensors_find(file, "activations.zero_point");
    assert_true(weight->dtype == ST_I8 && scale->dtype == ST_F32 && bias->dtype == ST_I32);
    assert_true(scales->dtype == ST_F32 && zeros->dtype == ST_U8);
    assert_int_equal(scale->count, outputs);
    assert_int_equal(scales->count, net->tensor_count);
    for (size_t i = 0; i < weight->count; i++) {
        float s = ((const float *)scale->data)[i / inputs];
        assert_true(fabs((double)w[i] - (double)s * ((const int8_t *)weight->data)[i]) <=
                    0.500001 * (double)s);
    }
    const int in = net->ops[net->entries[nn_net_find(net, "conv2.weight")].op].in[0];
    for (size_t o = 0; o < outputs; o++) { /* but for what bias correction makes of it */
        double s =
            (double)((const float *)scales->data)[in] * (double)((const float *)scale->data)[o];
        assert_true(fabs((double)b[o] - s * ((const int32_t *)bias->data)[o]) < 0.5);
    }
    safetensors_close(&file);

    assert_ok(safetensors_open(&file, save(&model, QUANT_FP16)));
    assert_int_equal(safetensors_count(file), 12);
    weight = safetensors_find(file, "conv2.weight");
    assert_true(weight->dtype == ST_F16 && weight->count == outputs * inputs);
    uint16_t half[16 * 8 * 5 * 5];
    quant_half_c.narrow(half, w, outputs * inputs);
    assert_memory_equal(weight->data, half, sizeof half);
    safetensors_close(&file);
    nn_state_free(&folded);
    nn_net_destroy(&net);
    nn_model_free(&model);
}

static void equal_models_are_equal_files_with_their_metadata(void **unused)
{
    (void)unused;
    nn_model_t model;
    unsigned char *a = NULL, *b = NULL;
    size_t size_a = 0, size_b = 0;
    quant_runner_t *runner = NULL;
    models_draw(&model);
    assert_ok(file_read(&a, &size_a, save(&model, QUANT_INT8), 1 << 24));
    assert_ok(file_read(&b, &size_b, save(&model, QUANT_INT8), 1 << 24));
    assert_int_equal(size_a, size_b);
    assert_memory_equal(a, b, size_a);
    assert_ok(quant_open(&runner, save(&model, QUANT_INT8), 1, 1));
    const nn_model_meta_t *meta = quant_meta(runner);
    assert_string_equal(meta->precision, "int8");
    assert_string_equal(meta->federation, "test");
    assert_int_equal(meta->round, 7);
    assert_string_equal(meta->class_names[2], "river");
    assert_string_equal(model.meta.precision, "fp32"); /* the source is untouched */
    quant_close(&runner);
    free(a);
    free(b);
    nn_model_free(&model);
}

static void value_beyond_float16_is_named(void **unused)
{
    (void)unused;
    nn_model_t model;
    char path[512];
    models_draw(&model);
    models_values(&model.state, "fc1.bias")[3] = 70000.0f;
    snprintf(path, sizeof path, "%s/m.safetensors", test_dir());
    assert_fails(
        quant_save(path, &model, QUANT_FP16), ERR_FORMAT,
        "tensor \"fc1.bias\" element 3: value 70000 does not fit float16, whose largest is "
        "65504; take int8");
    assert_false(file_exists(path));
    models_values(&model.state, "fc1.bias")[3] = INFINITY;
    assert_fails(quant_save(path, &model, QUANT_FP16), ERR_FORMAT,
                 "tensor \"fc1.bias\" element 3 is infinite: the model is of no use");
    nn_model_free(&model);
}

/* What a test changes while a file is copied tensor by tensor. */
typedef struct {
    const char *skip;            /* this tensor is left out */
    const char *change;          /* this one is written as below */
    safetensors_dtype_t dtype;   /* with `rank` > 0 */
    size_t rank, shape[4];       /* rank 0: as it was */
    size_t element;              /* and this element ... */
    const void *value;           /* ... set to this, NULL: none */
    const char *add;             /* a tensor that does not belong */
    const char *key, *key_value; /* metadata; key_value NULL: left out */
} damage_t;

static void copy_damaged(const char *to, const char *from, const damage_t *d)
{
    static const char *const keys[] = {"format",     "architecture", "width", "strides",
                                       "input",      "classes",      "mean",  "class_names",
                                       "std",        "federation",   "round", "precision",
                                       "batch_norm", "quantization"};
    static const float zeros[8192];
    unsigned char *changed = NULL;
    safetensors_t *file = NULL;
    safetensors_writer_t *writer = safetensors_writer_new();
    assert_ok(safetensors_open(&file, from));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        bool other = d->key && !strcmp(d->key, keys[i]);
        const char *value = other ? d->key_value : safetensors_metadata(file, keys[i]);
        if (value)
            safetensors_writer_metadata(writer, keys[i], value);
    }
    for (size_t i = 0; i < safetensors_count(file); i++) {
        safetensors_tensor_t t = *safetensors_at(file, i);
        if (d->skip && !strcmp(d->skip, t.name))
            continue;
        if (d->change && !strcmp(d->change, t.name)) {
            if (d->rank > 0) {
                t.dtype = d->dtype;
                t.rank = d->rank;
                memcpy(t.shape, d->shape, sizeof d->shape);
                t.data = zeros;
            }
            if (d->value) {
                size_t size = safetensors_dtype_size(t.dtype);
                changed = xcalloc(t.size_bytes, 1);
                memcpy(changed, t.data, t.size_bytes);
                memcpy(changed + d->element * size, d->value, size);
                t.data = changed;
            }
        }
        safetensors_writer_tensor(writer, t.name, t.dtype, t.shape, t.rank, t.data);
    }
    if (d->add)
        safetensors_writer_tensor(writer, d->add, ST_F32, (const size_t[]){2}, 1, zeros);
    assert_ok(safetensors_writer_commit(&writer, to));
    safetensors_close(&file);
    free(changed);
}

static void damaged_files_are_refused_by_name(void **unused)
{
    (void)unused;
    static const float zero = 0.0f, minus = -1.5f, nan = NAN, inf = INFINITY;
    static const uint16_t half_nan = 0x7e00, half_inf = 0xfc00;
    static const float subnormal = 1e-39f;
    static const int8_t least = -128;
    static const uint8_t one = 1;
    const struct {
        quant_precision_t precision;
        damage_t damage;
        const char *message; /* behind "PATH: " */
    } cases[] = {
        {QUANT_INT8, {.skip = "conv1.bias"}, "tensor \"conv1.bias\" is missing"},
        {QUANT_INT8, {.skip = "fc3.weight"}, "tensor \"fc3.weight\" is missing"},
        {QUANT_INT8, {.skip = "fc2.weight_scale"}, "tensor \"fc2.weight_scale\" is missing"},
        {QUANT_INT8,
         {.change = "conv2.weight_scale", .dtype = ST_F32, .rank = 1, .shape = {15}},
         "tensor \"conv2.weight_scale\" has shape [15], expected [16]"},
        {QUANT_INT8,
         {.change = "conv2.weight_scale", .dtype = ST_F16, .rank = 1, .shape = {16}},
         "tensor \"conv2.weight_scale\" is F16, expected F32"},
        {QUANT_INT8,
         {.change = "conv1.weight", .dtype = ST_I8, .rank = 4, .shape = {8, 3, 5, 4}},
         "tensor \"conv1.weight\" has shape [8, 3, 5, 4], expected [8, 3, 5, 5]"},
        {QUANT_INT8,
         {.change = "conv1.weight", .dtype = ST_I8, .rank = 2, .shape = {8, 75}},
         "tensor \"conv1.weight\" has shape [8, 75], expected [8, 3, 5, 5]"},
        {QUANT_INT8,
         {.change = "conv1.weight", .dtype = ST_U8, .rank = 4, .shape = {8, 3, 5, 5}},
         "tensor \"conv1.weight\" is U8, expected I8"},
        {QUANT_INT8,
         {.change = "conv1.weight_scale", .element = 2, .value = &zero},
         "tensor \"conv1.weight_scale\" element 2 is 0: a scale is a normal number above 0"},
        {QUANT_INT8,
         {.change = "conv1.weight_scale", .element = 7, .value = &minus},
         "tensor \"conv1.weight_scale\" element 7 is -1.5: a scale is a normal number above 0"},
        {QUANT_INT8,
         {.change = "fc1.weight_scale", .element = 0, .value = &nan},
         "tensor \"fc1.weight_scale\" element 0 is nan: a scale is a normal number above 0"},
        {QUANT_INT8,
         {.change = "fc1.weight_scale", .element = 0, .value = &subnormal},
         "tensor \"fc1.weight_scale\" element 0 is 1e-39: a scale is a normal number above 0"},
        {QUANT_INT8,
         {.change = "fc1.bias", .dtype = ST_F32, .rank = 1, .shape = {128}},
         "tensor \"fc1.bias\" is F32, expected I32"},
        {QUANT_INT8,
         {.change = "activations.scale", .element = 3, .value = &inf},
         "activation 3 (max pool behind conv1): scale inf: a scale is a normal number above 0"},
        {QUANT_INT8,
         {.change = "activations.zero_point", .element = 15, .value = &one},
         "activation 15 (fc3): scale 0, zero point 1: logits are float32 and have 0 and 0"},
        {QUANT_INT8,
         {.change = "activations.scale", .dtype = ST_F32, .rank = 1, .shape = {5}},
         "tensor \"activations.scale\" has shape [5], expected [16]"},
        {QUANT_INT8,
         {.skip = "activations.zero_point"},
         "tensor \"activations.zero_point\" is missing"},
        {QUANT_INT8,
         {.key = "quantization"},
         "metadata \"quantization\" is missing: this file has INT8 weights alone, as hearsay once "
         "made them; quantize the FP32 model again"},
        {QUANT_INT8,
         {.key = "quantization", .key_value = "hearsay-int8-2"},
         "metadata \"quantization\" is \"hearsay-int8-2\", expected \"hearsay-int8-1\""},
        {QUANT_INT8,
         {.change = "fc3.weight", .element = 9, .value = &least},
         "tensor \"fc3.weight\" element 9 is -128: weights are -127 to 127"},
        {QUANT_INT8,
         {.add = "bn1.running_mean"},
         "tensor \"bn1.running_mean\" does not belong to a folded cnn in int8"},
        {QUANT_INT8,
         {.add = "conv1.bias_scale"},
         "tensor \"conv1.bias_scale\" does not belong to a folded cnn in int8"},
        {QUANT_FP16,
         {.add = "conv1.weight_scale"},
         "tensor \"conv1.weight_scale\" does not belong to a folded cnn in fp16"},
        {QUANT_FP16,
         {.change = "conv3.weight", .element = 4, .value = &half_nan},
         "tensor \"conv3.weight\" element 4 is NaN: the model is of no use"},
        {QUANT_FP16,
         {.change = "conv3.bias", .element = 1, .value = &half_inf},
         "tensor \"conv3.bias\" element 1 is infinite: the model is of no use"},
        {QUANT_FP16,
         {.key = "precision", .key_value = "int8"},
         "metadata \"quantization\" is missing: this file has INT8 weights alone, as hearsay once "
         "made them; quantize the FP32 model again"},
        {QUANT_FP16,
         {.key = "precision", .key_value = "fp8"},
         "precision \"fp8\": accepted are fp32, fp16 and int8"},
        {QUANT_FP16,
         {.key = "batch_norm"},
         "metadata \"batch_norm\" is missing: fp16 models are folded"},
        {QUANT_FP16,
         {.key = "batch_norm", .key_value = "kept\n"},
         "metadata \"batch_norm\" is \"kept?\", expected \"folded\""},
        {QUANT_FP32, {.key = "batch_norm"}, "tensor \"bn1.weight\" is missing"},
        {QUANT_FP16, {.key = "classes", .key_value = "4"}, "3 class names for 4 classes"},
        {QUANT_FP16,
         {.key = "input", .key_value = "1024"},
         "tensor \"fc1.weight\" has shape [128, 24], expected [128, 375000]"},
    };
    nn_model_t model;
    quant_runner_t *runner = NULL;
    char path[512], expected[1024];
    snprintf(path, sizeof path, "%s/damaged.safetensors", test_dir());
    models_draw(&model);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        copy_damaged(path, save(&model, cases[i].precision), &cases[i].damage);
        snprintf(expected, sizeof expected, "%s: %s", path, cases[i].message);
        assert_fails(quant_open(&runner, path, 1, 1), ERR_FORMAT, expected);
        assert_null(runner);
    }
    nn_model_free(&model);
}

static void truncated_file_is_refused_at_every_length(void **unused)
{
    (void)unused;
    nn_model_t model;
    unsigned char *bytes = NULL;
    size_t size = 0;
    char path[512];
    quant_runner_t *runner = NULL;
    models_draw(&model);
    assert_ok(file_read(&bytes, &size, save(&model, QUANT_INT8), 1 << 24));
    snprintf(path, sizeof path, "%s/short.safetensors", test_dir());
    for (size_t cut = 1; cut < size; cut = cut * 3 + 1) {
        assert_ok(file_write(path, bytes, size - cut));
        assert_int_equal(quant_open(&runner, path, 1, 1), ERR_FORMAT);
        assert_non_null(strstr(err_message(), "short.safetensors: "));
    }
    free(bytes);
    nn_model_free(&model);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_precision_runs_close_to_the_native_model),
    cmocka_unit_test(files_hold_what_the_folded_model_rounds_to),
    cmocka_unit_test(equal_models_are_equal_files_with_their_metadata),
    cmocka_unit_test(value_beyond_float16_is_named),
    cmocka_unit_test(damaged_files_are_refused_by_name),
    cmocka_unit_test(truncated_file_is_refused_at_every_length),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
