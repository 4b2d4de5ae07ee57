/* nn/torch_file.h: a PyTorch checkpoint (.pth, .pt: torch.save of a state_dict since PyTorch 1.6)
 * as named tensors. nn/torch_zip.h reads the container, nn/pickle.h what names the tensors; this
 * file puts the two together: each storage's size against its entry. docs/formats.md. */
#pragma once
#include "nn/pickle.h"
#include "nn/safetensors.h"

typedef struct torch_file_s torch_file_t;

typedef struct {
    char *name;                  /* without control bytes, shorter than SAFETENSORS_NAME_MAX */
    const pickle_tensor_t *view; /* dtype, shape, strides; inside its storage */
} torch_tensor_t;

/* True for a checkpoint of PyTorch, or one of before 1.6, which torch_file_open refuses with what
 * to do about it. */
bool torch_file_is(const void *bytes, size_t size);

/* `name` stands in messages; the bytes must outlive the handle. ERR_FORMAT, ERR_MEMORY. */
err_t torch_file_open(torch_file_t **file, const void *bytes, size_t size, const char *name);
void torch_file_close(torch_file_t **file);
size_t torch_file_count(const torch_file_t *file);
const torch_tensor_t *torch_file_at(const torch_file_t *file, size_t i);
/* The key under which the state_dict stood in a larger checkpoint ("state_dict"), NULL when it is
 * the whole. */
const char *torch_file_wrapper(const torch_file_t *file);
/* All of the tensor's storage: view->elements of view->dtype, aligned to its elements. Read at the
 * first call, kept until the file is closed. ERR_FORMAT: damaged. */
err_t torch_file_storage(const void **data, torch_file_t *file, size_t i);
