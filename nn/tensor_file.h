/* nn/tensor_file.h: a file of named tensors from elsewhere, a PyTorch checkpoint or safetensors,
 * told apart by its content. Names are without what wrappers of PyTorch put ahead of all of them
 * ("module." of DataParallel, "_orig_mod." of torch.compile). */
#pragma once
#include "base/hash.h"
#include "nn/safetensors.h"

typedef struct nn_tensor_file_s nn_tensor_file_t;

typedef struct {
    const char *name;
    safetensors_dtype_t dtype;
    size_t rank, shape[SAFETENSORS_RANK_MAX];
    size_t count; /* elements; bounded by nothing before the shape is known to be right */
} nn_tensor_info_t;

/* Reads the whole file. ERR_IO, ERR_FORMAT, ERR_MEMORY. */
err_t nn_tensor_file_open(nn_tensor_file_t **file, const char *path);
/* Of bytes in memory, which must outlive the handle; `name` stands in messages. */
err_t nn_tensor_file_parse(nn_tensor_file_t **file, const void *bytes, size_t size,
                           const char *name);
void nn_tensor_file_close(nn_tensor_file_t **file);

const char *nn_tensor_file_path(const nn_tensor_file_t *file);
/* SHA-256 of the file's bytes. */
hash_t nn_tensor_file_digest(const nn_tensor_file_t *file);
/* "PyTorch" or "safetensors". */
const char *nn_tensor_file_format(const nn_tensor_file_t *file);
/* The key under which the tensors stood in a larger checkpoint, "" when they are the whole. */
const char *nn_tensor_file_wrapper(const nn_tensor_file_t *file);
/* What was taken off all names, "" for nothing. */
const char *nn_tensor_file_prefix(const nn_tensor_file_t *file);
/* For metadata: NULL when it is a PyTorch checkpoint. */
const safetensors_t *nn_tensor_file_safetensors(const nn_tensor_file_t *file);

/* In ascending order of their names; no name is there twice. */
size_t nn_tensor_file_count(const nn_tensor_file_t *file);
const nn_tensor_info_t *nn_tensor_file_at(const nn_tensor_file_t *file, size_t i);
/* NULL when there is none of that name. */
const nn_tensor_info_t *nn_tensor_file_find(const nn_tensor_file_t *file, const char *name);

/* All elements in row-major order, F16 and F64 converted (round to nearest even).
 *   out values (info->count)
 * ERR_FORMAT: damaged, or of integers. */
err_t nn_tensor_file_floats(float *values, nn_tensor_file_t *file, const nn_tensor_info_t *info);
/* The one element of an I64 or I32 tensor. ERR_FORMAT. */
err_t nn_tensor_file_integer(int64_t *value, nn_tensor_file_t *file, const nn_tensor_info_t *info);
