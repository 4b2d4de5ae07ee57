/* ONNX files by a reader of protocol buffers of the test's own: their bytes, their nodes, what is
 * refused. tests/interop runs them in ONNX Runtime. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "quant/onnx.h"
#include "tests/quant/models.h"

/* A field that was read: an integer, or `size` bytes. */
typedef struct {
    unsigned number, wire;
    uint64_t value;
    const unsigned char *data;
} field_t;

static uint64_t get_varint(const unsigned char **at, const unsigned char *end)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        assert_true(*at < end && shift < 70);
        value |= (uint64_t)(**at & 0x7f) << shift;
        if (!(*(*at)++ & 0x80))
            return value;
    }
}

/* The next field; false behind the last. Fails when the message is none. */
static bool next_field(field_t *field, const unsigned char **at, const unsigned char *end)
{
    if (*at == end)
        return false;
    const uint64_t tag = get_varint(at, end);
    *field = (field_t){.number = (unsigned)(tag >> 3), .wire = (unsigned)(tag & 7)};
    field->value = get_varint(at, end);
    assert_true(field->wire == 0 || field->wire == 2);
    if (field->wire == 2) {
        assert_true(field->value <= (uint64_t)(end - *at));
        field->data = *at;
        *at += field->value;
    }
    return true;
}

/* Field `number` of a message: the first one; false when there is none. */
static bool find_field(field_t *field, const unsigned char *data, size_t size, unsigned number)
{
    const unsigned char *at = data;
    while (next_field(field, &at, data + size))
        if (field->number == number)
            return true;
    return false;
}

static bool is_text(const field_t *field, const char *text)
{
    return field->value == strlen(text) && !memcmp(field->data, text, strlen(text));
}

/* Nodes of the file of that op_type; "": all. */
static size_t count_nodes(const unsigned char *file, size_t size, const char *type)
{
    field_t graph, node, op;
    size_t count = 0;
    assert_true(find_field(&graph, file, size, 7));
    const unsigned char *at = graph.data;
    while (next_field(&node, &at, graph.data + graph.value)) {
        if (node.number != 1)
            continue;
        assert_true(find_field(&op, node.data, node.value, 4));
        count += !*type || is_text(&op, type);
    }
    return count;
}

/* Bytes of all raw_data of initializers whose data_type is `type`. */
static size_t count_bytes(const unsigned char *file, size_t size, unsigned type)
{
    field_t graph, tensor, kind, raw;
    size_t bytes = 0;
    assert_true(find_field(&graph, file, size, 7));
    const unsigned char *at = graph.data;
    while (next_field(&tensor, &at, graph.data + graph.value)) {
        if (tensor.number != 5)
            continue;
        assert_true(find_field(&kind, tensor.data, tensor.value, 2));
        assert_true(find_field(&raw, tensor.data, tensor.value, 9));
        bytes += kind.value == type ? raw.value : 0;
    }
    return bytes;
}

static void fields_are_encoded_as_protocol_buffers_are(void **unused)
{
    (void)unused;
    static const unsigned char expected[] = {
        0x08, 0x00, 0x08, 0x7f, 0x08, 0x80, 0x01, 0x08, 0xac, 0x02,       /* 0 127 128 300 */
        0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, /* -1 */
        0xa2, 0x01, 0x03, 'a',  'b',  'c',                                /* 20: "abc" */
        0x1a, 0x00,                                                       /* 3: {} */
        0x1a, 0x02, 0x08, 0x05,                                           /* 3: {1: 5} */
        0x08, 0x06};                                                      /* appended */
    quant_proto_t message = {0}, part = {0};
    static const int64_t values[] = {0, 127, 128, 300};
    for (size_t i = 0; i < 4; i++)
        quant_proto_int(&message, 1, values[i]);
    quant_proto_int(&message, 2, -1);
    quant_proto_text(&message, 20, "abc");
    quant_proto_message(&message, 3, &part);
    quant_proto_int(&part, 1, 5);
    quant_proto_message(&message, 3, &part);
    assert_null(part.data);
    quant_proto_int(&part, 1, 6);
    quant_proto_append(&message, &part);
    assert_null(part.data);
    assert_int_equal(message.size, sizeof expected);
    assert_memory_equal(message.data, expected, sizeof expected);
    quant_proto_free(&message);
}

/* Reads a file that was written twice, both times the same. The caller frees. */
static unsigned char *read_twice(size_t *size, const char *path, const char *again)
{
    unsigned char *file = NULL, *other = NULL;
    size_t other_size = 0;
    assert_ok(file_read(&file, size, path, SIZE_MAX));
    assert_ok(file_read(&other, &other_size, again, SIZE_MAX));
    assert_int_equal(*size, other_size);
    assert_memory_equal(file, other, *size);
    free(other);
    return file;
}

