/* The writer. The header names tensors in the order they were added; their data stands by falling
 * element size, so that each begins at a multiple of its element size without holes: torch views
 * the bytes in place and refuses others. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nn/safetensors.h"

typedef struct {
    char *name;
    safetensors_dtype_t dtype;
    size_t shape[SAFETENSORS_RANK_MAX], rank;
    const void *data;
    size_t size_bytes, begin;
} item_t;

struct safetensors_writer_s {
    item_t *items;
    size_t count, capacity;
    char **keys, **values; /* metadata, sorted by key */
    size_t pairs;
};

safetensors_writer_t *safetensors_writer_new(void)
{
    return xcalloc(1, sizeof(safetensors_writer_t));
}

void safetensors_writer_metadata(safetensors_writer_t *w, const char *key, const char *value)
{
    w->keys = xrealloc(w->keys, w->pairs + 1, sizeof *w->keys);
    w->values = xrealloc(w->values, w->pairs + 1, sizeof *w->values);
    size_t i = w->pairs++;
    for (; i > 0 && strcmp(w->keys[i - 1], key) > 0; i--) {
        w->keys[i] = w->keys[i - 1];
        w->values[i] = w->values[i - 1];
    }
    w->keys[i] = xstrdup(key);
    w->values[i] = xstrdup(value);
}

void safetensors_writer_tensor(safetensors_writer_t *w, const char *name, safetensors_dtype_t dtype,
                               const size_t *shape, size_t rank, const void *data)
{
    CHECK(rank <= SAFETENSORS_RANK_MAX && strlen(name) < SAFETENSORS_NAME_MAX);
    if (w->count == w->capacity) {
        w->capacity = w->capacity * 2 + 16;
        w->items = xrealloc(w->items, w->capacity, sizeof *w->items);
    }
    item_t *item = &w->items[w->count++];
    *item = (item_t){.name = xstrdup(name), .dtype = dtype, .rank = rank, .data = data};
    item->size_bytes = safetensors_dtype_size(dtype);
    for (size_t i = 0; i < rank; i++) {
        item->shape[i] = shape[i];
        item->size_bytes *= shape[i];
    }
}

/* Tensors of `size`-byte elements, laid out from `at` on, or written. */
static size_t lay_out(safetensors_writer_t *w, size_t size, size_t at)
{
    for (size_t i = 0; i < w->count; i++) {
        if (safetensors_dtype_size(w->items[i].dtype) != size)
            continue;
        w->items[i].begin = at;
        at += w->items[i].size_bytes;
    }
    return at;
}

static err_t write_data(file_writer_t *file, const safetensors_writer_t *w, size_t size)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < w->count; i++)
        if (safetensors_dtype_size(w->items[i].dtype) == size)
            TRY(file_writer_add(file, w->items[i].data, w->items[i].size_bytes));
out:
    return err;
}

/* The header's text, malloc'd; NULL when some name or value is not UTF-8. */
static char *header_text(const safetensors_writer_t *w)
{
    bool bad = false;
    json_t *header = json_object();
    if (w->pairs > 0) {
        json_t *metadata = json_object();
        for (size_t i = 0; i < w->pairs; i++)
            bad |= json_object_set_new(metadata, w->keys[i], json_string(w->values[i])) != 0;
        json_object_set_new(header, "__metadata__", metadata);
    }
    for (size_t i = 0; i < w->count; i++) {
        const item_t *t = &w->items[i];
        json_t *shape = json_array();
        for (size_t k = 0; k < t->rank; k++)
            json_array_append_new(shape, json_integer((json_int_t)t->shape[k]));
        json_t *tensor = json_pack("{s:s, s:o, s:[I,I]}", "dtype", safetensors_dtype_name(t->dtype),
                                   "shape", shape, "data_offsets", (json_int_t)t->begin,
                                   (json_int_t)(t->begin + t->size_bytes));
        bad |= json_object_set_new(header, t->name, tensor) != 0;
    }
    char *text = bad ? NULL : json_dumps(header, JSON_COMPACT);
    json_decref(header);
    return text;
}

err_t safetensors_writer_commit(safetensors_writer_t **writer, const char *path)
{
    err_t err = ERR_OK;
    safetensors_writer_t *w = *writer;
    file_writer_t *file = NULL;
    char *text = NULL;
    size_t at = 0;
    unsigned char prefix[8];
    for (size_t size = 8; size > 0; size /= 2)
        at = lay_out(w, size, at);
    text = header_text(w);
    if (!text)
        FAIL(ERR_FORMAT, "%s: a name that is to be written is not UTF-8: rename the class", path);
    size_t length = strlen(text), padding = (8 - length % 8) % 8;
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)(length + padding) >> (8 * i));
    TRY(file_writer_open(&file, path));
    TRY(file_writer_add(file, prefix, sizeof prefix));
    TRY(file_writer_add(file, text, length));
    TRY(file_writer_add(file, "       ", padding));
    for (size_t size = 8; size > 0; size /= 2)
        TRY(write_data(file, w, size));
    TRY(file_writer_commit(&file));
out:
    file_writer_abandon(&file);
    free(text);
    safetensors_writer_abandon(writer);
    return err;
}

void safetensors_writer_abandon(safetensors_writer_t **writer)
{
    safetensors_writer_t *w = *writer;
    if (!w)
        return;
    for (size_t i = 0; i < w->count; i++)
        free(w->items[i].name);
    for (size_t i = 0; i < w->pairs; i++) {
        free(w->keys[i]);
        free(w->values[i]);
    }
    free(w->items);
    free(w->keys);
    free(w->values);
    free(w);
    *writer = NULL;
}
