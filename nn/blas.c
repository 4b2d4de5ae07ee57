#include "nn/blas.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/log.h"
#include "nn/train.h"

void nn_blas_product(float *c, const float *a, const float *b, bool transpose_a, bool transpose_b,
                     size_t M, size_t N, size_t K, size_t lda, size_t ldb, size_t ldc, float beta)
{
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, (blasint)M, (blasint)N, (blasint)K, 1.0f,
                a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

const char *nn_blas_core(void)
{
    return openblas_get_corename();
}

/* The core that OpenBLAS should use for the level that kernels use, NULL to leave its choice. */
static const char *wanted_core(const char *chosen)
{
    bool wide = !strcmp(chosen, "SkylakeX") || !strcmp(chosen, "Cooperlake") ||
                !strcmp(chosen, "Sapphirerapids");
    cpu_level_t level = cpu_level();
#if defined(HEARSAY_EMULATE_AVX512)
    if (level >= CPU_AVX512)
        return NULL; /* OpenBLAS does not emulate */
#endif
    if (level >= CPU_AVX512)
        return wide ? NULL : "SkylakeX";
    if (level >= CPU_AVX2)
        return wide ? "Haswell" : NULL;
    return NULL;
}

void nn_blas_setup(char **argv)
{
    static const char *const guard = "HEARSAY_BLAS_RESTARTED";
    const char *chosen = openblas_get_corename(), *core = wanted_core(chosen);
    if (core && !getenv("OPENBLAS_CORETYPE") && !getenv(guard)) {
        setenv("OPENBLAS_CORETYPE", core, 1);
        setenv(guard, "1", 1);
        execv("/proc/self/exe", argv);
        unsetenv("OPENBLAS_CORETYPE"); /* no /proc: go on with what there is */
    }
    openblas_set_num_threads(1);
    log_debug("kernels", "cpu=%s level=%s blas=%s", cpu_model_name(), cpu_level_name(cpu_level()),
              chosen);
}
