#include "nn/threads.h"

#include <pthread.h>
#include <signal.h>
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
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t go, done;
    uint64_t call; /* number of the call under way: workers wait for it to rise */
    size_t busy;   /* workers that have not finished it */
    bool stop;
    void (*work)(void *argument, size_t part);
    void *argument;
};

static void *worker_main(void *argument)
{
    worker_t *worker = argument;
    nn_threads_t *t = worker->threads;
    uint64_t seen = 0;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (t->call == seen && !t->stop)
            pthread_cond_wait(&t->go, &t->lock);
        if (t->stop)
            break;
        seen = t->call;
        void (*work)(void *, size_t) = t->work;
        void *work_argument = t->argument;
        pthread_mutex_unlock(&t->lock);
        work(work_argument, worker->part);
        pthread_mutex_lock(&t->lock);
        if (--t->busy == 0)
            pthread_cond_signal(&t->done);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
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
    t->stop = true;
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
    pthread_mutex_lock(&t->lock);
    t->work = work;
    t->argument = argument;
    t->busy = t->count - 1;
    t->call++;
    pthread_cond_broadcast(&t->go);
    pthread_mutex_unlock(&t->lock);
    work(argument, 0);
    pthread_mutex_lock(&t->lock);
    while (t->busy > 0)
        pthread_cond_wait(&t->done, &t->lock);
    pthread_mutex_unlock(&t->lock);
}
