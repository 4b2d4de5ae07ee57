/* base/arena.h: a block of memory handed out from the front, with mark and rewind.
 * Training makes a run arena (parameters, gradients, optimizer state) and a step arena
 * (activations) once, sized by functions, and allocates nothing after the first step. */
#pragma once
#include <stddef.h>

#include "base/err.h"

enum { ARENA_ALIGN = 64 }; /* bytes: a cache line, an AVX-512 register */

typedef struct {
    unsigned char *base; /* ARENA_ALIGN-aligned, owned */
    size_t size_bytes;   /* of the block */
    size_t used_bytes;   /* always a multiple of ARENA_ALIGN */
    size_t peak_bytes;   /* the most ever used */
} arena_t;

/* Reserves `size_bytes`, zeroed. ERR_MEMORY if there is not so much. */
err_t arena_init(arena_t *arena, size_t size_bytes);
void arena_free(arena_t *arena);

/* `size_bytes` rounded up to ARENA_ALIGN: what an allocation takes. For size functions. */
size_t arena_round(size_t size_bytes);

/* ARENA_ALIGN-aligned, not zeroed after a rewind. CHECKs that it fits: sizes are ours to compute.
 */
void *arena_alloc(arena_t *arena, size_t size_bytes);

/* arena_rewind(arena, arena_mark(arena)) gives back all that was taken in between. */
size_t arena_mark(const arena_t *arena);
void arena_rewind(arena_t *arena, size_t mark);
