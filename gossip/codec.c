#include "gossip/codec.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/codec_kernels.h"
#include "gossip/codec_sparse.h"
#include "gossip/mix_kernels.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "objects are written as they lie here");

enum { INT8_MAX_Q = 127 };

const char *gossip_codec_name(gossip_codec_kind_t kind)
{
    static const char *const names[] = {"fp32", "fp16", "bf16", "int8", "topk", "randomk"};
    return names[kind];
}

bool gossip_codec_sparse(gossip_codec_kind_t kind)
{
    return kind == GOSSIP_CODEC_TOPK || kind == GOSSIP_CODEC_RANDOMK;
}

size_t gossip_codec_kept(const gossip_codec_t *codec, size_t weights)
{
    double kept = floor(codec->keep * (double)weights + 0.5);
    return kept < 1 ? 1 : kept < (double)weights ? (size_t)kept : weights;
}

double gossip_codec_gamma(const gossip_codec_t *codec, size_t degree_max)
{
    if (!gossip_codec_sparse(codec->kind))
        return 1.0;
    double of_topk = degree_max <= 2 ? 4.0 : 2.0;
    return fmin(1.0, (codec->kind == GOSSIP_CODEC_TOPK ? of_topk : 0.5) * codec->keep);
}

/* -- Where things lie: float32 first, so that everything is aligned. -- */

static bool is_whole(const gossip_codec_t *codec, const gossip_segment_t *segment)
{
    bool per_row =
        segment->rows > 0 && segment->count % segment->rows == 0 && segment->count > segment->rows;
    return codec->kind == GOSSIP_CODEC_FP32 || segment->kind != GOSSIP_WEIGHTS ||
           (codec->kind == GOSSIP_CODEC_INT8 && !per_row);
}

typedef struct {
    size_t floats; /* behind the residual: whole segments, scales or kept values */
    size_t coded;  /* elements that the codec writes in its own way */
    size_t kept;   /* of these, by a sparse codec */
    size_t size;   /* bytes in all */
} layout_t;

static layout_t layout_of(const gossip_codec_t *codec, const gossip_table_t *table)
{
    layout_t l = {0};
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        if (is_whole(codec, segment))
            l.floats += segment->count;
        else if (codec->kind == GOSSIP_CODEC_INT8)
            l.floats += segment->rows;
        l.coded += is_whole(codec, segment) ? 0 : segment->count;
    }
    if (gossip_codec_sparse(codec->kind) && l.coded > 0) {
        l.kept = gossip_codec_kept(codec, l.coded);
        l.floats += l.kept;
    }
    l.size = sizeof(double) + l.floats * sizeof(float);
    if (codec->kind == GOSSIP_CODEC_INT8)
        l.size += l.coded;
    if (codec->kind == GOSSIP_CODEC_FP16 || codec->kind == GOSSIP_CODEC_BF16)
        l.size += l.coded * sizeof(uint16_t);
    if (codec->kind == GOSSIP_CODEC_TOPK && l.kept)
        l.size += sparse_bytes(l.coded, l.kept);
    return l;
}

uint64_t gossip_codec_bytes(const gossip_codec_t *codec, const gossip_table_t *table)
{
    return layout_of(codec, table).size;
}

/* -- Sparse: weights as one run of elements -- */

/* Between the buffer and its coded elements in a row. */
static void gather(float *run, const float *values, const gossip_codec_t *codec,
                   const gossip_table_t *table)
{
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        if (is_whole(codec, segment))
            continue;
        memcpy(run, values + segment->offset, segment->count * sizeof *run);
        run += segment->count;
    }
}

/* Zero but for the kept ones, at ascending positions. */
static void scatter(float *values, const float *kept, const uint32_t *positions, size_t count,
                    const gossip_codec_t *codec, const gossip_table_t *table)
{
    size_t base = 0, k = 0;
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        if (is_whole(codec, segment))
            continue;
        memset(values + segment->offset, 0, segment->count * sizeof *values);
        for (; k < count && positions[k] < base + segment->count; k++)
            values[segment->offset + positions[k] - base] = kept[k];
        base += segment->count;
    }
}

static void encode_sparse(float *kept, uint8_t *rest, const float *values, const layout_t *l,
                          const gossip_table_t *table, const gossip_codec_t *codec, size_t peer,
                          uint64_t exchange)
{
    float *run = xcalloc(l->coded, sizeof *run);
    uint32_t *positions = xcalloc(l->kept, sizeof *positions);
    gather(run, values, codec, table);
    if (codec->kind == GOSSIP_CODEC_TOPK) {
        sparse_top(positions, run, l->coded, l->kept);
        sparse_put(rest, positions, l->coded, l->kept);
    } else {
        sparse_random(positions, l->coded, l->kept, codec->seed, peer, exchange);
    }
    for (size_t k = 0; k < l->kept; k++)
        kept[k] = run[positions[k]];
    free(run);
    free(positions);
}

static bool decode_sparse(float *values, const float *kept, const uint8_t *rest, const layout_t *l,
                          const gossip_table_t *table, const gossip_codec_t *codec, size_t peer,
                          uint64_t exchange)
{
    bool ok = true;
    uint32_t *positions = xcalloc(l->kept, sizeof *positions);
    if (codec->kind == GOSSIP_CODEC_TOPK)
        ok = sparse_get(positions, rest, l->coded, l->kept);
    else
        sparse_random(positions, l->coded, l->kept, codec->seed, peer, exchange);
    if (ok)
        scatter(values, kept, positions, l->kept, codec, table);
    free(positions);
    return ok;
}

