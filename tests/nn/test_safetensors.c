/* The reader against hostile files, each with its exact message; the writer's files read back. */
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/nn/support.h"

/* length prefix + header + `data` zero bytes; the caller frees. */
static unsigned char *make_file(size_t *size, const char *header, size_t data)
{
    size_t length = strlen(header);
    unsigned char *bytes = calloc(8 + length + data + 8, 1);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    *size = 8 + length + data;
    return bytes;
}

static const struct {
    const char *what, *header;
    size_t data;
    const char *message;
} hostile[] = {
    {"not JSON", "hello", 0, "f: header is not JSON: '[' or '{' expected near 'hello' (byte 5)"},
    {"not an object", "[1]", 0, "f: header is not a JSON object"},
    {"duplicate key",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
     1, "f: header is not JSON: duplicate object key near '\"a\"' (byte 56)"},
    {"deep nesting", "{\"a\":[[[[[[]]]]]]}", 0,
     "f: header nested deeper than 4: this is not a safetensors file"},
    {"metadata not an object", "{\"__metadata__\":3}", 0,
     "f: __metadata__ is not an object of strings"},
    {"metadata not strings", "{\"__metadata__\":{\"k\":1}}", 0,
     "f: metadata \"k\" is not a string"},
    {"field missing", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1,
     "f: tensor \"a\" needs dtype, shape and data_offsets, and nothing else"},
    {"field too many", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1,
     "f: tensor \"a\" needs dtype, shape and data_offsets, and nothing else"},
    {"unknown dtype", "{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2,
     "f: tensor \"a\": dtype BF16 is none of F32, F16, F64, I64, I32, I8, U8, U64"},
    {"negative shape", "{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1,
     "f: tensor \"a\": shape is not a list of at most 8 numbers"},
    {"rank 9", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
     "f: tensor \"a\": shape is not a list of at most 8 numbers"},
    {"overflowing shape",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
     "f: tensor \"a\": shape is larger than any file"},
    {"offsets not numbers", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,\"1\"]}}",
     1, "f: tensor \"a\": data_offsets are not two numbers"},
    {"beyond the end", "{\"a\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}}", 8,
     "f: tensor \"a\": bytes 0 to 9 of 8: the file is cut short or damaged, copy it again"},
    {"backwards", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 8,
     "f: tensor \"a\": bytes 1 to 0 of 8: the file is cut short or damaged, copy it again"},
    {"shape against offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
     "f: tensor \"a\": 2 elements of F32 need 8 bytes, not 4"},
    {"hole",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[3,4]}}",
     4, "f: tensor \"b\" begins at byte 3: 2 bytes before it are unused"},
    {"overlap",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
     4, "f: tensor \"b\" begins at byte 2, inside another that ends at 3"},
    {"bytes left over", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 6,
     "f: 5 bytes behind the last tensor"},
    {"control bytes in a name",
     "{\"a\\u001b[2J\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1,
     "f: tensor \"a?[2J\": data_offsets are not two numbers"},
};

static void hostile_headers_are_refused_with_their_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        size_t size;
        safetensors_t *file = NULL;
        unsigned char *bytes = make_file(&size, hostile[i].header, hostile[i].data);
        err_clear();
        print_message("%s\n", hostile[i].what);
        assert_fails(safetensors_parse(&file, bytes, size, "f"), ERR_FORMAT, hostile[i].message);
        assert_null(file);
        free(bytes);
    }
}

