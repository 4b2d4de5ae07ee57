#include "nn/tensor_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "nn/torch_file.h"

static const size_t file_bytes_max = (size_t)1 << 30;

/* What wrapping a module puts ahead of every name. */
static const char *const prefixes[] = {"module.", "_orig_mod."};
enum { PREFIXES = sizeof prefixes / sizeof prefixes[0], PREFIX_MAX = 64 };

typedef struct {
    nn_tensor_info_t public;
    size_t index; /* in the container */
} item_t;

struct nn_tensor_file_s {
    char *path;
    unsigned char *owned; /* the whole file, when opened by path */
    const void *bytes;
    size_t size;
    torch_file_t *torch;        /* one of these two */
    safetensors_t *safetensors; /* */
    char prefix[PREFIX_MAX];
    item_t *items; /* (count), sorted by name */
    size_t count;
};

static void list_tensors(nn_tensor_file_t *f)
{
    f->count = f->torch ? torch_file_count(f->torch) : safetensors_count(f->safetensors);
    f->items = xcalloc(f->count + 1, sizeof *f->items);
    for (size_t i = 0; i < f->count; i++) {
        nn_tensor_info_t *info = &f->items[i].public;
        f->items[i].index = i;
        if (f->torch) {
            const torch_tensor_t *t = torch_file_at(f->torch, i);
            *info = (nn_tensor_info_t){
                .name = t->name, .dtype = t->view->dtype, .rank = t->view->rank};
            memcpy(info->shape, t->view->shape, sizeof info->shape);
            info->count = t->view->count;
        } else {
            const safetensors_tensor_t *t = safetensors_at(f->safetensors, i);
            *info = (nn_tensor_info_t){.name = t->name, .dtype = t->dtype, .rank = t->rank};
            memcpy(info->shape, t->shape, sizeof info->shape);
            info->count = t->count;
        }
    }
}

/* Takes a prefix off when all names have it and none is nothing but it. */
static bool strip(nn_tensor_file_t *f, const char *prefix)
{
    size_t length = strlen(prefix);
    if (!f->count || strlen(f->prefix) + length >= PREFIX_MAX)
        return false;
    for (size_t i = 0; i < f->count; i++)
        if (strncmp(f->items[i].public.name, prefix, length) != 0 ||
            !f->items[i].public.name[length])
            return false;
    for (size_t i = 0; i < f->count; i++)
        f->items[i].public.name += length;
    strcat(f->prefix, prefix);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const item_t *)a)->public.name, ((const item_t *)b)->public.name);
}

static err_t name_tensors(nn_tensor_file_t *f)
{
    err_t err = ERR_OK;
    for (int i = 0; i < PREFIXES; i++)
        if (strip(f, prefixes[i]))
            i = -1; /* in any order, one around the other */
    qsort(f->items, f->count, sizeof *f->items, by_name);
    for (size_t i = 1; i < f->count; i++) {
        char shown[SAFETENSORS_NAME_MAX];
        const char *name = f->items[i].public.name;
        text_printable(shown, sizeof shown, name, strlen(name));
        if (!strcmp(f->items[i - 1].public.name, name))
            FAIL(ERR_FORMAT, "%s: two tensors are called \"%s\"", f->path, shown);
    }
out:
    return err;
}

err_t nn_tensor_file_parse(nn_tensor_file_t **file, const void *bytes, size_t size,
                           const char *name)
{
    err_t err = ERR_OK;
    nn_tensor_file_t *f = xcalloc(1, sizeof *f);
    *file = NULL;
    f->path = xstrdup(name);
    f->bytes = bytes;
    f->size = size;
    if (torch_file_is(bytes, size))
        TRY(torch_file_open(&f->torch, bytes, size, f->path));
    else
        TRY(safetensors_parse(&f->safetensors, bytes, size, f->path));
    list_tensors(f);
    TRY(name_tensors(f));
    *file = f;
    f = NULL;
out:
    nn_tensor_file_close(&f);
    return err;
}

err_t nn_tensor_file_open(nn_tensor_file_t **file, const char *path)
{
    err_t err = ERR_OK;
    unsigned char *bytes = NULL;
    size_t size = 0;
    *file = NULL;
    TRY(file_read(&bytes, &size, path, file_bytes_max));
    TRY(nn_tensor_file_parse(file, bytes, size, path));
    (*file)->owned = bytes;
    bytes = NULL;
out:
    free(bytes);
    return err;
}

void nn_tensor_file_close(nn_tensor_file_t **file)
{
    nn_tensor_file_t *f = *file;
    if (!f)
        return;
    torch_file_close(&f->torch);
    safetensors_close(&f->safetensors);
    free(f->items);
    free(f->owned);
    free(f->path);
    free(f);
    *file = NULL;
}

