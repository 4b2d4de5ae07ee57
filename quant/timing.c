#include "quant/timing.h"

#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "quant/quant.h"

enum { TURNS = 5, WARM_UP = 1, RUNS_LEAST = 2, RUNS_MOST = 20000, MESSAGE_BYTES = 512 };

/* What a turn's process says through its pipe; `runs` doubles follow. */
typedef struct {
    err_t err;
    char message[MESSAGE_BYTES]; /* when err */
    double load_s;
    size_t memory, runs;
} answer_t;

/* Durations of one file at one batch size, of all turns. */
typedef struct {
    double *s; /* (count), owned */
    size_t count;
    double load_s[TURNS];
    size_t memory;
} samples_t;

/* The task of a turn. */
typedef struct {
    const char *path;
    const data_set_t *set;
    size_t batch;
    int threads;
    double seconds;
    const volatile bool *interrupted;
} turn_t;

/* Runs until the time has passed. Returns how many runs were measured.
 *   out s (RUNS_MOST) */
static size_t run_for(double *s, quant_runner_t *runner, const turn_t *turn)
{
    const nn_model_meta_t *meta = quant_meta(runner);
    size_t n = turn->batch, pixels = meta->arch.input * meta->arch.input * DATA_CHANNELS, runs = 0;
    float *x = xcalloc(n * pixels, sizeof *x), *logits = xcalloc(n * meta->arch.classes, sizeof *x);
    uint32_t *order = xcalloc(n, sizeof *order);
    int32_t *labels = xcalloc(n, sizeof *labels);
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)(i % turn->set->count);
    data_batch(x, labels, turn->set, order, n, &meta->normalisation, NULL, NULL);
    for (int i = 0; i < WARM_UP; i++)
        quant_run(runner, logits, x, n);
    double start = clock_monotonic_s(), now = start;
    while (runs < RUNS_MOST && (runs < RUNS_LEAST || now - start < turn->seconds) &&
           !(turn->interrupted && *turn->interrupted)) {
        double before = now;
        quant_run(runner, logits, x, n);
        now = clock_monotonic_s();
        s[runs++] = now - before;
    }
    free(x);
    free(logits);
    free(order);
    free(labels);
    return runs;
}

static void write_all(int fd, const void *data, size_t size)
{
    for (const char *at = data; size;) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* the reader sees an answer cut short */
        at += n;
        size -= (size_t)n;
    }
}

/* The process of a turn. */
static _Noreturn void answer(int fd, const turn_t *turn)
{
    size_t before = memory_resident();
    answer_t a = {0};
    quant_runner_t *runner = NULL;
    double *s = xcalloc(RUNS_MOST, sizeof *s), start = clock_monotonic_s();
    a.err = quant_open(&runner, turn->path, turn->batch, turn->threads);
    a.load_s = clock_monotonic_s() - start;
    if (a.err)
        snprintf(a.message, sizeof a.message, "%s", err_message());
    else
        a.runs = run_for(s, runner, turn);
    size_t peak = memory_peak(), own = a.runs * sizeof *s;
    a.memory = peak > before + own ? peak - before - own : 0;
    write_all(fd, &a, sizeof a);
    write_all(fd, s, a.runs * sizeof *s);
    _exit(0);
}

/* False when the other end closed too early. */
static bool read_all(int fd, void *data, size_t size)
{
    for (char *at = data; size;) {
        ssize_t n = read(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static err_t take_answer(samples_t *samples, size_t turn, int fd, const char *path)
{
    err_t err = ERR_OK;
    answer_t a;
    if (!read_all(fd, &a, sizeof a) || a.runs > RUNS_MOST)
        FAIL(ERR_IO, "%s: the process that times it has died", path);
    if (a.err)
        FAIL(a.err, "%.*s", MESSAGE_BYTES - 1, a.message);
    samples->s = xrealloc(samples->s, samples->count + a.runs, sizeof *samples->s);
    if (!read_all(fd, samples->s + samples->count, a.runs * sizeof *samples->s))
        FAIL(ERR_IO, "%s: the process that times it has died", path);
    samples->count += a.runs;
    samples->load_s[turn] = a.load_s;
    samples->memory = a.memory > samples->memory ? a.memory : samples->memory;
out:
    return err;
}

static err_t take_turn(samples_t *samples, size_t number, const turn_t *turn)
{
    err_t err = ERR_OK;
    int fds[2] = {-1, -1};
    pid_t child = -1;
    if (pipe(fds))
        FAIL(ERR_IO, "make a pipe: %s", strerror(errno));
    fflush(NULL);
    malloc_trim(0); /* what is free here is not the child's already */
    child = fork();
    if (child < 0)
        FAIL(ERR_IO, "start a process: %s", strerror(errno));
    if (child == 0) {
        close(fds[0]);
        answer(fds[1], turn);
    }
    close(fds[1]);
    fds[1] = -1;
    TRY(take_answer(samples, number, fds[0], turn->path));
    if (turn->interrupted && *turn->interrupted)
        FAIL(ERR_REFUSED, "interrupted while models were timed");
out:
    for (int k = 0; k < 2; k++)
        if (fds[k] >= 0)
            close(fds[k]);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return err;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nearest rank of sorted values. */
static double percentile(const double *sorted, size_t count, double part)
{
    size_t rank = (size_t)ceil(part * (double)count);
    return sorted[rank ? rank - 1 : 0];
}

static void summarize(quant_timing_t *timing, samples_t *one, samples_t *batch, int threads)
{
    double load_s[2 * TURNS];
    memcpy(load_s, one->load_s, sizeof one->load_s);
    memcpy(load_s + TURNS, batch->load_s, sizeof batch->load_s);
    qsort(load_s, 2 * TURNS, sizeof *load_s, rising);
    qsort(one->s, one->count, sizeof *one->s, rising);
    qsort(batch->s, batch->count, sizeof *batch->s, rising);
    *timing = (quant_timing_t){
        .runs = one->count,
        .threads = threads,
        .load_s = percentile(load_s, 2 * TURNS, 0.5),
        .p50_s = percentile(one->s, one->count, 0.5),
        .p90_s = percentile(one->s, one->count, 0.9),
        .p99_s = percentile(one->s, one->count, 0.99),
        .batches = batch->count,
        .images_per_s = QUANT_TIMING_BATCH / percentile(batch->s, batch->count, 0.5),
        .memory_1 = one->memory,
        .memory_batch = batch->memory,
    };
}

err_t quant_time(quant_timing_t *timings, const char *const *paths, size_t count,
                 const data_set_t *set, int threads, double seconds,
                 const volatile bool *interrupted)
{
    err_t err = ERR_OK;
    samples_t *samples = xcalloc(2 * count, sizeof *samples);
    for (size_t number = 0; number < TURNS; number++)
        for (size_t k = 0; k < 2 * count; k++) {
            const turn_t turn = {.path = paths[k / 2],
                                 .set = set,
                                 .batch = k % 2 ? QUANT_TIMING_BATCH : 1,
                                 .threads = k % 2 ? threads : 1,
                                 .seconds = seconds / TURNS,
                                 .interrupted = interrupted};
            TRY(take_turn(&samples[k], number, &turn));
        }
    for (size_t i = 0; i < count; i++)
        summarize(&timings[i], &samples[2 * i], &samples[2 * i + 1], threads);
out:
    for (size_t k = 0; k < 2 * count; k++)
        free(samples[k].s);
    free(samples);
    return err;
}
