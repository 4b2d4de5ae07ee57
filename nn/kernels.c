#include "nn/kernels_tables.h"

const nn_kernels_t *nn_kernels_at(cpu_level_t level)
{
    if (!cpu_has(level))
        return NULL;
#if defined(__x86_64__)
    if (level >= CPU_AVX512)
        return &nn_kernels_avx512;
    if (level >= CPU_AVX2)
        return &nn_kernels_avx2;
#endif
    return &nn_kernels_c;
}

const nn_kernels_t *nn_kernels(void)
{
    return nn_kernels_at(cpu_level());
}
