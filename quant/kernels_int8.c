/* Choice of kernels, and weights as they take them. */
#include <string.h>

#include "quant/kernels_int8_tables.h"

const quant_kernels_t *quant_kernels_at(cpu_level_t level)
{
    if (!cpu_has(level))
        return NULL;
#if defined(__x86_64__)
    if (level >= CPU_VNNI)
        return &quant_kernels_vnni;
    if (level >= CPU_AVX512)
        return &quant_kernels_avx512;
    if (level >= CPU_AVXVNNI)
        return &quant_kernels_avxvnni;
    if (level >= CPU_AVX2)
        return &quant_kernels_avx2;
#endif
    return &quant_kernels_c;
}

const quant_kernels_t *quant_kernels(void)
{
    return quant_kernels_at(cpu_level());
}

size_t quant_product_bytes(const quant_kernels_t *k, size_t cols, size_t outer, size_t inner)
{
    return quant_up(cols, k->lanes) * outer * quant_up(inner, k->group);
}

void quant_pack_product(int8_t *packed, const quant_kernels_t *k, const int8_t *w, size_t cols,
                        size_t outer, size_t inner)
{
    const size_t G = k->group, groups = quant_up(inner, G) / G,
                 vectors = quant_up(cols, k->lanes) / k->lanes;
    size_t at = 0; /* of a weight in `packed` */
    memset(packed, 0, quant_product_bytes(k, cols, outer, inner));
    for (size_t v = 0; v < vectors; v += QUANT_BUNDLE) {
        const size_t nv = vectors - v < QUANT_BUNDLE ? vectors - v : QUANT_BUNDLE;
        for (size_t part = 0; part < outer * groups * nv * k->lanes; part++) {
            const size_t o = v * k->lanes + part % (nv * k->lanes);
            const size_t g = part / (nv * k->lanes) % groups, q = part / (nv * k->lanes) / groups;
            for (size_t i = 0; i < G; i++, at++) {
                const size_t input = g * G + i;
                if (o >= cols || input >= inner)
                    continue;
                packed[at] = w[(o * outer + q) * inner + input];
            }
        }
    }
}

size_t quant_product_scratch(const quant_kernels_t *k, size_t outer, size_t inner)
{
    return k->widen ? QUANT_BUNDLE * k->lanes * outer * quant_up(inner, k->group) : 0;
}

size_t quant_depthwise_count(const quant_kernels_t *k, size_t C)
{
    return quant_up(C, 2 * k->lanes) * 2 * 2 * 3 * 2;
}

size_t quant_depthwise_channel(size_t half, size_t lane)
{
    return lane / 4 * 8 + half * 4 + lane % 4;
}

void quant_pack_depthwise(int16_t *packed, const quant_kernels_t *k, const int8_t *w, size_t C)
{
    /* [line of the output][pair][which of the pair]: the kernel's line, 3: none */
    static const size_t lines[2][2][2] = {{{0, 1}, {2, 3}}, {{3, 0}, {1, 2}}};
    const size_t halves = quant_up(C, 2 * k->lanes) / k->lanes;
    memset(packed, 0, quant_depthwise_count(k, C) * sizeof *packed);
    for (size_t h = 0; h < halves; h++) {
        for (size_t part = 0; part < 12 * k->lanes; part++, packed += 2) {
            const size_t lane = part % k->lanes, at = part / k->lanes;
            const size_t line = at / 6, pair = at / 3 % 2, column = at % 3;
            const size_t c = h / 2 * 2 * k->lanes + quant_depthwise_channel(h % 2, lane);
            for (size_t i = 0; i < 2 && c < C; i++)
                if (lines[line][pair][i] < 3)
                    packed[i] = w[(c * 3 + lines[line][pair][i]) * 3 + column];
        }
    }
}

size_t quant_depthwise_columns(size_t W)
{
    return W + 10;
}

size_t quant_depthwise_scratch(const quant_kernels_t *k, size_t W)
{
    return 2 * quant_depthwise_columns(W) * 4 * k->lanes;
}
