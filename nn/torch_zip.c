#include "nn/torch_zip.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "base/text.h"

enum {
    NAME_MAX_BYTES = 511,
    END_BYTES = 22,       /* end of central directory, without comment */
    LOCATOR_BYTES = 20,   /* of the zip64 one, ahead of it */
    END64_BYTES = 56,     /* zip64 end of central directory */
    ENTRY_BYTES = 46,     /* the least that an entry takes in the central directory */
    SEARCHED = 65536 + 4096, /* bytes at the end in which libzip looks for an end */
    ENDS_MAX = 16
};

struct torch_zip_s {
    char *name;   /* of the file, for messages */
    char *folder; /* "archive/", ahead of every entry's name */
    zip_t *zip;
};

bool torch_zip_is(const void *bytes, size_t size)
{
    return size >= 4 && (!memcmp(bytes, "PK\3\4", 4) || !memcmp(bytes, "PK\5\6", 4));
}

static uint64_t little(const unsigned char *at, int count)
{
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

/* Entries that the directory ending at `at` says it has; libzip makes room for them before it reads
 * one. */
static uint64_t claimed_entries(const unsigned char *bytes, size_t size, size_t at)
{
    uint64_t entries = little(bytes + at + 10, 2);
    if (at < LOCATOR_BYTES || memcmp(bytes + at - LOCATOR_BYTES, "PK\6\7", 4) != 0)
        return entries;
    uint64_t end64 = little(bytes + at - LOCATOR_BYTES + 8, 8);
    if (end64 > size || size - end64 < END64_BYTES)
        return UINT64_MAX;
    return little(bytes + end64 + 32, 8);
}

/* Every place that libzip might take for the end of the directory, ahead of libzip. */
static err_t check_ends(const unsigned char *bytes, size_t size, const char *name)
{
    err_t err = ERR_OK;
    size_t ends = 0;
    if (size < END_BYTES || memcmp(bytes + size - END_BYTES, "PK\5\6", 4) != 0)
        FAIL(ERR_FORMAT,
             "%s: does not end like a checkpoint of PyTorch: it is cut short, copy it again", name);
    for (size_t at = size > SEARCHED ? size - SEARCHED : 0; at + END_BYTES <= size; at++) {
        if (memcmp(bytes + at, "PK\5\6", 4) != 0)
            continue;
        uint64_t entries = claimed_entries(bytes, size, at);
        if (entries > TORCH_ZIP_ENTRIES_MAX && entries <= size / ENTRY_BYTES)
            FAIL(ERR_FORMAT, "%s: has %llu entries: more than %d are not read", name,
                 (unsigned long long)entries, TORCH_ZIP_ENTRIES_MAX);
        if (entries > size / ENTRY_BYTES)
            FAIL(ERR_FORMAT, "%s: says it has %llu entries, more than %zu bytes can hold", name,
                 (unsigned long long)entries, size);
        if (++ends > ENDS_MAX)
            FAIL(ERR_FORMAT, "%s: has more than %d ends: this is not a checkpoint of PyTorch",
                 name, ENDS_MAX);
    }
out:
    return err;
}

static err_t fail_zip(const torch_zip_t *z, zip_error_t *error)
{
    if (zip_error_code_zip(error) == ZIP_ER_EXISTS)
        return err_set(ERR_FORMAT,
                       "%s: two entries have one name: this is not a checkpoint of PyTorch",
                       z->name);
    return err_set(ERR_FORMAT, "%s: not a whole ZIP file (%s): copy it again", z->name,
                   zip_error_strerror(error));
}

static err_t open_bytes(torch_zip_t *z, const void *bytes, size_t size)
{
    err_t err = ERR_OK;
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(bytes, size, 0, &error);
    if (source)
        z->zip = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error);
    if (!z->zip) {
        zip_source_free(source);
        err = fail_zip(z, &error);
    }
    zip_error_fini(&error);
    return err;
}

/* A name that stays where it is: no root, no step up; behind the folder, which has the name that
 * somebody gave a file, no backslash, no colon and nothing unprintable. */
static bool name_stays(const char *name)
{
    char shown[NAME_MAX_BYTES + 1];
    const char *inside = name + strcspn(name, "/");
    if (!*name || *name == '/' || strlen(name) > NAME_MAX_BYTES || strpbrk(inside, "\\:"))
        return false;
    text_printable(shown, sizeof shown, inside, strlen(inside));
    if (strcmp(shown, inside))
        return false;
    for (const char *part = name; part; part = strchr(part, '/'), part = part ? part + 1 : NULL) {
        size_t length = strcspn(part, "/");
        if (length <= 2 && !strncmp(part, "..", length) && length)
            return false;
    }
    return true;
}

static err_t check_entry(const torch_zip_t *z, zip_uint64_t i, uint64_t *total, uint64_t size)
{
    const zip_uint64_t needed =
        ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    err_t err = ERR_OK;
    zip_stat_t stat;
    char shown[64];
    if (zip_stat_index(z->zip, i, ZIP_FL_ENC_RAW, &stat) || (stat.valid & needed) != needed)
        FAIL(ERR_FORMAT, "%s: entry %llu cannot be read: copy it again", z->name,
             (unsigned long long)i);
    text_printable(shown, sizeof shown, stat.name, strlen(stat.name));
    if (!name_stays(stat.name))
        FAIL(ERR_FORMAT, "%s: entry \"%s\" is no name of a checkpoint's entry", z->name, shown);
    if ((stat.valid & ZIP_STAT_ENCRYPTION_METHOD) && stat.encryption_method != ZIP_EM_NONE)
        FAIL(ERR_FORMAT, "%s: entry \"%s\" is encrypted: PyTorch writes none so", z->name, shown);
    if (stat.comp_method != ZIP_CM_STORE)
        FAIL(ERR_FORMAT,
             "%s: entry \"%s\" is compressed: PyTorch stores its entries; load it there and save "
             "it again",
             z->name, shown);
    if (stat.size != stat.comp_size || stat.size > size || *total > size - stat.size)
        FAIL(ERR_FORMAT, "%s: entry \"%s\" of %llu bytes does not fit into a file of %llu",
             z->name, shown, (unsigned long long)stat.size, (unsigned long long)size);
    *total += stat.size;
out:
    return err;
}

