/* gossip/codec_kernels_body.h: the loops of codec_kernels.h, included once by the file of each
 * instruction set, which defines K(name). No branches, so that they vectorise. */
#include <float.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "gossip/codec_kernels.h"

static inline uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Adding a power of two to a small float shifts its digits to where a half's subnormal has them,
 * rounded as the FPU rounds (F. Giesen, float_to_half_fast3_rtne). */
static void K(to_half)(uint16_t *restrict out, const float *restrict in, size_t n)
{
    const uint32_t magic = ((127u - 15u) + (23u - 10u) + 1u) << 23;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = bits_of(in[i]), sign = bits & 0x80000000u, u = bits ^ sign;
        uint32_t small = bits_of(float_of(u) + float_of(magic)) - magic;
        uint32_t normal = (u - ((127u - 15u) << 23) + 0xfffu + (u >> 13 & 1u)) >> 13;
        uint32_t half = u < 113u << 23 ? small : normal;
        half = u >= 143u << 23 || half > 0x7bffu ? 0x7bffu : half;
        out[i] = (uint16_t)(half | sign >> 16);
    }
}

static bool K(from_half)(float *restrict out, const uint16_t *restrict in, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t u = (in[i] & 0x7fffu) << 13, exponent = u & 0x7c00u << 13;
        uint32_t normal = u + ((127u - 15u) << 23);
        uint32_t small = bits_of(float_of(normal + (1u << 23)) - float_of(113u << 23));
        bad |= exponent == 0x7c00u << 13;
        out[i] = float_of((exponent ? normal : small) | (in[i] & 0x8000u) << 16);
    }
    return !bad;
}

static void K(to_bfloat)(uint16_t *restrict out, const float *restrict in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = bits_of(in[i]), sign = bits & 0x80000000u, u = bits ^ sign;
        uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
        rounded = rounded > 0x7f7fu ? 0x7f7fu : rounded;
        out[i] = (uint16_t)(rounded | sign >> 16);
    }
}

static bool K(from_bfloat)(float *restrict out, const uint16_t *restrict in, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t u = in[i];
        bad |= (u & 0x7f80u) == 0x7f80u;
        out[i] = float_of(u << 16);
    }
    return !bad;
}

static void K(largest)(float *restrict out, const float *restrict in, size_t rows, size_t length)
{
    for (size_t r = 0; r < rows; r++, in += length) {
        uint32_t most = 0; /* magnitudes of finite floats order as their bits do */
        for (size_t i = 0; i < length; i++) {
            uint32_t u = bits_of(in[i]) & 0x7fffffffu;
            most = u > most ? u : most;
        }
        out[r] = float_of(most);
    }
}

static void K(scales)(uint16_t *restrict coded, float *restrict scale, float *restrict inverse,
                      const float *restrict largest, size_t rows)
{
    const uint32_t most = 0x7c01; /* a bfloat16 */
    for (size_t r = 0; r < rows; r++) {
        float exact = largest[r] / (float)CODEC_INT8_MAX;
        uint32_t bits = (bits_of(exact) + 0xffff) >> 16;
        bits = bits < most ? bits : most;
        bits = exact < FLT_MIN ? 0 : bits;
        coded[r] = (uint16_t)bits;
        scale[r] = float_of(bits << 16);
        inverse[r] = float_of(bits_of(1.0f / (bits ? scale[r] : 1.0f)) & (bits ? ~0u : 0u));
    }
}

/* Adding 1.5 x 2^23 leaves rint(x) in the low bits, and taking it away again leaves rint(x). */
static const float K(magic) = 12582912.0f;
/* x * inverse, 127 or hardly more, is off by at most so much: two roundings. */
static const float K(off) = 0x1p-16f;

typedef float K(vec8f) __attribute__((vector_size(32)));
typedef int32_t K(vec8i) __attribute__((vector_size(32)));

/* Eight of a row in steps, and added to `squares` what that leaves out of them, at most. */
static inline void K(eight)(K(vec8i) * q, K(vec8f) * squares, const float *in, float inverse)
{
    K(vec8f) x, shifted;
    memcpy(&x, in, sizeof x);
    x *= inverse;
    shifted = x + K(magic);
    *q = (K(vec8i))shifted - (int32_t)bits_of(K(magic));
    x -= shifted - K(magic);
    x = (K(vec8f))((K(vec8i))x & 0x7fffffff) + K(off);
    *squares += x * x;
}

static inline void K(store)(int8_t *restrict out, const K(vec8i) q[4])
{
#if defined(__AVX2__)
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i low = _mm256_packs_epi32((__m256i)q[0], (__m256i)q[1]);
    __m256i high = _mm256_packs_epi32((__m256i)q[2], (__m256i)q[3]);
    __m256i all = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
    memcpy(out, &all, sizeof all);
#else
    for (size_t v = 0; v < 4; v++)
        for (size_t j = 0; j < 8; j++)
            out[8 * v + j] = (int8_t)q[v][j];
#endif
}

