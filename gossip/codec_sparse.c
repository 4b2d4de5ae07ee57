#include "gossip/codec_sparse.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "gossip/codec_kernels.h"
#include "gossip/codec_layout.h"

enum { HALF_BITS = 16, BINS = 1 << HALF_BITS };

/* Magnitudes of floats order as their bits do. */
static uint32_t magnitude(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x7fffffffu;
}

/* The bin, counted from the highest, where `*left` of them are reached; takes those above off. */
static uint32_t bin_of(const size_t *bins, size_t *left)
{
    uint32_t bin = BINS - 1;
    while (bins[bin] < *left)
        *left -= bins[bin--];
    return bin;
}

/* The k-th largest magnitude, by its high and then its low half; `*ties`: how many of that very
 * magnitude are among the k. */
static uint32_t threshold(const float *values, size_t n, size_t k, size_t *ties)
{
    size_t *bins = xcalloc(BINS, sizeof *bins);
    for (size_t i = 0; i < n; i++)
        bins[magnitude(values[i]) >> HALF_BITS]++;
    *ties = k;
    uint32_t high = bin_of(bins, ties);
    memset(bins, 0, BINS * sizeof *bins);
    for (size_t i = 0; i < n; i++) {
        uint32_t m = magnitude(values[i]);
        if (m >> HALF_BITS == high)
            bins[m & (BINS - 1)]++;
    }
    uint32_t low = bin_of(bins, ties);
    free(bins);
    return high << HALF_BITS | low;
}

void sparse_top(uint32_t *positions, const float *values, size_t n, size_t k)
{
    size_t ties = 0, at = 0;
    uint32_t least = threshold(values, n, k, &ties);
    for (size_t i = 0; i < n && at < k; i++) {
        uint32_t m = magnitude(values[i]);
        bool tie = m == least && ties > 0;
        ties -= tie;
        if (m > least || tie)
            positions[at++] = (uint32_t)i;
    }
}

void sparse_random(uint32_t *positions, size_t n, size_t k, uint64_t seed, uint64_t peer,
                   uint64_t exchange)
{
    rng_t rng;
    size_t at = 0;
    rng_init(&rng, seed, RNG_STREAM_CODEC, peer, exchange);
    for (size_t i = 0; at < k; i++)
        if (rng_below(&rng, n - i) < k - at)
            positions[at++] = (uint32_t)i;
}

static bool as_set(size_t n, size_t k)
{
    return (n + 7) / 8 < 4 * k;
}

size_t sparse_bytes(size_t n, size_t k)
{
    return as_set(n, k) ? (n + 7) / 8 : 4 * k;
}

void sparse_put(uint8_t *bytes, const uint32_t *positions, size_t n, size_t k)
{
    if (as_set(n, k))
        memset(bytes, 0, (n + 7) / 8);
    for (size_t i = 0; i < k; i++) {
        uint32_t p = positions[i];
        if (as_set(n, k)) {
            bytes[p / 8] = (uint8_t)(bytes[p / 8] | 1u << p % 8);
            continue;
        }
        for (int b = 0; b < 4; b++)
            bytes[4 * i + (size_t)b] = (uint8_t)(p >> 8 * b);
    }
}

static bool get_set(uint32_t *positions, const uint8_t *bytes, size_t n, size_t k)
{
    size_t at = 0;
    for (size_t byte = 0; byte < (n + 7) / 8; byte++)
        for (unsigned left = bytes[byte]; left; left &= left - 1) {
            size_t p = 8 * byte + (unsigned)__builtin_ctz(left);
            if (p >= n || at == k)
                return false;
            positions[at++] = (uint32_t)p;
        }
    return at == k;
}

bool sparse_get(uint32_t *positions, const uint8_t *bytes, size_t n, size_t k)
{
    if (as_set(n, k))
        return get_set(positions, bytes, n, k);
    for (size_t i = 0; i < k; i++) {
        uint32_t p = 0;
        for (int b = 3; b >= 0; b--)
            p = p << 8 | bytes[4 * i + (size_t)b];
        if (p >= n || (i > 0 && p <= positions[i - 1]))
            return false;
        positions[i] = p;
    }
    return true;
}

/* -- Values: weights as one run of elements, what is kept as int8 with one scale a segment -- */

static void gather(float *run, const float *values, const gossip_codec_t *codec,
                   const gossip_table_t *table)
{
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        if (codec_is_whole(codec, segment))
            continue;
        memcpy(run, values + segment->offset, segment->count * sizeof *run);
        run += segment->count;
    }
}

