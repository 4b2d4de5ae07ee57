/* nn_blas_setup starts the program again when OpenBLAS has chosen kernels that do not fit the CPU
 * level, once, with the same arguments. The test runs itself as `test_nn_blas core WORD`. */
#include <stdio.h>
#include <unistd.h>

#include "base/cpu.h"
#include "nn/kernels.h"
#include "nn/train.h"
#include "tests/nn/support.h"

/* What `VARIABLES test_nn_blas core word` prints. */
static void run_self(char out[64], const char *variables)
{
    char self[512] = {0};
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    char *command = xasprintf("env -u OPENBLAS_CORETYPE -u HEARSAY_BLAS_RESTARTED -u HEARSAY_CPU "
                              "%s '%s' core word",
                              variables, self);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    if (!fgets(out, 64, pipe))
        out[0] = '\0';
    assert_int_equal(pclose(pipe), 0);
    free(command);
}

static bool is_wide(const char *core)
{
    return strstr(core, "SkylakeX") || strstr(core, "Cooperlake") || strstr(core, "Sapphire");
}

static void a_wide_cpu_gets_wide_kernels_and_keeps_its_arguments(void **state)
{
    (void)state;
    char out[64];
    run_self(out, "");
    assert_non_null(strstr(out, "word"));
#if !defined(HEARSAY_EMULATE_AVX512)
    if (nn_kernels_at(CPU_AVX512))
        assert_true(is_wide(out));
#endif
}

static void a_forced_level_narrows_blas_too(void **state)
{
    (void)state;
    char out[64];
    run_self(out, "HEARSAY_CPU=avx2");
    assert_true(*out && !is_wide(out));
}

static void what_the_user_chose_stands(void **state)
{
    (void)state;
    char out[64];
    run_self(out, "OPENBLAS_CORETYPE=Nehalem");
    assert_string_equal(out, "Nehalem word\n");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_wide_cpu_gets_wide_kernels_and_keeps_its_arguments),
    cmocka_unit_test(a_forced_level_narrows_blas_too),
    cmocka_unit_test(what_the_user_chose_stands),
};

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "core")) {
        nn_blas_setup(argv);
        printf("%s %s\n", nn_blas_core(), argv[2]);
        return 0;
    }
    return TEST_MAIN(argc, argv, tests);
}
