#define K(name) name##_c
#include "gossip/codec_kernels_body.h"

const gossip_codec_kernels_t *gossip_codec_kernels_at(cpu_level_t level)
{
    if (!cpu_has(level))
        return NULL;
#if defined(__x86_64__)
    if (level >= CPU_AVX512)
        return &gossip_codec_kernels_avx512;
    if (level >= CPU_AVX2)
        return &gossip_codec_kernels_avx2;
#endif
    return &gossip_codec_kernels_c;
}

const gossip_codec_kernels_t *gossip_codec_kernels(void)
{
    return gossip_codec_kernels_at(cpu_level());
}
