/* Objects as chunks: sizes, digests, and putting them together in any order of arrival. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/state.h"

uint32_t object_chunks(uint64_t size)
{
    return size == 0 ? 1 : (uint32_t)((size + CHUNK_BYTES - 1) / CHUNK_BYTES);
}

uint32_t object_chunk_size(uint64_t size, uint32_t index)
{
    uint64_t at = (uint64_t)index * CHUNK_BYTES;
    uint64_t left = size > at ? size - at : 0;
    return (uint32_t)(left < CHUNK_BYTES ? left : CHUNK_BYTES);
}

hash_t object_digest(hash_t *parts, const void *data, uint64_t size)
{
    uint32_t chunks = object_chunks(size);
    for (uint32_t i = 0; i < chunks; i++)
        parts[i] =
            hash_bytes((const uint8_t *)data + (size_t)i * CHUNK_BYTES, object_chunk_size(size, i));
    return hash_bytes(parts, chunks * sizeof *parts);
}

bool object_equal(const wire_object_t *a, const wire_object_t *b)
{
    return a->type == b->type && a->kind == b->kind && a->origin == b->origin &&
           a->incarnation == b->incarnation && a->number == b->number;
}

bool assembly_init(assembly_t *assembly, uint64_t size, bool floats)
{
    *assembly =
        (assembly_t){.capacity = size, .capacity_chunks = object_chunks(size), .floats = floats};
    assembly->data = malloc(size ? size : 1);
    assembly->got = calloc(assembly->capacity_chunks, 1);
    assembly->parts = calloc(assembly->capacity_chunks, sizeof *assembly->parts);
    if (assembly->data && assembly->got && assembly->parts)
        return true;
    assembly_free(assembly);
    return false;
}

void assembly_free(assembly_t *assembly)
{
    free(assembly->data);
    free(assembly->got);
    free(assembly->parts);
    *assembly = (assembly_t){0};
}

void assembly_open(assembly_t *assembly, const wire_object_t *id, const hash_t *digest,
                   uint64_t size)
{
    CHECK(size <= assembly->capacity);
    assembly->id = *id;
    assembly->digest = *digest;
    assembly->size = size;
    assembly->count = object_chunks(size);
    assembly->have = 0;
    assembly->open = true;
    assembly->whole = assembly->refused = false;
    assembly->outstanding = assembly->asks = 0;
    assembly->pulled = false;
    memset(assembly->got, 0, assembly->capacity_chunks);
}

/* Every float finite and every variance >= 0, in the part of the state at `at`. */
static bool floats_ok(const gossip_t *g, const float *values, size_t at, size_t floats)
{
    for (size_t i = 0; i < floats; i++)
        if (!isfinite(values[i]))
            return false;
    for (size_t s = 0; s < g->config.table.count; s++) {
        const gossip_segment_t *segment = &g->segments[s];
        if (segment->kind != GOSSIP_VARIANCE)
            continue;
        size_t from = segment->offset > at ? segment->offset : at;
        size_t end = segment->offset + segment->count;
        size_t to = end < at + floats ? end : at + floats;
        for (size_t i = from; i < to; i++)
            if (values[i - at] < 0.0f)
                return false;
    }
    return true;
}

/* The chunk is of this object (id and digest were compared by the caller), its payload is what its
 * own digest says (checked where it was heard). */
chunk_result_t assembly_add(gossip_t *g, assembly_t *assembly, const wire_chunk_t *chunk)
{
    uint32_t index = (uint32_t)chunk->index;
    if (assembly->refused || assembly->whole)
        return CHUNK_DUPLICATE;
    if (chunk->count != assembly->count || chunk->size != assembly->size ||
        chunk->payload.size != object_chunk_size(assembly->size, index))
        return CHUNK_BAD;
    if (assembly->got[index])
        return CHUNK_DUPLICATE;
    uint8_t *to = assembly->data + (size_t)index * CHUNK_BYTES;
    if (chunk->payload.size)
        memcpy(to, chunk->payload.bytes, chunk->payload.size);
    if (assembly->floats &&
        !floats_ok(g, (const float *)(const void *)to, (size_t)index * CHUNK_BYTES / sizeof(float),
                   chunk->payload.size / sizeof(float))) {
        assembly->refused = true;
        count(g, GOSSIP_COUNT_MODELS_REFUSED);
        return CHUNK_REFUSED;
    }
    memcpy(assembly->parts[index].bytes, chunk->part, HASH_BYTES);
    assembly->got[index] = 1;
    assembly->have++;
    assembly->asks = 0;
    assembly->progress_ms = g->now;
    if (assembly->outstanding)
        assembly->outstanding--;
    if (assembly->have < assembly->count)
        return CHUNK_NEW;
    hash_t digest = hash_bytes(assembly->parts, assembly->count * sizeof *assembly->parts);
    if (memcmp(digest.bytes, assembly->digest.bytes, HASH_BYTES) != 0) {
        assembly->refused = true;
        count(g, GOSSIP_COUNT_MODELS_REFUSED);
        return CHUNK_REFUSED;
    }
    assembly->whole = true;
    return CHUNK_WHOLE;
}