static void a_float_model_is_a_node_an_operation(void **unused)
{
    (void)unused;
    nn_model_t model;
    field_t field;
    size_t size = 0, metadata = 0;
    char *path = xasprintf("%s/f.onnx", test_dir()), *again = xasprintf("%s/g.onnx", test_dir());
    models_draw(&model);
    assert_ok(quant_onnx_write(path, &model));
    assert_ok(quant_onnx_write(again, &model));
    unsigned char *file = read_twice(&size, path, again);
    assert_true(find_field(&field, file, size, 1) && field.value == 7);
    assert_true(find_field(&field, file, size, 8) &&
                find_field(&field, field.data, field.value, 2));
    assert_int_equal(field.value, 13);
    const unsigned char *at = file;
    while (next_field(&field, &at, file + size))
        metadata += field.number == 14;
    assert_int_equal(metadata, 12);
    assert_int_equal(count_nodes(file, size, "Conv"), 3);
    assert_int_equal(count_nodes(file, size, "MaxPool"), 3);
    assert_int_equal(count_nodes(file, size, "Relu"), 5);
    assert_int_equal(count_nodes(file, size, "Flatten"), 1);
    assert_int_equal(count_nodes(file, size, "Gemm"), 3);
    assert_int_equal(count_nodes(file, size, ""), 15);
    /* Weights and biases of conv and dense, and no BatchNorm. */
    size_t floats = 0;
    for (size_t i = 0; i < model.net->entry_count; i++)
        if (model.net->entries[i].kind <= NN_KIND_BIAS)
            floats += model.net->entries[i].count;
    assert_int_equal(count_bytes(file, size, QUANT_ONNX_FLOAT), 4 * floats);
    free(file);
    free(again);
    free(path);
    nn_model_free(&model);
}

static void an_integer_model_has_pairs_and_no_relu(void **unused)
{
    (void)unused;
    nn_model_t model;
    quant_integer_t integer;
    size_t size = 0, weights = 0, biases = 0;
    char *path = xasprintf("%s/f.onnx", test_dir()), *again = xasprintf("%s/g.onnx", test_dir());
    models_draw(&model);
    models_integer(&integer, &model);
    assert_ok(quant_onnx_write_integer(path, &integer));
    assert_ok(quant_onnx_write_integer(again, &integer));
    unsigned char *file = read_twice(&size, path, again);
    for (size_t i = 0; i < integer.net->op_count; i++) {
        const nn_op_t *op = &integer.net->ops[i];
        if (op->weight == NN_NONE)
            continue;
        weights += integer.net->entries[op->weight].count;
        biases += integer.net->entries[op->weight].shape[0];
    }
    assert_int_equal(count_nodes(file, size, "Relu"), 0);
    assert_int_equal(count_nodes(file, size, "Clip"), 0);
    assert_int_equal(count_nodes(file, size, "QuantizeLinear"), 1 + 3 + 3 + 1 + 2);
    assert_int_equal(count_nodes(file, size, "DequantizeLinear"), 1 + 3 + 3 + 1 + 2 + 2 * 6);
    assert_int_equal(count_bytes(file, size, QUANT_ONNX_INT8), weights + biases); /* zero points */
    assert_int_equal(count_bytes(file, size, QUANT_ONNX_INT32), 4 * biases);
    free(file);
    free(again);
    free(path);
    quant_integer_free(&integer);
    nn_model_free(&model);
}

static void what_cannot_be_written_is_refused(void **unused)
{
    (void)unused;
    nn_model_t model;
    char *path = xasprintf("%s/h.onnx", test_dir());
    models_draw(&model);
    assert_int_equal(quant_onnx_write("/nowhere/at/all.onnx", &model), ERR_IO);
    snprintf(model.meta.precision, sizeof model.meta.precision, "fp16");
    assert_int_equal(quant_onnx_write(path, &model), ERR_FORMAT);
    assert_non_null(strstr(err_message(), "is none of float16"));
    snprintf(model.meta.precision, sizeof model.meta.precision, "fp32");
    model.meta.class_names[1][0] = (char)0xff;
    assert_fails(quant_onnx_write(path, &model), ERR_FORMAT,
                 "name of class 1 is not UTF-8: rename it");
    assert_false(file_exists(path));
    free(path);
    nn_model_free(&model);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(fields_are_encoded_as_protocol_buffers_are),
    cmocka_unit_test(a_float_model_is_a_node_an_operation),
    cmocka_unit_test(an_integer_model_has_pairs_and_no_relu),
    cmocka_unit_test(what_cannot_be_written_is_refused),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
