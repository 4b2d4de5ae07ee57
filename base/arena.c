#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t arena_round(size_t size_bytes)
{
    return (size_bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

err_t arena_init(arena_t *arena, size_t size_bytes)
{
    err_t err = ERR_OK;
    *arena = (arena_t){.size_bytes = arena_round(size_bytes)};
    void *base = NULL;
    if (size_bytes > SIZE_MAX / 2 ||
        posix_memalign(&base, ARENA_ALIGN, arena->size_bytes + ARENA_ALIGN))
        FAIL(ERR_MEMORY, "no memory for a block of %zu MB", size_bytes >> 20);
    arena->base = base;
    memset(base, 0, arena->size_bytes);
out:
    return err;
}

void arena_free(arena_t *arena)
{
    free(arena->base);
    *arena = (arena_t){0};
}

void *arena_alloc(arena_t *arena, size_t size_bytes)
{
    size_t size = arena_round(size_bytes);
    CHECK(size >= size_bytes && size <= arena->size_bytes - arena->used_bytes);
    void *pointer = arena->base + arena->used_bytes;
    arena->used_bytes += size;
    if (arena->used_bytes > arena->peak_bytes)
        arena->peak_bytes = arena->used_bytes;
    return pointer;
}

size_t arena_mark(const arena_t *arena)
{
    return arena->used_bytes;
}

void arena_rewind(arena_t *arena, size_t mark)
{
    CHECK(mark <= arena->used_bytes);
    arena->used_bytes = mark;
}
