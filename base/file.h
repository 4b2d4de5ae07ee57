/* base/file.h: files that are either whole or not there. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Makes `path` and what is missing above it. ERR_IO, naming the folder that could not be made. */
err_t file_make_folder(const char *path);
bool file_exists(const char *path);
/* `path` with "~/" at its beginning made the home folder; malloc'd. */
char *file_expand_home(const char *path);
/* True when both are there and are one file: the same path, or links to one. */
bool file_same(const char *a, const char *b);

/* Reads a whole file of at most `limit_bytes` into *data (malloc'd, the caller frees; one zero byte
 * stands behind the end, not counted in *size). ERR_IO, also for what is no regular file (a FIFO is
 * not waited for); ERR_FORMAT when larger. */
err_t file_read(unsigned char **data, size_t *size, const char *path, size_t limit_bytes);

/* A file that appears under its name only when it is whole and on the disk: PATH.tmp, written,
 * synced, renamed, the folder synced. After any failure the old file is still there. A link to a
 * file stays a link, and the file that it leads to is replaced; a folder, device, FIFO or socket of
 * that name is never replaced, nor a link that leads nowhere. */
typedef struct file_writer_s file_writer_t;
/* ERR_IO. */
err_t file_writer_open(file_writer_t **writer, const char *path);
err_t file_writer_add(file_writer_t *writer, const void *data, size_t size);
/* Makes the file appear; the writer is gone either way. */
err_t file_writer_commit(file_writer_t **writer);
/* Drops what was written; does nothing on NULL. */
void file_writer_abandon(file_writer_t **writer);

/* The three above in one, for small files. */
err_t file_write(const char *path, const void *data, size_t size);
/* Size from stat. ERR_IO. */
err_t file_size(size_t *size, const char *path);