static void broken_lengths_are_refused(void **state)
{
    (void)state;
    safetensors_t *file = NULL;
    unsigned char bytes[32] = {0};
    assert_fails(safetensors_parse(&file, bytes, 7, "f"), ERR_FORMAT,
                 "f: 7 bytes, too short for a safetensors file: copy it again");
    err_clear();
    bytes[0] = 200;
    assert_fails(safetensors_parse(&file, bytes, 32, "f"), ERR_FORMAT,
                 "f: header of 200 bytes in a file of 32: it is cut short, copy it again");
    err_clear();
    bytes[7] = 0x7f;
    assert_fails(safetensors_parse(&file, bytes, 32, "f"), ERR_FORMAT,
                 "f: header of 9151314442816848072 bytes, more than 100000000: this is not a "
                 "safetensors file");
    err_clear();
    assert_fails(safetensors_open(&file, "/nowhere/x.safetensors"), ERR_IO,
                 "open /nowhere/x.safetensors: No such file or directory");
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    char *path = xasprintf("%s/a.safetensors", test_dir());
    const float f[6] = {1, 2, 3, 4, 5, -6.5f};
    const int64_t counter = 77;
    const int8_t bytes[3] = {-1, 0, 127};
    const uint16_t half[1] = {0x3c00};
    safetensors_writer_t *w = safetensors_writer_new();
    safetensors_t *file = NULL;
    safetensors_writer_metadata(w, "zebra", "last");
    safetensors_writer_metadata(w, "ape", "first \"quoted\" \xc3\xbc");
    safetensors_writer_tensor(w, "bytes", ST_I8, (size_t[]){3}, 1, bytes);
    safetensors_writer_tensor(w, "floats", ST_F32, (size_t[]){2, 3}, 2, f);
    safetensors_writer_tensor(w, "counter", ST_I64, NULL, 0, &counter);
    safetensors_writer_tensor(w, "half", ST_F16, (size_t[]){1, 1}, 2, half);
    safetensors_writer_tensor(w, "none", ST_F32, (size_t[]){0}, 1, f);
    assert_ok(safetensors_writer_commit(&w, path));
    assert_null(w);
    assert_ok(safetensors_open(&file, path));
    assert_string_equal(safetensors_path(file), path);
    assert_int_equal(safetensors_count(file), 5);
    assert_string_equal(safetensors_at(file, 0)->name, "bytes");
    assert_string_equal(safetensors_at(file, 4)->name, "none");
    assert_string_equal(safetensors_metadata(file, "ape"), "first \"quoted\" \xc3\xbc");
    assert_null(safetensors_metadata(file, "bear"));
    assert_null(safetensors_find(file, "nothing"));
    const safetensors_tensor_t *t = safetensors_find(file, "floats");
    assert_true(t->rank == 2 && t->shape[0] == 2 && t->shape[1] == 3 && t->count == 6);
    assert_memory_equal(t->data, f, sizeof f);
    t = safetensors_find(file, "counter");
    assert_true(t->rank == 0 && t->count == 1 && t->dtype == ST_I64);
    assert_memory_equal(t->data, &counter, sizeof counter);
    assert_memory_equal(safetensors_find(file, "bytes")->data, bytes, sizeof bytes);
    assert_memory_equal(safetensors_find(file, "half")->data, half, sizeof half);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal((uintptr_t)safetensors_at(file, i)->data % 8, 0);
    safetensors_close(&file);
    unsigned char *raw = NULL;
    size_t size = 0;
    assert_ok(file_read(&raw, &size, path, 100000));
    assert_int_equal(raw[0] % 8, 0); /* padded */
    assert_memory_equal(raw + 8, "{\"__metadata__\":{\"ape\":", 23);
    free(raw);
    free(path);
}

static void a_writer_that_cannot_write_says_so(void **state)
{
    (void)state;
    safetensors_writer_t *w = safetensors_writer_new();
    safetensors_writer_metadata(w, "name", "\xff\xfe");
    assert_fails(safetensors_writer_commit(&w, "x.safetensors"), ERR_FORMAT,
                 "x.safetensors: a name that is to be written is not UTF-8: rename the class");
    assert_null(w);
    err_clear();
    w = safetensors_writer_new();
    assert_fails(safetensors_writer_commit(&w, "/nowhere/x"), ERR_IO,
                 "write /nowhere/x.tmp: No such file or directory");
    assert_null(w);
}

/* Every prefix of a good file is refused, and no single changed byte makes the reader read outside
 * (ASan watches). */
static void truncated_and_mutated_files_do_no_harm(void **state)
{
    (void)state;
    size_t size;
    safetensors_t *file = NULL;
    rng_t rng = test_rng(1);
    unsigned char *bytes = make_file(&size,
                                     "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":"
                                     "[0,3]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],"
                                     "\"data_offsets\":[3,11]}}",
                                     11);
    assert_ok(safetensors_parse(&file, bytes, size, "f"));
    safetensors_close(&file);
    for (size_t n = 0; n < size; n++) {
        unsigned char *prefix = malloc(n + 1);
        memcpy(prefix, bytes, n);
        assert_int_equal(safetensors_parse(&file, prefix, n, "f"), ERR_FORMAT);
        free(prefix);
    }
    for (int i = 0; i < 5000; i++) {
        unsigned char *copy = malloc(size);
        memcpy(copy, bytes, size);
        copy[rng_below(&rng, size)] = (unsigned char)rng_below(&rng, 256);
        if (safetensors_parse(&file, copy, size, "f") == ERR_OK)
            safetensors_close(&file);
        free(copy);
    }
    free(bytes);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(hostile_headers_are_refused_with_their_reason),
    cmocka_unit_test(broken_lengths_are_refused),
    cmocka_unit_test(what_is_written_reads_back),
    cmocka_unit_test(a_writer_that_cannot_write_says_so),
    cmocka_unit_test(truncated_and_mutated_files_do_no_harm),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
