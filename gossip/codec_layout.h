/* gossip/codec_layout.h: where the parts of a coded object lie (gossip/codec.h); internal to
 * gossip/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gossip/gossip.h"

/* Float32 first, so that everything is aligned. */
typedef struct {
    size_t coded;     /* elements that the codec writes in its own way */
    size_t kept;      /* of these, by a sparse codec */
    size_t floats_at; /* bytes from the object's begin: whole segments */
    size_t scales_at; /* of int8 and of sparse codecs */
    size_t rest_at;   /* integers or 16-bit numbers */
    size_t places_at; /* positions */
    size_t size;      /* in all */
} codec_layout_t;

codec_layout_t codec_layout(const gossip_codec_t *codec, const gossip_table_t *table);

/* A segment that travels as float32. */
bool codec_is_whole(const gossip_codec_t *codec, const gossip_segment_t *segment);
/* fp16 and bf16. */
bool codec_is_16_bits(const gossip_codec_t *codec);
/* Rows of int8; a vector, one element for each channel, is one row. */
size_t codec_rows(const gossip_segment_t *segment);

/* Whether it is one that an encoder gives: finite, even by 127, and not negative. */
bool codec_is_scale(float scale);
