#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"c", "avx2", "avxvnni", "avx512", "vnni", "amx"};

#if defined(__x86_64__)
/* By cpuid: clang 14's __builtin_cpu_supports does not know the name. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* Leaf 7 says in EAX how many sub-leaves it has; AVX-VNNI is bit 4 of sub-leaf 1's EAX. Its
 * registers are AVX's: where avx2 is supported the system saves them. */
static bool has_avxvnni(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && a >= 1 &&
           __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}
#endif

/* Of what CPU and system support, bit l for level l. */
static unsigned detect(void)
{
    unsigned levels = 1u << CPU_C;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c())
        return levels;
    levels |= 1u << CPU_AVX2;
#if defined(HEARSAY_EMULATE_AVX512) /* with AVX2's instructions */
    return levels | 1u << CPU_AVXVNNI | 1u << CPU_AVX512 | 1u << CPU_VNNI;
#endif
    if (has_avxvnni())
        levels |= 1u << CPU_AVXVNNI;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return levels;
    levels |= 1u << CPU_AVX512;
    if (__builtin_cpu_supports("avx512vnni"))
        levels |= 1u << CPU_VNNI;
#endif
    return levels; /* amx comes with its kernels: it needs arch_prctl first */
}

/* As detect(), those above the level that HEARSAY_CPU names left out. */
static unsigned usable(void)
{
    static unsigned cached = 0;
    unsigned levels = __atomic_load_n(&cached, __ATOMIC_RELAXED);
    if (levels)
        return levels;
    levels = detect();
    const char *forced = getenv("HEARSAY_CPU");
    for (int i = 0; forced && i <= CPU_AMX; i++)
        if (!strcmp(forced, names[i]))
            levels &= (2u << i) - 1;
    __atomic_store_n(&cached, levels, __ATOMIC_RELAXED);
    return levels;
}

bool cpu_has(cpu_level_t level)
{
    return usable() >> level & 1;
}

cpu_level_t cpu_level(void)
{
    int level = CPU_AMX;
    while (level > CPU_C && !cpu_has((cpu_level_t)level))
        level--;
    return (cpu_level_t)level;
}

const char *cpu_level_name(cpu_level_t level)
{
    return names[level];
}

const char *cpu_model_name(void)
{
    static char name[128];
    if (*name)
        return name;
    char line[256], found[128] = "unknown CPU";
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "model name : %127[^\n]", found) == 1)
            break;
    if (file)
        fclose(file);
    memcpy(name, found, sizeof name);
    return name;
}

int cpu_count(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}