/* -- A segment -- */

/* One scale a row; a row of values too small to divide by is all zero, and scale x 127 stays
 * finite. */
static void encode_rows(float *scales, int8_t *out, const float *values,
                        const gossip_segment_t *segment)
{
    const gossip_codec_kernels_t *kernels = gossip_codec_kernels();
    size_t n = segment->count / segment->rows;
    for (size_t r = 0; r < segment->rows; r++) {
        float scale = kernels->largest(values + r * n, n) / (float)INT8_MAX_Q;
        scale = scale < FLT_MIN ? 0.0f : fminf(scale, FLT_MAX / 128.0f);
        float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
        scales[r] = scale;
        kernels->to_int8(out + r * n, values + r * n, inverse, n);
    }
}

static bool decode_rows(float *values, const float *scales, const int8_t *in,
                        const gossip_segment_t *segment)
{
    const gossip_codec_kernels_t *kernels = gossip_codec_kernels();
    size_t n = segment->count / segment->rows;
    bool ok = true;
    for (size_t r = 0; r < segment->rows; r++) {
        ok &= scales[r] >= 0.0f && isfinite(scales[r] * (float)INT8_MAX_Q);
        ok &= kernels->from_int8(values + r * n, in + r * n, scales[r], n);
    }
    return ok;
}

static bool variances_ok(const float *values, const gossip_segment_t *segment)
{
    bool ok = true;
    for (size_t i = 0; segment->kind == GOSSIP_VARIANCE && i < segment->count; i++)
        ok &= values[i] >= 0.0f;
    return ok;
}

/* -- The object -- */

static void encode(uint8_t *bytes, const float *values, const gossip_table_t *table,
                   const gossip_codec_t *codec, size_t peer, uint64_t exchange)
{
    const gossip_codec_kernels_t *kernels = gossip_codec_kernels();
    layout_t l = layout_of(codec, table);
    float *floats = (float *)(void *)(bytes + sizeof(double));
    uint8_t *rest = bytes + sizeof(double) + l.floats * sizeof(float);
    if (l.kept) {
        float *kept = floats + (l.floats - l.kept);
        encode_sparse(kept, rest, values, &l, table, codec, peer, exchange);
    }
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        const float *from = values + segment->offset;
        if (is_whole(codec, segment)) {
            memcpy(floats, from, segment->count * sizeof *floats);
            floats += segment->count;
        } else if (codec->kind == GOSSIP_CODEC_INT8) {
            encode_rows(floats, (int8_t *)rest, from, segment);
            floats += segment->rows;
            rest += segment->count;
        } else if (!l.kept) {
            uint16_t *to = (uint16_t *)(void *)rest;
            (codec->kind == GOSSIP_CODEC_FP16 ? kernels->to_half
                                              : kernels->to_bfloat)(to, from, segment->count);
            rest += segment->count * sizeof *to;
        }
    }
}

static bool decode(float *values, const uint8_t *bytes, const gossip_table_t *table,
                   const gossip_codec_t *codec, size_t peer, uint64_t exchange)
{
    const gossip_codec_kernels_t *kernels = gossip_codec_kernels();
    layout_t l = layout_of(codec, table);
    const float *floats = (const float *)(const void *)(bytes + sizeof(double));
    const uint8_t *rest = bytes + sizeof(double) + l.floats * sizeof(float);
    bool ok = kernels->finite(floats, l.floats);
    if (ok && l.kept)
        ok = decode_sparse(values, floats + (l.floats - l.kept), rest, &l, table, codec, peer,
                           exchange);
    for (size_t s = 0; ok && s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        float *to = values + segment->offset;
        if (is_whole(codec, segment)) {
            memcpy(to, floats, segment->count * sizeof *to);
            floats += segment->count;
            ok = variances_ok(to, segment);
        } else if (codec->kind == GOSSIP_CODEC_INT8) {
            ok = decode_rows(to, floats, (const int8_t *)rest, segment);
            floats += segment->rows;
            rest += segment->count;
        } else if (!l.kept) {
            const uint16_t *from = (const uint16_t *)(const void *)rest;
            ok = (codec->kind == GOSSIP_CODEC_FP16 ? kernels->from_half : kernels->from_bfloat)(
                to, from, segment->count);
            rest += segment->count * sizeof *from;
        }
    }
    return ok;
}

bool gossip_codec_encode(uint8_t *bytes, float *decoded, const float *values,
                         const gossip_table_t *table, const gossip_codec_t *codec, size_t peer,
                         uint64_t exchange)
{
    double apart = 0.0, norm = 0.0; /* norm: not needed */
    encode(bytes, values, table, codec, peer, exchange);
    bool sound = decode(decoded, bytes, table, codec, peer, exchange);
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        if (!is_whole(codec, segment))
            mix_kernels()->apart(&apart, &norm, values + segment->offset, decoded + segment->offset,
                                 segment->count);
    }
    double residual = sqrt(apart);
    memcpy(bytes, &residual, sizeof residual);
    return sound;
}

bool gossip_codec_decode(float *values, double *residual, const uint8_t *bytes, size_t size,
                         const gossip_table_t *table, const gossip_codec_t *codec, size_t peer,
                         uint64_t exchange)
{
    if (size != gossip_codec_bytes(codec, table))
        return false;
    memcpy(residual, bytes, sizeof *residual);
    if (!isfinite(*residual) || *residual < 0.0)
        return false;
    return decode(values, bytes, table, codec, peer, exchange);
}
