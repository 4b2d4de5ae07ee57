/* base/err.h: how a call that can fail says so.
 *
 * Three kinds of function. Kernels return nothing; what they need is CHECKed by their callers once.
 * Objects can fail only when made. Edges (file, socket, configuration) return err_t.
 *
 *     err_t thing_open(thing_t **thing, const char *path)
 *     {
 *         err_t err = ERR_OK;
 *         if (...)
 *             FAIL(ERR_IO, "open %s: %s", path, strerror(errno));
 *         TRY(file_read(...));
 *     out:
 *         return err;
 *     }
 */
#pragma once
#include <stdarg.h>

typedef enum {
    ERR_OK = 0,
    ERR_IO,      /* the system refused: open, read, write, bind */
    ERR_FORMAT,  /* bytes are not what they should be: damaged or hostile file, wrong message */
    ERR_CONFIG,  /* what the user wrote cannot be done: configuration, SPEC, option value */
    ERR_USAGE,   /* the command line is wrong */
    ERR_MEMORY,  /* not enough memory */
    ERR_REFUSED, /* not possible now: interrupted, peers gone, nothing to resume */
    ERR_NET      /* sockets and peers */
} err_t;

/* Records the message of a failure for this thread and returns `code`. The first message stands
 * until err_clear: callers that add context use err_prefix. Thread-safe. */
err_t err_set(err_t code, const char *format, ...) __attribute__((format(printf, 2, 3)));
err_t err_setv(err_t code, const char *format, va_list args);

/* Puts "PREFIX: " ahead of the recorded message; returns `code` unchanged. */
err_t err_prefix(err_t code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The message of this thread's last failure, "" if none; good until the next err_set. */
const char *err_message(void);
void err_clear(void);

/* Records the message and jumps to `out:`; needs a local `err_t err`. */
#define FAIL(code, ...)                                                                            \
    do {                                                                                           \
        err = err_set((code), __VA_ARGS__);                                                        \
        goto out;                                                                                  \
    } while (0)

/* Hands a failure on by jumping to `out:`. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        err = (call);                                                                              \
        if (err)                                                                                   \
            goto out;                                                                              \
    } while (0)

/* For our own mistakes only, always on: prints the condition and aborts. Bytes from a peer, a file
 * or the network never reach a CHECK. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            check_failed(#condition, __FILE__, __LINE__);                                          \
    } while (0)
_Noreturn void check_failed(const char *condition, const char *file, int line);

/* malloc and friends that abort with a message when there is no memory: for small things whose
 * failure nobody could handle. Zeroed. Big buffers (models, data) use checked calls. */
void *xcalloc(unsigned long count, unsigned long size);
void *xrealloc(void *pointer, unsigned long count, unsigned long size);
char *xstrdup(const char *text);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
