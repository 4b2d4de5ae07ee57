/* The two ceilings of a layer: arithmetic and memory. One text for each instruction set, by target
 * attributes: nothing here is worth a file of its own. */
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/clock.h"
#include "base/cpu.h"
#include "nn/bench.h"
#include "nn/memory.h"
#include "nn/threads.h"

enum {
    CHAINS = 12,             /* independent sums: latency 4 x 2 a cycle, and registers to spare */
    TRIES = 7,               /* the best counts: others use the machine as well */
    L2_FLOATS = 8192,        /* an array of a thread: three of them are 96 KiB */
    MEMORY_FLOATS = 16 << 20 /* an array of all threads together: 64 MiB */
};

#define CHAINS_12(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11)

/* `rounds` times CHAINS multiply-adds on vectors; returns something that needs them all. The sums
 * stay near 1. */
#define FMA_LOOP(name, attributes, vec, set1, fma, add, first)                                     \
    attributes static float name(size_t rounds)                                                    \
    {                                                                                              \
        const vec m = set1(0.999f), c = set1(0.001f);                                              \
        vec s[CHAINS];                                                                             \
        for (int i = 0; i < CHAINS; i++)                                                           \
            s[i] = set1((float)i);                                                                 \
        for (size_t r = 0; r < rounds; r++) {                                                      \
            CHAINS_12(fma)                                                                         \
        }                                                                                          \
        for (int i = 1; i < CHAINS; i++)                                                           \
            s[0] = add(s[0], s[i]);                                                                \
        return first(s[0]);                                                                        \
    }

/* Arrays aligned to a vector, of whole vectors. */
#define TRIAD_LOOP(name, attributes, vec)                                                          \
    attributes static void name(float *a, const float *b, const float *c, size_t count)            \
    {                                                                                              \
        for (size_t i = 0; i < count; i += sizeof(vec) / sizeof *a)                                \
            *(vec *)(a + i) = *(const vec *)(b + i) + 3.0f * *(const vec *)(c + i);                \
    }

typedef float vec4_t __attribute__((vector_size(16)));
#define SET1_4(x)   ((vec4_t){(x), (x), (x), (x)})
#define FMA_4(i)    s[i] = s[i] * m + c;
#define ADD_4(a, b) ((a) + (b))
#define FIRST_4(v)  ((v)[0])
FMA_LOOP(fma_c, , vec4_t, SET1_4, FMA_4, ADD_4, FIRST_4)
TRIAD_LOOP(triad_c, , vec4_t)

#if defined(__x86_64__)
#define AVX2     __attribute__((target("avx2,fma")))
#define FMA_8(i) s[i] = _mm256_fmadd_ps(s[i], m, c);
FMA_LOOP(fma_avx2, AVX2, __m256, _mm256_set1_ps, FMA_8, _mm256_add_ps, _mm256_cvtss_f32)
TRIAD_LOOP(triad_avx2, AVX2, __m256)

#define AVX512    __attribute__((target("avx512f")))
#define FMA_16(i) s[i] = _mm512_fmadd_ps(s[i], m, c);
FMA_LOOP(fma_avx512, AVX512, __m512, _mm512_set1_ps, FMA_16, _mm512_add_ps, _mm512_cvtss_f32)
TRIAD_LOOP(triad_avx512, AVX512, __m512)
#endif

#if defined(HEARSAY_EMULATE_AVX512)
enum { EMULATED = 1 };
#else
enum { EMULATED = 0 };
#endif

typedef struct {
    float (*fma)(size_t rounds);
    void (*triad)(float *a, const float *b, const float *c, size_t count);
    size_t lanes;
} loops_t;

static loops_t choose(void)
{
#if defined(__x86_64__)
    if (cpu_level() >= CPU_AVX512 && !EMULATED)
        return (loops_t){fma_avx512, triad_avx512, 16};
    if (cpu_level() >= CPU_AVX2)
        return (loops_t){fma_avx2, triad_avx2, 8};
#endif
    return (loops_t){fma_c, triad_c, 4};
}

typedef struct {
    loops_t loops;
    size_t rounds;        /* of the loop under way */
    float *a, *b, *c;     /* (threads, stride) */
    size_t stride, count; /* floats: from one thread's to the next; of a thread in use */
    volatile float sink;  /* so that the sums are needed; whose stays does not matter */
} work_t;

static void fma_part(void *argument, size_t part)
{
    work_t *w = argument;
    float sum = w->loops.fma(w->rounds);
    if (part == 0)
        w->sink = sum;
}

static void triad_part(void *argument, size_t part)
{
    work_t *w = argument;
    size_t at = part * w->stride;
    for (size_t r = 0; r < w->rounds; r++)
        w->loops.triad(w->a + at, w->b + at, w->c + at, w->count);
}

/* Shortest time of a call. */
static double best_time(nn_threads_t *threads, void (*part)(void *, size_t), work_t *work)
{
    double best = 0;
    nn_threads_run(threads, part, work); /* pages and clocks come up */
    for (int i = 0; i < TRIES; i++) {
        double begin = clock_monotonic_s();
        nn_threads_run(threads, part, work);
        double time = clock_monotonic_s() - begin;
        best = i == 0 || time < best ? time : best;
    }
    return best;
}

err_t nn_ceilings_measure(nn_ceilings_t *ceilings, int threads)
{
    err_t err = ERR_OK;
    nn_threads_t *pool = NULL;
    float *memory = NULL;
    TRY(nn_threads_new(&pool, threads));
    const size_t count = (size_t)threads, stride = MEMORY_FLOATS / count / 16 * 16;
    memory = nn_aligned((size_t)3 * MEMORY_FLOATS * sizeof *memory);
    if (!memory)
        FAIL(ERR_MEMORY, "no 192 MiB to measure the memory with: leave out --layers");
    work_t work = {.loops = choose(),
                   .a = memory,
                   .b = memory + MEMORY_FLOATS,
                   .c = memory + 2 * MEMORY_FLOATS,
                   .stride = stride};
    work.rounds = 2000000;
    double operations = 2.0 * CHAINS * (double)(work.loops.lanes * work.rounds * count);
    ceilings->fma_gflops = operations / best_time(pool, fma_part, &work) * 1e-9;
    work.rounds = 1;
    work.count = stride;
    double bytes = 3.0 * sizeof(float) * (double)(work.count * count);
    ceilings->memory_gb_s = bytes / best_time(pool, triad_part, &work) * 1e-9;
    work.rounds = 4000;
    work.count = stride < L2_FLOATS ? stride : L2_FLOATS;
    bytes = 3.0 * sizeof(float) * (double)(work.count * work.rounds * count);
    ceilings->l2_gb_s = bytes / best_time(pool, triad_part, &work) * 1e-9;
out:
    nn_free(memory);
    nn_threads_destroy(&pool);
    return err;
}
