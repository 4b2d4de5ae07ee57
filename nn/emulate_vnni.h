/* nn/emulate_vnni.h: VNNI's products on a CPU that has AVX2 alone, for tests (CMake's
 * HEARSAY_EMULATE_AVX512): Intel's definition of VPDPBUSD and VPDPWSSD in AVX2's instructions. */
#pragma once
#include <immintrin.h>

/* sum + four products of an unsigned and a signed byte, without saturation: those of even places
 * and those of odd ones as pairs of int16. */
static inline __m256i emulated_dot_bytes(__m256i sum, __m256i a, __m256i b)
{
    const __m256i even_a = _mm256_and_si256(a, _mm256_set1_epi16(255));
    const __m256i even_b = _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8);
    const __m256i odd_a = _mm256_srli_epi16(a, 8), odd_b = _mm256_srai_epi16(b, 8);
    return _mm256_add_epi32(_mm256_add_epi32(sum, _mm256_madd_epi16(even_a, even_b)),
                            _mm256_madd_epi16(odd_a, odd_b));
}

/* sum + two products of signed 16 bits, without saturation. */
static inline __m256i emulated_dot_words(__m256i sum, __m256i a, __m256i b)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

#undef _mm256_dpbusd_avx_epi32
#undef _mm256_dpwssd_avx_epi32
#define _mm256_dpbusd_avx_epi32 emulated_dot_bytes
#define _mm256_dpwssd_avx_epi32 emulated_dot_words
