#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RULES_MAX = 16 };

static const char *const names[] = {"error", "warn", "info", "debug", "trace"};
static const char *const colours[] = {"\033[31m", "\033[33m", "\033[32m", "\033[36m", "\033[90m"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static log_level_t stderr_level = LOG_WARN, file_level = LOG_ERROR;
static FILE *file;
static bool coloured;
static struct {
    char module[24];
    log_level_t level;
} rules[RULES_MAX];
static size_t rule_count;

static bool parse_level(log_level_t *level, const char *text, size_t length)
{
    for (int i = 0; i <= LOG_TRACE; i++)
        if (strlen(names[i]) == length && !strncmp(names[i], text, length)) {
            *level = (log_level_t)i;
            return true;
        }
    return false;
}

static void parse_rule(const char *text, size_t length)
{
    const char *colon = memchr(text, ':', length);
    log_level_t level;
    if (!colon) {
        if (parse_level(&level, text, length))
            stderr_level = level;
        return;
    }
    size_t module_length = (size_t)(colon - text);
    if (rule_count == RULES_MAX || module_length >= sizeof rules[0].module ||
        !parse_level(&level, colon + 1, length - module_length - 1))
        return;
    memcpy(rules[rule_count].module, text, module_length);
    rules[rule_count].module[module_length] = '\0';
    rules[rule_count++].level = level;
}

void log_init(log_level_t to_stderr)
{
    stderr_level = to_stderr;
    rule_count = 0;
    const char *no_color = getenv("NO_COLOR"), *text = getenv("HEARSAY_LOG");
    coloured = isatty(STDERR_FILENO) && !(no_color && *no_color);
    while (text && *text) {
        size_t length = strcspn(text, ",");
        parse_rule(text, length);
        text += length + (text[length] == ',');
    }
}

err_t log_open_file(const char *path, log_level_t level)
{
    err_t err = ERR_OK;
    FILE *opened = fopen(path, "ae");
    if (!opened)
        FAIL(ERR_IO, "open log %s: %s", path, strerror(errno));
    setvbuf(opened, NULL, _IOLBF, 0);
    pthread_mutex_lock(&lock);
    if (file)
        fclose(file);
    file = opened;
    file_level = level;
    pthread_mutex_unlock(&lock);
out:
    return err;
}

void log_close_file(void)
{
    pthread_mutex_lock(&lock);
    if (file)
        fclose(file);
    file = NULL;
    pthread_mutex_unlock(&lock);
}

static log_level_t stderr_level_of(const char *module)
{
    for (size_t i = 0; i < rule_count; i++)
        if (!strcmp(rules[i].module, module))
            return rules[i].level;
    return stderr_level;
}

bool log_enabled(log_level_t level, const char *module)
{
    return level <= stderr_level_of(module) || (file && level <= file_level);
}

void log_line(log_level_t level, const char *module, const char *event, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);

    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    char stamp[32];
    snprintf(stamp, sizeof stamp, "%02d:%02d:%02d.%03ld", tm.tm_hour, tm.tm_min, tm.tm_sec,
             now.tv_nsec / 1000000);

    pthread_mutex_lock(&lock);
    if (level <= stderr_level_of(module))
        fprintf(stderr, "%s %s%s%s %s %s %s\n", stamp, coloured ? colours[level] : "", names[level],
                coloured ? "\033[0m" : "", module, event, text);
    if (file && level <= file_level)
        fprintf(file, "%s %s %s %s %s\n", stamp, names[level], module, event, text);
    pthread_mutex_unlock(&lock);
}
