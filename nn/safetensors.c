/* The reader. Every number in the header is checked before it is used: nothing here trusts a byte.
 */
#include "nn/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

enum {
    HEADER_MAX = 100000000, /* bytes, as in the format's own reader */
    DEPTH_MAX = 4           /* of brackets: a tensor's shape is at depth 3 */
};
static const uint64_t file_max = (uint64_t)1 << 40;

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [ST_F32] = {"F32", 4}, [ST_F16] = {"F16", 2}, [ST_F64] = {"F64", 8}, [ST_I64] = {"I64", 8},
    [ST_I32] = {"I32", 4}, [ST_I8] = {"I8", 1},   [ST_U8] = {"U8", 1},   [ST_U64] = {"U64", 8}};
enum { DTYPES = sizeof dtypes / sizeof dtypes[0] };

typedef struct {
    safetensors_tensor_t public;
    size_t begin, end; /* in the data section */
    void *copy;        /* owned, when the file's bytes are not aligned to 8 */
} tensor_t;

struct safetensors_s {
    char *path;
    unsigned char *owned; /* the whole file, when opened by path */
    const unsigned char *data;
    size_t data_size;
    json_t *header;
    tensor_t *tensors; /* (count), in the header's order */
    size_t count;
};

size_t safetensors_dtype_size(safetensors_dtype_t dtype)
{
    return dtypes[dtype].size;
}

const char *safetensors_dtype_name(safetensors_dtype_t dtype)
{
    return dtypes[dtype].name;
}

/* Hostile nesting costs a parser its stack: count brackets outside strings first. */
static bool too_deep(const char *text, size_t size)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > DEPTH_MAX)
                return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static err_t parse_header(safetensors_t *f, const unsigned char *bytes, size_t size)
{
    err_t err = ERR_OK;
    json_error_t json;
    char shown[sizeof json.text];
    uint64_t length = 0;
    if (size < 8)
        FAIL(ERR_FORMAT, "%s: %zu bytes, too short for a safetensors file: copy it again", f->path,
             size);
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > HEADER_MAX)
        FAIL(ERR_FORMAT,
             "%s: header of %" PRIu64 " bytes, more than %d: this is not a safetensors file",
             f->path, length, HEADER_MAX);
    if (length > size - 8)
        FAIL(ERR_FORMAT,
             "%s: header of %" PRIu64 " bytes in a file of %zu: it is cut short, copy it again",
             f->path, length, size);
    const char *text = (const char *)bytes + 8;
    if (too_deep(text, (size_t)length))
        FAIL(ERR_FORMAT, "%s: header nested deeper than %d: this is not a safetensors file",
             f->path, DEPTH_MAX);
    f->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &json);
    if (!f->header) {
        text_printable(shown, sizeof shown, json.text, strlen(json.text));
        FAIL(ERR_FORMAT, "%s: header is not JSON: %s (byte %d)", f->path, shown, json.position);
    }
    if (!json_is_object(f->header))
        FAIL(ERR_FORMAT, "%s: header is not a JSON object", f->path);
    f->data = bytes + 8 + length;
    f->data_size = size - 8 - (size_t)length;
out:
    return err;
}

static err_t check_metadata(const safetensors_t *f)
{
    err_t err = ERR_OK;
    json_t *metadata = json_object_get(f->header, "__metadata__"), *value;
    const char *key;
    char shown[64];
    if (metadata && !json_is_object(metadata))
        FAIL(ERR_FORMAT, "%s: __metadata__ is not an object of strings", f->path);
    json_object_foreach(metadata, key, value)
    {
        text_printable(shown, sizeof shown, key, strlen(key));
        if (!json_is_string(value))
            FAIL(ERR_FORMAT, "%s: metadata \"%s\" is not a string", f->path, shown);
    }
out:
    return err;
}

/* A non-negative integer; false for anything else. */
static bool get_size(size_t *value, const json_t *json)
{
    if (!json_is_integer(json) || json_integer_value(json) < 0)
        return false;
    *value = (size_t)json_integer_value(json);
    return true;
}

