#include "gossip/codec.h"

#include <math.h>
#include <string.h>

#include "gossip/codec_kernels.h"
#include "gossip/codec_layout.h"
#include "gossip/codec_sparse.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "objects are written as they lie here");

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

uint64_t gossip_codec_bytes(const gossip_codec_t *codec, const gossip_table_t *table)
{
    return codec_layout(codec, table).size;
}

/* -- Pieces: a segment is worked through in as many rows as stay in the first cache, for it
 * is read more than once -- */

enum { PIECE_FLOATS = 2048 };

typedef struct {
    const gossip_segment_t *segment;
    bool whole;
    size_t rows, length;         /* length: elements of a row */
    size_t offset;               /* in the model's buffer */
    size_t floats, scales, rest; /* bytes from the object's begin */
} piece_t;

typedef struct {
    const gossip_table_t *table;
    const gossip_codec_t *codec;
    size_t segment, row;         /* of the next piece */
    size_t floats, scales, rest; /* where it lies */
} walk_t;

static walk_t walk_of(const gossip_table_t *table, const gossip_codec_t *codec)
{
    codec_layout_t l = codec_layout(codec, table);
    return (walk_t){.table = table,
                    .codec = codec,
                    .floats = l.floats_at,
                    .scales = l.scales_at,
                    .rest = l.rest_at};
}

static bool next_piece(piece_t *piece, walk_t *w)
{
    while (w->segment < w->table->count && w->table->segments[w->segment].count == 0)
        w->segment++;
    if (w->segment == w->table->count)
        return false;
    const gossip_segment_t *segment = &w->table->segments[w->segment];
    bool whole = codec_is_whole(w->codec, segment);
    bool by_rows = w->codec->kind == GOSSIP_CODEC_INT8 && !whole;
    size_t rows = by_rows ? codec_rows(segment) : segment->count, length = segment->count / rows;
    size_t most = length < PIECE_FLOATS ? PIECE_FLOATS / length : 1, left = rows - w->row;
    *piece = (piece_t){.segment = segment,
                       .whole = whole,
                       .rows = left < most ? left : most,
                       .length = length,
                       .offset = segment->offset + w->row * length,
                       .floats = w->floats,
                       .scales = w->scales,
                       .rest = w->rest};
    if (whole)
        w->floats += piece->rows * sizeof(float);
    if (by_rows) {
        w->scales += piece->rows * sizeof(uint16_t);
        w->rest += piece->rows * length;
    }
    if (codec_is_16_bits(w->codec) && !whole)
        w->rest += piece->rows * sizeof(uint16_t);
    w->row += piece->rows;
    if (w->row == rows) {
        w->row = 0;
        w->segment++;
    }
    return true;
}

/* Returns the squares of what rounding leaves out; so does encode_halves. */
static double encode_rows(uint8_t *bytes, const float *from, const piece_t *piece)
{
    const gossip_codec_kernels_t *kernels = gossip_codec_kernels();
    uint16_t *coded = (uint16_t *)(void *)(bytes + piece->scales);
    float largest[PIECE_FLOATS], scale[PIECE_FLOATS], inverse[PIECE_FLOATS];
    kernels->largest(largest, from, piece->rows, piece->length);
    kernels->scales(coded, scale, inverse, largest, piece->rows);
    double squares = kernels->to_int8((int8_t *)(bytes + piece->rest), from, scale, inverse,
                                      piece->rows, piece->length);
    for (size_t r = 0; r < piece->rows; r++)
        if (!coded[r])
            squares += (double)piece->length * (double)largest[r] * (double)largest[r];
    return squares;
}

static bool decode_rows(float *to, const uint8_t *bytes, const piece_t *piece)
{
    const gossip_codec_kernels_t *kernels = gossip_codec_kernels();
    float scale[PIECE_FLOATS];
    bool ok = kernels->from_bfloat(scale, (const uint16_t *)(const void *)(bytes + piece->scales),
                                   piece->rows);
    for (size_t r = 0; r < piece->rows; r++)
        ok &= codec_is_scale(scale[r]);
    return kernels->from_int8(to, (const int8_t *)(bytes + piece->rest), scale, piece->rows,
                              piece->length) &&
           ok;
}

