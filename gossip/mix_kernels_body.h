/* gossip/mix_kernels_body.h: the loops of mix_kernels.h, included once by the file of each
 * instruction set, which defines K(name). */
#include <string.h>

#include "gossip/mix_kernels.h"

typedef double K(vec4) __attribute__((vector_size(32)));

#define WIDE(x) ((K(vec4)){(double)(x)[0], (double)(x)[1], (double)(x)[2], (double)(x)[3]})

/* Sums stay in registers over all parts. */
static void K(weighted)(double *restrict sum, const gossip_part_t *parts, size_t count, size_t at,
                        size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        K(vec4) s0 = {0.0}, s1 = {0.0}, s2 = {0.0}, s3 = {0.0};
        for (size_t k = 0; k < count; k++) {
            const float *x = parts[k].values + at + i;
            s0 += parts[k].weight * WIDE(x);
            s1 += parts[k].weight * WIDE(x + 4);
            s2 += parts[k].weight * WIDE(x + 8);
            s3 += parts[k].weight * WIDE(x + 12);
        }
        memcpy(sum + i, &s0, sizeof s0);
        memcpy(sum + i + 4, &s1, sizeof s1);
        memcpy(sum + i + 8, &s2, sizeof s2);
        memcpy(sum + i + 12, &s3, sizeof s3);
    }
    for (; i < n; i++) {
        sum[i] = 0.0;
        for (size_t k = 0; k < count; k++)
            sum[i] += parts[k].weight * (double)parts[k].values[at + i];
    }
}

static void K(narrow)(float *restrict out, const double *restrict sum, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)sum[i];
}

static void K(apart)(double *apart, double *norm, const float *a, const float *b, size_t n)
{
    enum { LANES = 8 };
    double far[LANES] = {0}, own[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            double value = (double)a[i + j], difference = value - (double)b[i + j];
            far[j] += difference * difference;
            own[j] += value * value;
        }
    for (size_t j = 0; i < n; i++, j++) {
        double value = (double)a[i], difference = value - (double)b[i];
        far[j] += difference * difference;
        own[j] += value * value;
    }
    for (size_t j = 0; j < LANES; j++) {
        *apart += far[j];
        *norm += own[j];
    }
}

static inline uint64_t K(mixed)(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Four signs for each of 16 patterns of four bits. */
#define SIGNS(b)                                                                                   \
    {                                                                                              \
        (b) & 1 ? 1.0 : -1.0, (b)&2 ? 1.0 : -1.0, (b)&4 ? 1.0 : -1.0, (b)&8 ? 1.0 : -1.0           \
    }
static const K(vec4) K(patterns)[16] = {
    SIGNS(0), SIGNS(1), SIGNS(2),  SIGNS(3),  SIGNS(4),  SIGNS(5),  SIGNS(6),  SIGNS(7),
    SIGNS(8), SIGNS(9), SIGNS(10), SIGNS(11), SIGNS(12), SIGNS(13), SIGNS(14), SIGNS(15)};

/* 32 of the sums at a time: eight registers of four. */
static void K(signs)(double *sum, double *norm, const float *values, size_t n, uint64_t key,
                     uint64_t first)
{
    enum { VECTORS = 8 };
    for (unsigned half = 0; half < 2; half++) {
        K(vec4) s[VECTORS];
        memcpy(s, sum + half * VECTORS * 4, sizeof s);
        for (size_t i = 0; i < n; i++) {
            uint64_t z = K(mixed)(key + (first + i + 1) * UINT64_C(0x9e3779b97f4a7c15));
            const double x = (double)values[i];
            const K(vec4) all = {x, x, x, x};
            z >>= 32 * half;
#pragma GCC unroll 8
            for (unsigned v = 0; v < VECTORS; v++)
                s[v] += all * K(patterns)[z >> (4 * v) & 15];
        }
        memcpy(sum + half * VECTORS * 4, s, sizeof s);
    }
    double square = *norm;
    for (size_t i = 0; i < n; i++)
        square += (double)values[i] * (double)values[i];
    *norm = square;
}

const mix_kernels_t K(mix_kernels) = {K(weighted), K(narrow), K(apart), K(signs)};