static err_t parse_shape(tensor_t *t, const safetensors_t *f, const char *shown, json_t *shape)
{
    err_t err = ERR_OK;
    if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_RANK_MAX)
        FAIL(ERR_FORMAT, "%s: tensor \"%s\": shape is not a list of at most %d numbers", f->path,
             shown, SAFETENSORS_RANK_MAX);
    t->public.rank = json_array_size(shape);
    t->public.count = 1;
    for (size_t i = 0; i < t->public.rank; i++) {
        if (!get_size(&t->public.shape[i], json_array_get(shape, i)))
            FAIL(ERR_FORMAT, "%s: tensor \"%s\": shape is not a list of at most %d numbers",
                 f->path, shown, SAFETENSORS_RANK_MAX);
        if (__builtin_mul_overflow(t->public.count, t->public.shape[i], &t->public.count) ||
            t->public.count > file_max)
            FAIL(ERR_FORMAT, "%s: tensor \"%s\": shape is larger than any file", f->path, shown);
    }
out:
    return err;
}

static err_t parse_tensor(tensor_t *t, const safetensors_t *f, const char *name, json_t *json)
{
    err_t err = ERR_OK;
    char shown[SAFETENSORS_NAME_MAX], found[32];
    text_printable(shown, sizeof shown, name, strlen(name));
    if (strlen(name) >= SAFETENSORS_NAME_MAX)
        FAIL(ERR_FORMAT, "%s: tensor \"%s\": name of more than %d bytes", f->path, shown,
             SAFETENSORS_NAME_MAX - 1);
    const char *dtype = json_string_value(json_object_get(json, "dtype"));
    json_t *offsets = json_object_get(json, "data_offsets");
    if (!json_is_object(json) || json_object_size(json) != 3 || !dtype || !offsets)
        FAIL(ERR_FORMAT, "%s: tensor \"%s\" needs dtype, shape and data_offsets, and nothing else",
             f->path, shown);
    size_t d = 0;
    while (d < DTYPES && strcmp(dtype, dtypes[d].name))
        d++;
    text_printable(found, sizeof found, dtype, strlen(dtype));
    if (d == DTYPES)
        FAIL(ERR_FORMAT,
             "%s: tensor \"%s\": dtype %s is none of F32, F16, F64, I64, I32, I8, U8, U64", f->path,
             shown, found);
    t->public.name = name;
    t->public.dtype = (safetensors_dtype_t)d;
    TRY(parse_shape(t, f, shown, json_object_get(json, "shape")));
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !get_size(&t->begin, json_array_get(offsets, 0)) ||
        !get_size(&t->end, json_array_get(offsets, 1)))
        FAIL(ERR_FORMAT, "%s: tensor \"%s\": data_offsets are not two numbers", f->path, shown);
    if (t->begin > t->end || t->end > f->data_size)
        FAIL(ERR_FORMAT,
             "%s: tensor \"%s\": bytes %zu to %zu of %zu: the file is cut short or damaged, copy "
             "it again",
             f->path, shown, t->begin, t->end, f->data_size);
    t->public.size_bytes = t->end - t->begin;
    if (t->public.size_bytes != t->public.count * dtypes[d].size)
        FAIL(ERR_FORMAT, "%s: tensor \"%s\": %zu elements of %s need %zu bytes, not %zu", f->path,
             shown, t->public.count, dtype, t->public.count * dtypes[d].size, t->public.size_bytes);
out:
    return err;
}

