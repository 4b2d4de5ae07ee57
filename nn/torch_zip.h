/* nn/torch_zip.h: the ZIP container of a PyTorch checkpoint, read by libzip: the only file that
 * calls it. Entries are stored, never compressed, and stand in one folder; encryption, two entries
 * of one name, names that lead elsewhere, and sizes that the file cannot hold are refused before
 * anything is read. The folder is called after the file that was saved and may have any name; nothing
 * is ever extracted. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { TORCH_ZIP_ENTRIES_MAX = 4096 }; /* a MobileNetV2 has 320 */

typedef struct torch_zip_s torch_zip_t;

/* True when the bytes begin like a ZIP file. */
bool torch_zip_is(const void *bytes, size_t size);

/* Opens and checks; `name` stands in messages; the bytes must outlive the handle. ERR_FORMAT. */
err_t torch_zip_open(torch_zip_t **zip, const void *bytes, size_t size, const char *name);
void torch_zip_close(torch_zip_t **zip);

/* Size of an entry; `entry` is relative to the checkpoint's folder: "data.pkl", "data/0".
 * False when there is none. */
bool torch_zip_size(size_t *size, const torch_zip_t *zip, const char *entry);

/* A whole entry (malloc'd, the caller frees), its CRC checked. ERR_FORMAT: missing, larger than
 * `limit_bytes`, damaged. ERR_MEMORY. */
err_t torch_zip_read(unsigned char **data, size_t *size, const torch_zip_t *zip, const char *entry,
                     size_t limit_bytes);
