/* nn/threads.h: a few threads that do one thing together. What a call computes depends on the
 * number of threads, never on their timing: each part is fixed by its index. */
#pragma once
#include <stddef.h>

#include "base/err.h"

enum { NN_THREADS_MAX = 256 };

typedef struct nn_threads_s nn_threads_t;

/* `count` includes the caller: 1 makes no thread. ERR_CONFIG: count out of range; ERR_MEMORY. */
err_t nn_threads_new(nn_threads_t **threads, int count);
void nn_threads_destroy(nn_threads_t **threads);
size_t nn_threads_count(const nn_threads_t *threads);
/* Runs work(argument, part) for every part in 0 .. count-1, the caller's being 0, and returns when
 * all are done. */
void nn_threads_run(nn_threads_t *threads, void (*work)(void *argument, size_t part),
                    void *argument);