/* The folder of data.pkl, in which all must be. */
static err_t find_folder(torch_zip_t *z)
{
    err_t err = ERR_OK;
    char shown[64], other[64];
    zip_int64_t count = zip_get_num_entries(z->zip, 0);
    for (zip_int64_t i = 0; i < count; i++) {
        const char *name = zip_get_name(z->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        size_t length = strcspn(name, "/");
        if (strcmp(name + length, "/data.pkl"))
            continue;
        text_printable(other, sizeof other, name, length);
        if (z->folder)
            FAIL(ERR_FORMAT, "%s: holds two checkpoints, %s/ and %s/", z->name, shown, other);
        memcpy(shown, other, sizeof shown);
        z->folder = xasprintf("%.*s/", (int)length, name);
    }
    if (!z->folder)
        FAIL(ERR_FORMAT, "%s: a ZIP file without data.pkl: this is not a checkpoint of PyTorch",
             z->name);
    for (zip_int64_t i = 0; i < count; i++) {
        const char *name = zip_get_name(z->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        const char *inside = name + strlen(z->folder);
        text_printable(other, sizeof other, name, strlen(name));
        if (strncmp(name, z->folder, strlen(z->folder)) != 0)
            FAIL(ERR_FORMAT, "%s: entry \"%s\" stands outside %s/", z->name, other, shown);
        if (!strcmp(inside, "constants.pkl") || !strncmp(inside, "code/", 5))
            FAIL(ERR_FORMAT,
                 "%s: a TorchScript program, not a state_dict: save one with "
                 "torch.save(net.state_dict(), FILE)",
                 z->name);
    }
out:
    return err;
}

err_t torch_zip_open(torch_zip_t **zip, const void *bytes, size_t size, const char *name)
{
    err_t err = ERR_OK;
    torch_zip_t *z = xcalloc(1, sizeof *z);
    uint64_t total = 0;
    *zip = NULL;
    z->name = xstrdup(name);
    TRY(check_ends(bytes, size, name));
    TRY(open_bytes(z, bytes, size));
    zip_int64_t count = zip_get_num_entries(z->zip, 0);
    for (zip_int64_t i = 0; i < count; i++)
        TRY(check_entry(z, (zip_uint64_t)i, &total, size));
    TRY(find_folder(z));
    *zip = z;
    z = NULL;
out:
    torch_zip_close(&z);
    return err;
}

void torch_zip_close(torch_zip_t **zip)
{
    torch_zip_t *z = *zip;
    if (!z)
        return;
    if (z->zip)
        zip_discard(z->zip);
    free(z->folder);
    free(z->name);
    free(z);
    *zip = NULL;
}

/* Index of an entry, below 0 when there is none. */
static zip_int64_t locate(const torch_zip_t *z, const char *entry)
{
    char *whole = xasprintf("%s%s", z->folder, entry);
    zip_int64_t index = zip_name_locate(z->zip, whole, ZIP_FL_ENC_RAW);
    free(whole);
    return index;
}

bool torch_zip_size(size_t *size, const torch_zip_t *zip, const char *entry)
{
    zip_stat_t stat;
    zip_int64_t index = locate(zip, entry);
    if (index < 0 || zip_stat_index(zip->zip, (zip_uint64_t)index, 0, &stat))
        return false;
    *size = (size_t)stat.size;
    return true;
}

err_t torch_zip_read(unsigned char **data, size_t *size, const torch_zip_t *zip, const char *entry,
                     size_t limit_bytes)
{
    err_t err = ERR_OK;
    unsigned char *bytes = NULL, behind;
    zip_file_t *file = NULL;
    char shown[64];
    *data = NULL;
    text_printable(shown, sizeof shown, entry, strlen(entry));
    if (!torch_zip_size(size, zip, entry))
        FAIL(ERR_FORMAT, "%s: entry \"%s\" is missing", zip->name, shown);
    if (*size > limit_bytes)
        FAIL(ERR_FORMAT, "%s: entry \"%s\" of %zu bytes: more than %zu are not read", zip->name,
             shown, *size, limit_bytes);
    bytes = malloc(*size + 1);
    if (!bytes)
        FAIL(ERR_MEMORY, "%s: no memory for %zu bytes", zip->name, *size);
    file = zip_fopen_index(zip->zip, (zip_uint64_t)locate(zip, entry), 0);
    /* The last call comes to the end: there libzip compares the CRC. */
    if (!file || zip_fread(file, bytes, *size) != (zip_int64_t)*size ||
        zip_fread(file, &behind, 1) != 0)
        FAIL(ERR_FORMAT, "%s: entry \"%s\" is damaged (%s): copy the file again", zip->name, shown,
             file ? zip_file_strerror(file) : zip_strerror(zip->zip));
    *data = bytes;
    bytes = NULL;
out:
    if (file)
        zip_fclose(file);
    free(bytes);
    return err;
}
