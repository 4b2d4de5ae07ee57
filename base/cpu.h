/* base/cpu.h: what this CPU can do, and the level that kernels are to use. */
#pragma once
#include <stdbool.h>

/* In rising order; each includes those before it, but that CPUs with AVX-512 may lack AVX-VNNI.
 * AVX2 means AVX2, FMA and F16C; AVXVNNI is VNNI's products of 256 bits in AVX's own encoding;
 * AVX-512 means F, BW, DQ and VL; VNNI is AVX-512's. */
typedef enum { CPU_C, CPU_AVX2, CPU_AVXVNNI, CPU_AVX512, CPU_VNNI, CPU_AMX } cpu_level_t;

/* The highest level that CPU and system support, or the lower one that HEARSAY_CPU
 * (c|avx2|avxvnni|avx512|vnni|amx) forces. A level that the CPU lacks is lowered to what it has. */
cpu_level_t cpu_level(void);
/* Whether CPU and system support this level and HEARSAY_CPU forces none below it. */
bool cpu_has(cpu_level_t level);
const char *cpu_level_name(cpu_level_t level);
/* "AMD EPYC" and the like, from /proc/cpuinfo; "unknown CPU" if it does not say. */
const char *cpu_model_name(void);
/* Cores that this process may run on. */
int cpu_count(void);