const char *nn_tensor_file_path(const nn_tensor_file_t *file)
{
    return file->path;
}

hash_t nn_tensor_file_digest(const nn_tensor_file_t *file)
{
    return hash_bytes(file->bytes, file->size);
}

const char *nn_tensor_file_format(const nn_tensor_file_t *file)
{
    return file->torch ? "PyTorch" : "safetensors";
}

const char *nn_tensor_file_wrapper(const nn_tensor_file_t *file)
{
    const char *wrapper = file->torch ? torch_file_wrapper(file->torch) : NULL;
    return wrapper ? wrapper : "";
}

const char *nn_tensor_file_prefix(const nn_tensor_file_t *file)
{
    return file->prefix;
}

const safetensors_t *nn_tensor_file_safetensors(const nn_tensor_file_t *file)
{
    return file->safetensors;
}

size_t nn_tensor_file_count(const nn_tensor_file_t *file)
{
    return file->count;
}

const nn_tensor_info_t *nn_tensor_file_at(const nn_tensor_file_t *file, size_t i)
{
    CHECK(i < file->count);
    return &file->items[i].public;
}

const nn_tensor_info_t *nn_tensor_file_find(const nn_tensor_file_t *file, const char *name)
{
    item_t wanted = {.public = {.name = name}};
    const item_t *found = file->count ? bsearch(&wanted, file->items, file->count,
                                                sizeof *file->items, by_name)
                                      : NULL;
    return found ? &found->public : NULL;
}

/* IEEE 754 binary16, exactly. */
static float from_half(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    int fraction = bits & 1023;
    float value = exponent == 31  ? (fraction ? NAN : INFINITY)
                  : exponent == 0 ? ldexpf((float)fraction, -24)
                                  : ldexpf((float)(fraction + 1024), exponent - 25);
    return bits & 0x8000 ? -value : value;
}

static float element(const void *data, safetensors_dtype_t dtype, size_t i)
{
    if (dtype == ST_F16)
        return from_half(((const uint16_t *)data)[i]);
    if (dtype == ST_F64)
        return (float)((const double *)data)[i];
    return ((const float *)data)[i];
}

/* Where a tensor's elements are: their storage, the first one and the strides. */
typedef struct {
    const void *data;
    size_t offset, stride[SAFETENSORS_RANK_MAX];
} place_t;

static err_t find_place(place_t *place, nn_tensor_file_t *f, const nn_tensor_info_t *info)
{
    err_t err = ERR_OK;
    size_t index = ((const item_t *)info)->index; /* public is its first member */
    *place = (place_t){0};
    if (f->torch) {
        const pickle_tensor_t *view = torch_file_at(f->torch, index)->view;
        memcpy(place->stride, view->stride, sizeof place->stride);
        place->offset = view->offset;
        TRY(torch_file_storage(&place->data, f->torch, index));
    } else {
        size_t step = 1;
        for (size_t d = info->rank; d > 0; d--) {
            place->stride[d - 1] = step;
            step *= info->shape[d - 1];
        }
        place->data = safetensors_at(f->safetensors, index)->data;
    }
out:
    return err;
}

err_t nn_tensor_file_floats(float *values, nn_tensor_file_t *file, const nn_tensor_info_t *info)
{
    err_t err = ERR_OK;
    place_t place;
    size_t at[SAFETENSORS_RANK_MAX] = {0};
    if (info->dtype != ST_F32 && info->dtype != ST_F16 && info->dtype != ST_F64)
        FAIL(ERR_FORMAT, "%s: tensor \"%s\" is %s, expected F32, F16 or F64", file->path,
             info->name, safetensors_dtype_name(info->dtype));
    TRY(find_place(&place, file, info));
    size_t from = place.offset;
    for (size_t i = 0; i < info->count; i++) {
        values[i] = element(place.data, info->dtype, from);
        for (size_t d = info->rank; d > 0; d--) { /* the next one, as an odometer counts */
            from += place.stride[d - 1];
            if (++at[d - 1] < info->shape[d - 1])
                break;
            from -= at[d - 1] * place.stride[d - 1];
            at[d - 1] = 0;
        }
    }
out:
    return err;
}

err_t nn_tensor_file_integer(int64_t *value, nn_tensor_file_t *file, const nn_tensor_info_t *info)
{
    err_t err = ERR_OK;
    place_t place;
    if ((info->dtype != ST_I64 && info->dtype != ST_I32) || info->count != 1)
        FAIL(ERR_FORMAT, "%s: tensor \"%s\" is %s, expected one I64", file->path, info->name,
             safetensors_dtype_name(info->dtype));
    TRY(find_place(&place, file, info));
    *value = info->dtype == ST_I64 ? ((const int64_t *)place.data)[place.offset]
                                   : ((const int32_t *)place.data)[place.offset];
out:
    return err;
}
