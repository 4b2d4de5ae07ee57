#include "nn/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "nn/memory.h"

typedef struct {
    nn_threads_t *threads;
    size_t part;
    pthread_t id;
} worker_t;

struct nn_threads_s {
    size_t count;
    worker_t *workers; /* (count); [0] is the caller and has no thread */
    size_t started;
    pthread_mutex_t lock; /* for those who sleep */
    pthread_cond_t go, done;
    _Atomic uint64_t call; /* number of the call under way: workers wait for it to rise */
    atomic_size_t busy;    /* workers that have not finished it */
    atomic_bool stop;
    void (*work)(void *argument, size_t part); /* written before `call` rises */
    void *argument;
};

/* Steps of a network follow one another within microseconds, and waking a sleeper takes tens of
 * them, in a virtual machine a hundred: whoever waits looks a while before he sleeps, some
 * microseconds to himself and some hundred in which he steps aside for who else wants the CPU. */
enum { LOOKS = 1000, YIELDS = 500 };

static void between_looks(int look)
{
    if (look >= LOOKS) {
        sched_yield();
        return;
    }
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static bool called(const nn_threads_t *t, uint64_t seen)
{
    return atomic_load_explicit(&t->call, memory_order_acquire) != seen ||
           atomic_load_explicit(&t->stop, memory_order_acquire);
}

static void wait_for_call(nn_threads_t *t, uint64_t seen)
{
    for (int i = 0; i < LOOKS + YIELDS; between_looks(i++))
        if (called(t, seen))
            return;
    pthread_mutex_lock(&t->lock);
    while (!called(t, seen))
        pthread_cond_wait(&t->go, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

static bool all_done(const nn_threads_t *t)
{
    return atomic_load_explicit(&t->busy, memory_order_acquire) == 0;
}

static void wait_for_workers(nn_threads_t *t)
{
    for (int i = 0; i < LOOKS + YIELDS; between_looks(i++))
        if (all_done(t))
            return;
    pthread_mutex_lock(&t->lock);
    while (!all_done(t))
        pthread_cond_wait(&t->done, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

static void *worker_main(void *argument)
{
    worker_t *worker = argument;
    nn_threads_t *t = worker->threads;
    for (uint64_t seen = 0;; seen++) {
        wait_for_call(t, seen);
        if (atomic_load_explicit(&t->stop, memory_order_acquire))
            return NULL;
        t->work(t->argument, worker->part);
        if (atomic_fetch_sub_explicit(&t->busy, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&t->lock); /* the caller is about to sleep, or sleeps, or looks */
            pthread_cond_signal(&t->done);
            pthread_mutex_unlock(&t->lock);
        }
    }
}

/* Signals are the main thread's business: workers block them all. */
static int start(worker_t *worker)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int code = pthread_create(&worker->id, NULL, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return code;
}

err_t nn_threads_new(nn_threads_t **threads, int count)
{
    err_t err = ERR_OK;
    nn_threads_t *t = NULL;
    *threads = NULL;
    if (count < 1 || count > NN_THREADS_MAX)
        FAIL(ERR_CONFIG, "%d threads: 1 to %d are possible", count, NN_THREADS_MAX);
    t = nn_calloc(1, sizeof *t);
    t->count = (size_t)count;
    t->workers = nn_calloc(t->count, sizeof *t->workers);
    t->started = 1;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->go, NULL);
    pthread_cond_init(&t->done, NULL);
    for (; t->started < t->count; t->started++) {
        worker_t *worker = &t->workers[t->started];
        *worker = (worker_t){.threads = t, .part = t->started};
        int code = start(worker);
        if (code)
            FAIL(ERR_MEMORY, "start thread %zu of %d: %s", t->started + 1, count, strerror(code));
    }
    *threads = t;
    t = NULL;
out:
    nn_threads_destroy(&t);
    return err;
}

void nn_threads_destroy(nn_threads_t **threads)
{
    nn_threads_t *t = *threads;
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    atomic_store_explicit(&t->stop, true, memory_order_release);
    pthread_cond_broadcast(&t->go);
    pthread_mutex_unlock(&t->lock);
    for (size_t i = 1; i < t->started; i++)
        pthread_join(t->workers[i].id, NULL);
    pthread_cond_destroy(&t->done);
    pthread_cond_destroy(&t->go);
    pthread_mutex_destroy(&t->lock);
    nn_free(t->workers);
    nn_free(t);
    *threads = NULL;
}

size_t nn_threads_count(const nn_threads_t *threads)
{
    return threads->count;
}

void nn_threads_run(nn_threads_t *t, void (*work)(void *argument, size_t part), void *argument)
{
    if (t->count == 1) {
        work(argument, 0);
        return;
    }
    t->work = work;
    t->argument = argument;
    atomic_store_explicit(&t->busy, t->count - 1, memory_order_relaxed);
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add_explicit(&t->call, 1, memory_order_release);
    pthread_cond_broadcast(&t->go);
    pthread_mutex_unlock(&t->lock);
    work(argument, 0);
    wait_for_workers(t);
}