static double encode_halves(uint8_t *bytes, const float *from, const piece_t *piece, bool bfloat)
{
    const gossip_codec_kernels_t *kernels = gossip_codec_kernels();
    uint16_t *to = (uint16_t *)(void *)(bytes + piece->rest);
    float back[PIECE_FLOATS];
    (bfloat ? kernels->to_bfloat : kernels->to_half)(to, from, piece->rows);
    (bfloat ? kernels->from_bfloat : kernels->from_half)(back, to, piece->rows);
    return kernels->squares(from, back, piece->rows);
}

/* False for what no segment of its kind may hold. */
static bool copy_whole(float *to, const float *from, const piece_t *piece)
{
    bool ok = gossip_codec_kernels()->copy(to, from, piece->rows);
    for (size_t i = 0; piece->segment->kind == GOSSIP_VARIANCE && i < piece->rows; i++)
        ok &= to[i] >= 0.0f;
    return ok;
}

/* Of a sparse codec the whole segments only; so does decode_piece. */
static bool encode_piece(uint8_t *bytes, double *squares, const float *values, const piece_t *piece,
                         const gossip_codec_t *codec)
{
    const float *from = values + piece->offset;
    if (piece->whole)
        return copy_whole((float *)(void *)(bytes + piece->floats), from, piece);
    if (codec->kind == GOSSIP_CODEC_INT8)
        *squares += encode_rows(bytes, from, piece);
    else if (codec_is_16_bits(codec))
        *squares += encode_halves(bytes, from, piece, codec->kind == GOSSIP_CODEC_BF16);
    return true;
}

static bool decode_piece(float *values, const uint8_t *bytes, const piece_t *piece,
                         const gossip_codec_t *codec)
{
    const gossip_codec_kernels_t *kernels = gossip_codec_kernels();
    float *to = values + piece->offset;
    if (piece->whole)
        return copy_whole(to, (const float *)(const void *)(bytes + piece->floats), piece);
    if (codec->kind == GOSSIP_CODEC_INT8)
        return decode_rows(to, bytes, piece);
    if (codec_is_16_bits(codec))
        return (codec->kind == GOSSIP_CODEC_FP16 ? kernels->from_half : kernels->from_bfloat)(
            to, (const uint16_t *)(const void *)(bytes + piece->rest), piece->rows);
    return true;
}

/* -- The object -- */

bool gossip_codec_encode(uint8_t *bytes, const float *values, const gossip_table_t *table,
                         const gossip_codec_t *codec, size_t peer, uint64_t exchange)
{
    double squares = 0.0;
    bool sound = true;
    if (gossip_codec_sparse(codec->kind))
        squares = sparse_encode(bytes, values, table, codec, peer, exchange);
    walk_t walk = walk_of(table, codec);
    for (piece_t piece; next_piece(&piece, &walk);)
        sound &= encode_piece(bytes, &squares, values, &piece, codec);
    double residual = sqrt(squares) * (1 + 0x1p-23); /* for the differences' rounding: no less */
    memcpy(bytes, &residual, sizeof residual);
    return sound && isfinite(residual);
}

bool gossip_codec_decode(float *values, double *residual, const uint8_t *bytes, size_t size,
                         const gossip_table_t *table, const gossip_codec_t *codec, size_t peer,
                         uint64_t exchange)
{
    bool ok = size == gossip_codec_bytes(codec, table);
    if (!ok)
        return false;
    memcpy(residual, bytes, sizeof *residual);
    ok = isfinite(*residual) && *residual >= 0.0;
    if (ok && gossip_codec_sparse(codec->kind))
        ok = sparse_decode(values, bytes, table, codec, peer, exchange);
    walk_t walk = walk_of(table, codec);
    for (piece_t piece; ok && next_piece(&piece, &walk);)
        ok = decode_piece(values, bytes, &piece, codec);
    return ok;
}
