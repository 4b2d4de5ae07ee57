#include "gossip/codec_layout.h"

#include <math.h>

#include "gossip/codec.h"
#include "gossip/codec_kernels.h"
#include "gossip/codec_sparse.h"

bool codec_is_whole(const gossip_codec_t *codec, const gossip_segment_t *segment)
{
    return codec->kind == GOSSIP_CODEC_FP32 || segment->kind != GOSSIP_WEIGHTS;
}

bool codec_is_16_bits(const gossip_codec_t *codec)
{
    return codec->kind == GOSSIP_CODEC_FP16 || codec->kind == GOSSIP_CODEC_BF16;
}

size_t codec_rows(const gossip_segment_t *segment)
{
    bool is_vector = segment->rows == segment->count;
    bool is_matrix = segment->rows > 0 && segment->count % segment->rows == 0;
    return is_matrix && !is_vector ? segment->rows : 1;
}

codec_layout_t codec_layout(const gossip_codec_t *codec, const gossip_table_t *table)
{
    codec_layout_t l = {.floats_at = sizeof(double)};
    const bool is_sparse = gossip_codec_sparse(codec->kind);
    size_t floats = 0, scales = 0;
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        if (codec_is_whole(codec, segment)) {
            floats += segment->count;
            continue;
        }
        l.coded += segment->count;
        if (codec->kind == GOSSIP_CODEC_INT8)
            scales += codec_rows(segment);
        if (is_sparse)
            scales++;
    }
    if (is_sparse && l.coded > 0)
        l.kept = gossip_codec_kept(codec, l.coded);
    l.scales_at = l.floats_at + floats * sizeof(float);
    l.rest_at = l.scales_at + scales * sizeof(uint16_t);
    l.places_at = l.rest_at + l.kept;
    l.size = l.places_at;
    if (codec->kind == GOSSIP_CODEC_INT8)
        l.size += l.coded;
    if (codec_is_16_bits(codec))
        l.size += l.coded * sizeof(uint16_t);
    if (codec->kind == GOSSIP_CODEC_TOPK && l.kept)
        l.size += sparse_bytes(l.coded, l.kept);
    return l;
}

bool codec_is_scale(float scale)
{
    return scale >= 0.0f && isfinite(scale * (float)CODEC_INT8_MAX);
}