/* In float32, so for runs of at most RUN. Reads AHEAD bytes: most often that is next. */
enum { K(RUN) = 4096, K(AHEAD) = 8192 };
static double K(run_to_int8)(int8_t *restrict out, const float *restrict in, float inverse,
                             size_t length)
{
    K(vec8f) s0 = {0.0f}, s1 = {0.0f}, s2 = {0.0f}, s3 = {0.0f};
    double squares = 0.0;
    size_t i = 0;
    for (; i + 32 <= length; i += 32) {
        uintptr_t ahead = (uintptr_t)(in + i) + K(AHEAD);
        K(vec8i) q[4];
        __builtin_prefetch((const void *)ahead);
        __builtin_prefetch((const void *)(ahead + 64));
        K(eight)(q, &s0, in + i, inverse);
        K(eight)(q + 1, &s1, in + i + 8, inverse);
        K(eight)(q + 2, &s2, in + i + 16, inverse);
        K(eight)(q + 3, &s3, in + i + 24, inverse);
        K(store)(out + i, q);
    }
    for (; i + 8 <= length; i += 8) {
        K(vec8i) q;
        K(eight)(&q, &s0, in + i, inverse);
        for (size_t j = 0; j < 8; j++)
            out[i + j] = (int8_t)q[j];
    }
    for (; i < length; i++) {
        float x = in[i] * inverse, shifted = x + K(magic);
        out[i] = (int8_t)(bits_of(shifted) - bits_of(K(magic)));
        x = float_of(bits_of(x - (shifted - K(magic))) & 0x7fffffff) + K(off);
        squares += (double)x * (double)x;
    }
    s0 = (s0 + s1) + (s2 + s3);
    for (size_t j = 0; j < 8; j++)
        squares += (double)s0[j];
    return squares;
}

static double K(to_int8)(int8_t *restrict out, const float *restrict in,
                         const float *restrict scale, const float *restrict inverse, size_t rows,
                         size_t length)
{
    double all = 0.0;
    for (size_t r = 0; r < rows; r++, in += length, out += length) {
        double squares = 0.0;
        for (size_t i = 0; i < length; i += K(RUN))
            squares += K(run_to_int8)(out + i, in + i, inverse[r],
                                      length - i < K(RUN) ? length - i : K(RUN));
        all += (double)scale[r] * (double)scale[r] * squares;
    }
    return all * (1 + 0x1p-16); /* for at most 2^7 + 6 roundings of each sum in float32 */
}

static bool K(from_int8)(float *restrict out, const int8_t *restrict in,
                         const float *restrict scale, size_t rows, size_t length)
{
    uint8_t bad = 0;
    for (size_t i = 0; i < rows * length; i++)
        bad = (uint8_t)(bad | (in[i] == -128));
    for (size_t r = 0; r < rows; r++, in += length, out += length)
        for (size_t i = 0; i < length; i++)
            out[i] = (float)in[i] * scale[r];
    return !bad;
}

static bool K(finite)(const float *in, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t u = bits_of(in[i]) & 0x7fffffffu;
        most = u > most ? u : most;
    }
    return most < 0x7f800000u;
}

/* Not by memcpy: rep movsb, which it takes for some sizes, is slow on AMD's Zen where source and
 * target lie alike in their pages (glibc's bug 30994), as whole models do. */
static bool K(copy)(float *restrict out, const float *restrict in, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t u = bits_of(in[i]) & 0x7fffffffu;
        most = u > most ? u : most;
        out[i] = in[i];
    }
    return most < 0x7f800000u;
}

static double K(squares)(const float *restrict a, const float *restrict b, size_t n)
{
    enum { LANES = 16 };
    double sum[LANES] = {0}, all = 0.0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            double difference = (double)(a[i + j] - b[i + j]);
            sum[j] += difference * difference;
        }
    for (size_t j = 0; i < n; i++, j++) {
        double difference = (double)(a[i] - b[i]);
        sum[j] += difference * difference;
    }
    for (size_t j = 0; j < LANES; j++)
        all += sum[j];
    return all;
}

const gossip_codec_kernels_t K(gossip_codec_kernels) = {
    .to_half = K(to_half),
    .to_bfloat = K(to_bfloat),
    .from_half = K(from_half),
    .from_bfloat = K(from_bfloat),
    .largest = K(largest),
    .scales = K(scales),
    .to_int8 = K(to_int8),
    .from_int8 = K(from_int8),
    .finite = K(finite),
    .copy = K(copy),
    .squares = K(squares),
};
