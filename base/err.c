#include "base/err.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char message[2048];

err_t err_setv(err_t code, const char *format, va_list args)
{
    vsnprintf(message, sizeof message, format, args);
    return code;
}

err_t err_set(err_t code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err_setv(code, format, args);
    va_end(args);
    return code;
}

err_t err_prefix(err_t code, const char *format, ...)
{
    char old[sizeof message];
    memcpy(old, message, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof message)
        snprintf(message + n, sizeof message - (size_t)n, ": %.1900s", old);
    return code;
}

const char *err_message(void)
{
    return message;
}

void err_clear(void)
{
    message[0] = '\0';
}

_Noreturn void check_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "hearsay: internal error: CHECK(%s) failed at %s:%d; please report it\n",
            condition, file, line);
    abort();
}

static void *or_die(void *pointer)
{
    if (!pointer) {
        fprintf(stderr, "hearsay: out of memory\n");
        abort();
    }
    return pointer;
}

void *xcalloc(unsigned long count, unsigned long size)
{
    return or_die(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *pointer, unsigned long count, unsigned long size)
{
    return or_die(reallocarray(pointer, count ? count : 1, size ? size : 1));
}

char *xstrdup(const char *text)
{
    return or_die(strdup(text));
}

char *xasprintf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return or_die(n < 0 ? NULL : text);
}
