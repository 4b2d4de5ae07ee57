/* CPU levels: what is detected is what the kernel says in /proc/cpuinfo, and HEARSAY_CPU lowers it.
 * A process settles its level once, so each question is asked in a child. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cpu.h"
#include "tests/support/harness.h"

/* With HEARSAY_CPU as given, or unset: bit l for every level l that cpu_has; 255 if cpu_level is
 * not the highest of them. */
static unsigned levels_under(const char *forced)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        unsigned levels = 0;
        if (forced)
            setenv("HEARSAY_CPU", forced, 1);
        else
            unsetenv("HEARSAY_CPU");
        for (int l = CPU_C; l <= CPU_AMX; l++)
            levels |= (unsigned)cpu_has((cpu_level_t)l) << l;
        _exit(levels >> cpu_level() == 1 ? (int)levels : 255);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    return (unsigned)WEXITSTATUS(status);
}

#if defined(__x86_64__) && !defined(HEARSAY_EMULATE_AVX512)
/* Whether the line of flags has all these words. */
static bool all_in(const char *flags, const char *const *words)
{
    for (; *words; words++) {
        char word[32];
        snprintf(word, sizeof word, " %s ", *words);
        if (!strstr(flags, word))
            return false;
    }
    return true;
}

static void levels_are_those_of_the_kernel(void **state)
{
    (void)state;
    static const char *const needs[][5] = {
        [CPU_AVX2] = {"avx2", "fma", "f16c"},
        [CPU_AVXVNNI] = {"avx_vnni"},
        [CPU_AVX512] = {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
        [CPU_VNNI] = {"avx512_vnni"}};
    static char line[16384];
    FILE *file = fopen("/proc/cpuinfo", "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) && strncmp(line, "flags", 5) != 0)
        ;
    fclose(file);
    assert_int_equal(strncmp(line, "flags", 5), 0);
    line[strcspn(line, "\n")] = ' ';
    unsigned expected = 1u << CPU_C;
    if (all_in(line, needs[CPU_AVX2]))
        expected |= 1u << CPU_AVX2;
    for (int l = CPU_AVXVNNI; l <= CPU_AVX512 && expected > 1; l++)
        if (all_in(line, needs[l]))
            expected |= 1u << l;
    if (expected >> CPU_AVX512 && all_in(line, needs[CPU_VNNI]))
        expected |= 1u << CPU_VNNI;
    assert_int_equal(levels_under(NULL), expected);
}
#endif

static void a_forced_level_leaves_out_those_above_it(void **state)
{
    (void)state;
    static const char *const names[] = {"c", "avx2", "avxvnni", "avx512", "vnni", "amx"};
    const unsigned all = levels_under(NULL);
    assert_true(all & 1u << CPU_C);
    for (int l = CPU_C; l <= CPU_AMX; l++) {
        assert_string_equal(cpu_level_name((cpu_level_t)l), names[l]);
        assert_int_equal(levels_under(names[l]), all & ((2u << l) - 1));
    }
    assert_int_equal(levels_under("avx3"), all); /* no such level */
}

static const struct CMUnitTest tests[] = {
#if defined(__x86_64__) && !defined(HEARSAY_EMULATE_AVX512)
    cmocka_unit_test(levels_are_those_of_the_kernel),
#endif
    cmocka_unit_test(a_forced_level_leaves_out_those_above_it),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
