#include "nn/torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "nn/torch_zip.h"

enum { KEY_MAX = 32, ENTRY_NAME = KEY_MAX + 8 };

/* Where training scripts put the state_dict beside other things. */
static const char *const wrappers[] = {"state_dict", "model_state_dict", "model", "net"};
enum { WRAPPERS = sizeof wrappers / sizeof wrappers[0] };

typedef struct {
    char entry[ENTRY_NAME]; /* "data/0" */
    unsigned char *data;    /* owned */
} storage_t;

struct torch_file_s {
    const char *name;
    torch_zip_t *zip;
    unsigned char *pickle_bytes;
    pickle_t *pickle;
    const char *wrapper;
    torch_tensor_t *tensors; /* (count) */
    size_t count;
    storage_t *storages; /* (storage_count), those that were read */
    size_t storage_count;
};

/* What torch.save wrote before 1.6: a pickle of a number that stands for itself. */
static const unsigned char old_magic[] = {0x80, 2,    0x8a, 0x0a, 0x6c, 0xfc, 0x9c,
                                          0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static bool is_old(const void *bytes, size_t size)
{
    return size >= sizeof old_magic && !memcmp(bytes, old_magic, sizeof old_magic);
}

bool torch_file_is(const void *bytes, size_t size)
{
    return torch_zip_is(bytes, size) || is_old(bytes, size);
}

/* "data/KEY" of a storage; PyTorch's keys are numbers. */
static err_t entry_name(char out[ENTRY_NAME], const torch_file_t *f, const char *tensor,
                        const pickle_tensor_t *view)
{
    err_t err = ERR_OK;
    char shown[KEY_MAX];
    bool good = view->key_length > 0 && view->key_length < KEY_MAX;
    for (size_t i = 0; good && i < view->key_length; i++)
        good = (view->key[i] >= '0' && view->key[i] <= '9') || view->key[i] == '_';
    text_printable(shown, sizeof shown, view->key, view->key_length);
    if (!good)
        FAIL(ERR_FORMAT, "%s: tensor \"%s\": storage \"%s\" is not a number", f->name, tensor,
             shown);
    snprintf(out, ENTRY_NAME, "data/%.*s", (int)view->key_length, view->key);
out:
    return err;
}

static err_t add_tensor(torch_file_t *f, const pickle_value_t *key, const pickle_value_t *value)
{
    err_t err = ERR_OK;
    char name[SAFETENSORS_NAME_MAX], entry[ENTRY_NAME];
    size_t bytes = 0, size;
    bool text = key->kind == PICKLE_TEXT;
    text_printable(name, sizeof name, text ? key->text : "", text ? key->length : 0);
    if (!text || !key->length || strlen(name) != key->length ||
        memcmp(name, key->text, key->length) != 0)
        FAIL(ERR_FORMAT, "%s: name of tensor %zu, \"%s\", is not a text of 1 to %d bytes", f->name,
             f->count, name, SAFETENSORS_NAME_MAX - 1);
    if (value->kind != PICKLE_TENSOR)
        FAIL(ERR_FORMAT,
             "%s: \"%s\" is no tensor: save the state_dict alone, torch.save(net.state_dict(), "
             "FILE)",
             f->name, name);
    const pickle_tensor_t *view = pickle_tensor(f->pickle, value);
    TRY(entry_name(entry, f, name, view));
    if (!torch_zip_size(&bytes, f->zip, entry))
        FAIL(ERR_FORMAT, "%s: tensor \"%s\": its storage, %s, is missing", f->name, name, entry);
    if (__builtin_mul_overflow(view->elements, safetensors_dtype_size(view->dtype), &size) ||
        size != bytes)
        FAIL(ERR_FORMAT, "%s: tensor \"%s\": its storage of %zu %s elements is an entry of %zu "
             "bytes",
             f->name, name, view->elements, safetensors_dtype_name(view->dtype), bytes);
    f->tensors[f->count++] = (torch_tensor_t){xstrdup(name), view};
out:
    return err;
}

static bool has_tensor(const pickle_t *pickle, const pickle_value_t *dict)
{
    const pickle_value_t *key, *value;
    for (uint32_t at = 0; pickle_next(&key, &value, &at, pickle, dict);)
        if (value->kind == PICKLE_TENSOR)
            return true;
    return false;
}

/* What stands under each of the usual keys, NULL where nothing does; a key that is there twice would
 * hide one of them. */
static err_t find_wrapped(const pickle_value_t *wrapped[WRAPPERS], const torch_file_t *f)
{
    err_t err = ERR_OK;
    const pickle_value_t *key, *value;
    memset(wrapped, 0, WRAPPERS * sizeof *wrapped);
    for (uint32_t at = 0; pickle_next(&key, &value, &at, f->pickle, pickle_root(f->pickle));)
        for (int w = 0; w < WRAPPERS; w++) {
            if (!pickle_is_text(key, wrappers[w]))
                continue;
            if (wrapped[w])
                FAIL(ERR_FORMAT, "%s: the key \"%s\" is there twice: PyTorch writes none so",
                     f->name, wrappers[w]);
            wrapped[w] = value;
        }
out:
    return err;
}

/* The dictionary of tensors: under one of the usual keys, beside whatever else a training script
 * keeps, or the whole. */
static err_t find_state(const pickle_value_t **state, torch_file_t *f)
{
    err_t err = ERR_OK;
    const pickle_value_t *root = pickle_root(f->pickle), *wrapped[WRAPPERS];
    if (root->kind != PICKLE_DICT)
        FAIL(ERR_FORMAT,
             "%s: holds no dictionary: save a state_dict, torch.save(net.state_dict(), FILE)",
             f->name);
    TRY(find_wrapped(wrapped, f));
    for (int w = 0; w < WRAPPERS; w++)
        if (wrapped[w] && wrapped[w]->kind == PICKLE_DICT && has_tensor(f->pickle, wrapped[w])) {
            f->wrapper = wrappers[w];
            *state = wrapped[w];
            return ERR_OK;
        }
    *state = root;
    if (has_tensor(f->pickle, root))
        return ERR_OK;
    FAIL(ERR_FORMAT,
         "%s: holds no tensors, nor a state_dict under \"state_dict\", \"model_state_dict\", "
         "\"model\" or \"net\": save one with torch.save(net.state_dict(), FILE)",
         f->name);
out:
    return err;
}

/* PyTorch says how its numbers are written since 2.1; before, they were the machine's. */
static err_t check_byte_order(const torch_file_t *f)
{
    err_t err = ERR_OK;
    unsigned char *text = NULL;
    size_t size;
    if (!torch_zip_size(&size, f->zip, "byteorder"))
        return ERR_OK;
    TRY(torch_zip_read(&text, &size, f->zip, "byteorder", 16));
    if (size != 6 || memcmp(text, "little", 6) != 0)
        FAIL(ERR_FORMAT, "%s: its numbers are not little-endian: save it on another machine",
             f->name);
out:
    free(text);
    return err;
}

static err_t read_tensors(torch_file_t *f)
{
    err_t err = ERR_OK;
    const pickle_value_t *state = NULL, *key, *value;
    size_t size;
    TRY(check_byte_order(f));
    TRY(torch_zip_read(&f->pickle_bytes, &size, f->zip, "data.pkl", PICKLE_BYTES_MAX));
    TRY(pickle_parse(&f->pickle, f->pickle_bytes, size, f->name));
    TRY(find_state(&state, f));
    if (state->count > PICKLE_TENSORS_MAX)
        FAIL(ERR_FORMAT, "%s: %u tensors: more than %d are not read", f->name, state->count,
             PICKLE_TENSORS_MAX);
    f->tensors = xcalloc(state->count, sizeof *f->tensors);
    f->storages = xcalloc(state->count, sizeof *f->storages);
    for (uint32_t at = 0; pickle_next(&key, &value, &at, f->pickle, state);)
        TRY(add_tensor(f, key, value));
out:
    return err;
}

err_t torch_file_open(torch_file_t **file, const void *bytes, size_t size, const char *name)
{
    err_t err = ERR_OK;
    torch_file_t *f = xcalloc(1, sizeof *f);
    *file = NULL;
    f->name = name;
    if (is_old(bytes, size))
        FAIL(ERR_FORMAT,
             "%s: written by PyTorch before 1.6, or in its old format. In a newer one: "
             "torch.save(torch.load(\"%s\", map_location=\"cpu\"), \"NEW.pth\"), then import that",
             name, name);
    TRY(torch_zip_open(&f->zip, bytes, size, name));
    TRY(read_tensors(f));
    *file = f;
    f = NULL;
out:
    torch_file_close(&f);
    return err;
}

void torch_file_close(torch_file_t **file)
{
    torch_file_t *f = *file;
    if (!f)
        return;
    for (size_t i = 0; i < f->count; i++)
        free(f->tensors[i].name);
    for (size_t i = 0; i < f->storage_count; i++)
        free(f->storages[i].data);
    free(f->tensors);
    free(f->storages);
    pickle_free(&f->pickle);
    free(f->pickle_bytes);
    torch_zip_close(&f->zip);
    free(f);
    *file = NULL;
}

size_t torch_file_count(const torch_file_t *file)
{
    return file->count;
}

const torch_tensor_t *torch_file_at(const torch_file_t *file, size_t i)
{
    CHECK(i < file->count);
    return &file->tensors[i];
}

const char *torch_file_wrapper(const torch_file_t *file)
{
    return file->wrapper;
}

err_t torch_file_storage(const void **data, torch_file_t *file, size_t i)
{
    err_t err = ERR_OK;
    CHECK(i < file->count);
    const torch_tensor_t *t = &file->tensors[i];
    storage_t storage = {0};
    size_t size;
    TRY(entry_name(storage.entry, file, t->name, t->view));
    for (size_t s = 0; s < file->storage_count; s++)
        if (!strcmp(file->storages[s].entry, storage.entry)) {
            *data = file->storages[s].data;
            return ERR_OK;
        }
    /* Entries do not overlap: together they are no larger than the file. */
    TRY(torch_zip_read(&storage.data, &size, file->zip, storage.entry, SIZE_MAX));
    *data = storage.data;
    file->storages[file->storage_count++] = storage;
out:
    return err;
}