/* How many of `count` ascending positions are below `end`. */
static size_t below(const uint32_t *positions, size_t count, size_t end)
{
    size_t n = 0;
    while (n < count && positions[n] < end)
        n++;
    return n;
}

double sparse_encode(uint8_t *bytes, const float *values, const gossip_table_t *table,
                     const gossip_codec_t *codec, size_t peer, uint64_t exchange)
{
    const gossip_codec_kernels_t *kernels = gossip_codec_kernels();
    codec_layout_t l = codec_layout(codec, table);
    if (l.kept == 0)
        return 0.0;
    uint16_t *scale = (uint16_t *)(void *)(bytes + l.scales_at);
    int8_t *out = (int8_t *)(bytes + l.rest_at);
    float *run = xcalloc(l.coded, sizeof *run), *kept = xcalloc(l.kept, sizeof *kept);
    uint32_t *positions = xcalloc(l.kept, sizeof *positions);
    gather(run, values, codec, table);
    if (codec->kind == GOSSIP_CODEC_TOPK) {
        sparse_top(positions, run, l.coded, l.kept);
        sparse_put(bytes + l.places_at, positions, l.coded, l.kept);
    } else {
        sparse_random(positions, l.coded, l.kept, codec->seed, peer, exchange);
    }
    for (size_t k = 0; k < l.kept; k++) {
        kept[k] = run[positions[k]];
        run[positions[k]] = 0.0f;
    }
    double squares = 0.0;
    for (size_t i = 0; i < l.coded; i++)
        squares += (double)run[i] * (double)run[i];
    for (size_t s = 0, at = 0, end = 0; s < table->count; s++) {
        if (codec_is_whole(codec, &table->segments[s]))
            continue;
        end += table->segments[s].count;
        size_t n = below(positions + at, l.kept - at, end);
        float largest = 0.0f, widened, inverse;
        if (n > 0)
            kernels->largest(&largest, kept + at, 1, n);
        kernels->scales(scale, &widened, &inverse, &largest, 1);
        if (n > 0)
            squares += kernels->to_int8(out + at, kept + at, &widened, &inverse, 1, n);
        if (!*scale)
            squares += (double)n * (double)largest * (double)largest;
        scale++;
        at += n;
    }
    free(run);
    free(kept);
    free(positions);
    return squares;
}

/* Zero but for the kept ones. */
static bool decode_kept(float *values, const uint8_t *bytes, const uint32_t *positions,
                        const gossip_table_t *table, const gossip_codec_t *codec)
{
    bool ok = true;
    codec_layout_t l = codec_layout(codec, table);
    const uint16_t *scales = (const uint16_t *)(const void *)(bytes + l.scales_at);
    float *kept = xcalloc(l.kept, sizeof *kept);
    for (size_t s = 0, at = 0, base = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        if (codec_is_whole(codec, segment))
            continue;
        size_t n = below(positions + at, l.kept - at, base + segment->count);
        float scale, *to = values + segment->offset;
        ok &= gossip_codec_kernels()->from_bfloat(&scale, scales++, 1) && codec_is_scale(scale) &&
              (n > 0 || scale == 0.0f);
        if (n > 0)
            ok &= gossip_codec_kernels()->from_int8(kept, (const int8_t *)(bytes + l.rest_at + at),
                                                    &scale, 1, n);
        memset(to, 0, segment->count * sizeof *to);
        for (size_t k = 0; k < n; k++)
            to[positions[at + k] - base] = kept[k];
        base += segment->count;
        at += n;
    }
    free(kept);
    return ok;
}

bool sparse_decode(float *values, const uint8_t *bytes, const gossip_table_t *table,
                   const gossip_codec_t *codec, size_t peer, uint64_t exchange)
{
    bool ok = true;
    codec_layout_t l = codec_layout(codec, table);
    if (l.kept == 0)
        return true;
    uint32_t *positions = xcalloc(l.kept, sizeof *positions);
    if (codec->kind == GOSSIP_CODEC_TOPK)
        ok = sparse_get(positions, bytes + l.places_at, l.coded, l.kept);
    else
        sparse_random(positions, l.coded, l.kept, codec->seed, peer, exchange);
    ok = ok && decode_kept(values, bytes, positions, table, codec);
    free(positions);
    return ok;
}
