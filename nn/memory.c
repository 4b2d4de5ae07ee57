#include "nn/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nn/train.h"

static uint64_t allocations; /* atomic: nets may be made in several threads */

static void count_one(void)
{
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
}

uint64_t nn_allocation_count(void)
{
    return __atomic_load_n(&allocations, __ATOMIC_RELAXED);
}

void *nn_calloc(size_t count, size_t size)
{
    count_one();
    return xcalloc(count, size);
}

void *nn_realloc(void *pointer, size_t size)
{
    count_one();
    return xrealloc(pointer, 1, size);
}

void nn_free(void *pointer)
{
    free(pointer);
}

void *nn_aligned(size_t size_bytes)
{
    void *p = NULL;
    count_one();
    size_t rounded = arena_round(size_bytes);
    if (rounded < size_bytes || posix_memalign(&p, ARENA_ALIGN, rounded ? rounded : ARENA_ALIGN))
        return NULL;
    memset(p, 0, rounded);
    return p;
}

err_t nn_arena_init(arena_t *arena, size_t size_bytes)
{
    count_one();
    return arena_init(arena, size_bytes);
}
