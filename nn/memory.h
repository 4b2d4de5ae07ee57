/* nn/memory.h: the one place where nn/ takes heap memory, so that it can be counted. */
#pragma once
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

/* Zeroed; abort with a message when there is no memory: for small things. nn_free(NULL) is fine. */
void *nn_calloc(size_t count, size_t size);
void *nn_realloc(void *pointer, size_t size);
void nn_free(void *pointer);
/* 64-byte-aligned, zeroed. NULL when there is no memory. Freed with nn_free. */
void *nn_aligned(size_t size_bytes);
/* arena_init, counted. */
err_t nn_arena_init(arena_t *arena, size_t size_bytes);
