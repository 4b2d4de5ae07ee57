/* nn/safetensors.h: the safetensors container: u64 little-endian header length, JSON header,
 * tensors. The reader checks the header's length (at most 100,000,000 bytes and within the file),
 * JSON without duplicate keys, dtypes, shapes against offsets, no hole, no overlap, and the file's
 * end. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum { ST_F32, ST_F16, ST_F64, ST_I64, ST_I32, ST_I8, ST_U8, ST_U64 } safetensors_dtype_t;
enum { SAFETENSORS_RANK_MAX = 8, SAFETENSORS_NAME_MAX = 256, SAFETENSORS_SHAPE_TEXT = 192 };

typedef struct {
    const char *name;
    safetensors_dtype_t dtype;
    size_t rank, shape[SAFETENSORS_RANK_MAX];
    size_t count;     /* elements */
    const void *data; /* into the file's memory, aligned to 8 */
    size_t size_bytes;
} safetensors_tensor_t;

typedef struct safetensors_s safetensors_t;

err_t safetensors_open(safetensors_t **file, const char *path);
/* Of bytes in memory; `name` stands in messages; the bytes must outlive the handle. */
err_t safetensors_parse(safetensors_t **file, const void *bytes, size_t size, const char *name);
void safetensors_close(safetensors_t **file);
const char *safetensors_path(const safetensors_t *file);
size_t safetensors_count(const safetensors_t *file);
const safetensors_tensor_t *safetensors_at(const safetensors_t *file, size_t i);
/* NULL when there is none of that name. */
const safetensors_tensor_t *safetensors_find(const safetensors_t *file, const char *name);
/* The tensor of that name. ERR_FORMAT: it is missing, or of another dtype or shape; the message
 * names the file, the tensor, what was found and what was expected. */
err_t safetensors_expect(const safetensors_tensor_t **tensor, const safetensors_t *file,
                         const char *name, safetensors_dtype_t dtype, const size_t *shape,
                         size_t rank);
/* "[64, 32, 5, 5]"; rank at most SAFETENSORS_RANK_MAX. */
void safetensors_shape_text(char out[SAFETENSORS_SHAPE_TEXT], const size_t *shape, size_t rank);
/* Value of a __metadata__ key, NULL when there is none. */
const char *safetensors_metadata(const safetensors_t *file, const char *key);

/* Collects tensors (the data is not copied: it must live until commit) and writes the file at once,
 * atomically. The header names tensors in the order in which they were added; their data stands by
 * falling element size, so that each is aligned to its elements without holes (torch asks for it).
 */
typedef struct safetensors_writer_s safetensors_writer_t;
safetensors_writer_t *safetensors_writer_new(void);
void safetensors_writer_metadata(safetensors_writer_t *writer, const char *key, const char *value);
void safetensors_writer_tensor(safetensors_writer_t *writer, const char *name,
                               safetensors_dtype_t dtype, const size_t *shape, size_t rank,
                               const void *data);
/* Writes and destroys. */
err_t safetensors_writer_commit(safetensors_writer_t **writer, const char *path);
void safetensors_writer_abandon(safetensors_writer_t **writer);
size_t safetensors_dtype_size(safetensors_dtype_t dtype);
const char *safetensors_dtype_name(safetensors_dtype_t dtype);
