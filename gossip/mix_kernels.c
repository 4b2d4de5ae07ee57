#define K(name) name##_c
#include "gossip/mix_kernels_body.h"

const mix_kernels_t *mix_kernels_at(cpu_level_t level)
{
    if (!cpu_has(level))
        return NULL;
#if defined(__x86_64__)
    if (level >= CPU_AVX512)
        return &mix_kernels_avx512;
    if (level >= CPU_AVX2)
        return &mix_kernels_avx2;
#endif
    return &mix_kernels_c;
}

const mix_kernels_t *mix_kernels(void)
{
    return mix_kernels_at(cpu_level());
}