static int by_begin(const void *a, const void *b)
{
    const tensor_t *x = *(tensor_t *const *)a, *y = *(tensor_t *const *)b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* No hole, no overlap, and the file ends with the last tensor. */
static err_t check_cover(const safetensors_t *f)
{
    err_t err = ERR_OK;
    size_t at = 0;
    tensor_t **order = xcalloc(f->count + 1, sizeof *order);
    for (size_t i = 0; i < f->count; i++)
        order[i] = &f->tensors[i];
    qsort(order, f->count, sizeof *order, by_begin);
    for (size_t i = 0; i < f->count; i++) {
        char shown[SAFETENSORS_NAME_MAX];
        text_printable(shown, sizeof shown, order[i]->public.name, strlen(order[i]->public.name));
        if (order[i]->begin < at)
            FAIL(ERR_FORMAT,
                 "%s: tensor \"%s\" begins at byte %zu, inside another that ends at %zu", f->path,
                 shown, order[i]->begin, at);
        if (order[i]->begin > at)
            FAIL(ERR_FORMAT, "%s: tensor \"%s\" begins at byte %zu: %zu bytes before it are unused",
                 f->path, shown, order[i]->begin, order[i]->begin - at);
        at = order[i]->end;
    }
    if (at != f->data_size)
        FAIL(ERR_FORMAT, "%s: %zu bytes behind the last tensor", f->path, f->data_size - at);
out:
    free(order);
    return err;
}

static err_t place(tensor_t *t, const safetensors_t *f)
{
    const unsigned char *data = f->data + t->begin;
    if ((uintptr_t)data % 8 != 0) {
        t->copy = malloc(t->public.size_bytes + 1);
        if (!t->copy)
            return err_set(ERR_MEMORY, "%s: no memory for %zu bytes", f->path,
                           t->public.size_bytes);
        data = memcpy(t->copy, data, t->public.size_bytes);
    }
    t->public.data = data;
    return ERR_OK;
}

err_t safetensors_parse(safetensors_t **file, const void *bytes, size_t size, const char *name)
{
    err_t err = ERR_OK;
    safetensors_t *f = xcalloc(1, sizeof *f);
    const char *key;
    json_t *value;
    *file = NULL;
    f->path = xstrdup(name);
    if (size >= 4 && !memcmp(bytes, "PK\3\4", 4))
        FAIL(ERR_FORMAT, "%s: a PyTorch checkpoint: `hearsay import` it first", name);
    TRY(parse_header(f, bytes, size));
    TRY(check_metadata(f));
    f->tensors = xcalloc(json_object_size(f->header) + 1, sizeof *f->tensors);
    json_object_foreach(f->header, key, value)
    {
        if (!strcmp(key, "__metadata__"))
            continue;
        TRY(parse_tensor(&f->tensors[f->count], f, key, value));
        f->count++;
    }
    TRY(check_cover(f));
    for (size_t i = 0; i < f->count; i++)
        TRY(place(&f->tensors[i], f));
    *file = f;
    f = NULL;
out:
    safetensors_close(&f);
    return err;
}

err_t safetensors_open(safetensors_t **file, const char *path)
{
    err_t err = ERR_OK;
    unsigned char *bytes = NULL;
    size_t size = 0;
    *file = NULL;
    TRY(file_read(&bytes, &size, path, (size_t)file_max));
    TRY(safetensors_parse(file, bytes, size, path));
    (*file)->owned = bytes;
    bytes = NULL;
out:
    free(bytes);
    return err;
}

void safetensors_close(safetensors_t **file)
{
    safetensors_t *f = *file;
    if (!f)
        return;
    for (size_t i = 0; i < f->count; i++)
        free(f->tensors[i].copy);
    free(f->tensors);
    json_decref(f->header);
    free(f->owned);
    free(f->path);
    free(f);
    *file = NULL;
}

const char *safetensors_path(const safetensors_t *file)
{
    return file->path;
}

size_t safetensors_count(const safetensors_t *file)
{
    return file->count;
}

const safetensors_tensor_t *safetensors_at(const safetensors_t *file, size_t i)
{
    CHECK(i < file->count);
    return &file->tensors[i].public;
}

const safetensors_tensor_t *safetensors_find(const safetensors_t *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (!strcmp(file->tensors[i].public.name, name))
            return &file->tensors[i].public;
    return NULL;
}

void safetensors_shape_text(char out[SAFETENSORS_SHAPE_TEXT], const size_t *shape, size_t rank)
{
    const size_t size = SAFETENSORS_SHAPE_TEXT; /* 8 numbers of 20 digits */
    size_t at = (size_t)snprintf(out, size, "[");
    CHECK(rank <= SAFETENSORS_RANK_MAX);
    for (size_t i = 0; i < rank; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%zu", i ? ", " : "", shape[i]);
    snprintf(out + at, size - at, "]");
}

err_t safetensors_expect(const safetensors_tensor_t **tensor, const safetensors_t *file,
                         const char *name, safetensors_dtype_t dtype, const size_t *shape,
                         size_t rank)
{
    err_t err = ERR_OK;
    const safetensors_tensor_t *t = safetensors_find(file, name);
    if (!t)
        FAIL(ERR_FORMAT, "%s: tensor \"%s\" is missing", file->path, name);
    if (t->dtype != dtype)
        FAIL(ERR_FORMAT, "%s: tensor \"%s\" is %s, expected %s", file->path, name,
             safetensors_dtype_name(t->dtype), safetensors_dtype_name(dtype));
    if (t->rank != rank || memcmp(t->shape, shape, rank * sizeof *shape) != 0) {
        char found[SAFETENSORS_SHAPE_TEXT], expected[SAFETENSORS_SHAPE_TEXT];
        safetensors_shape_text(found, t->shape, t->rank);
        safetensors_shape_text(expected, shape, rank);
        FAIL(ERR_FORMAT, "%s: tensor \"%s\" has shape %s, expected %s", file->path, name, found,
             expected);
    }
    *tensor = t;
out:
    return err;
}

const char *safetensors_metadata(const safetensors_t *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}
