#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"c", "avx2", "avx512", "vnni", "amx"};

#if defined(__x86_64__)
/* By cpuid: clang 14's __builtin_cpu_supports does not know the name. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

static cpu_level_t detect(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c())
        return CPU_C;
#if defined(HEARSAY_EMULATE_AVX512)
    return CPU_VNNI; /* with AVX2's instructions */
#endif
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return CPU_AVX2;
    if (!__builtin_cpu_supports("avx512vnni"))
        return CPU_AVX512;
    return CPU_VNNI; /* amx comes with its kernels: it needs arch_prctl first */
#else
    return CPU_C;
#endif
}

cpu_level_t cpu_level(void)
{
    static int cached = -1;
    int level = __atomic_load_n(&cached, __ATOMIC_RELAXED);
    if (level >= 0)
        return (cpu_level_t)level;
    level = (int)detect();
    const char *forced = getenv("HEARSAY_CPU");
    for (int i = 0; forced && i <= CPU_AMX; i++)
        if (!strcmp(forced, names[i]) && i < level)
            level = i;
    __atomic_store_n(&cached, level, __ATOMIC_RELAXED);
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
