/* base/log.h: one line an event, to stderr and, if one is set, to a log file:
 *   12:03:04.512 info gossip round_done round=3 heard=4 missing=0
 * Levels by how often a line comes: INFO a round, DEBUG a message, TRACE a batch. HEARSAY_LOG sets
 * them: "debug", or by folder "gossip:debug,nn:trace". Colour only on a terminal and not under
 * NO_COLOR. Thread-safe. LOG_MODULE is defined by the build as the folder's name. */
#pragma once
#include <stdbool.h>

#include "base/err.h"

typedef enum { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE } log_level_t;

/* Reads HEARSAY_LOG; `to_stderr` is the level from which lines go to stderr without it. */
void log_init(log_level_t to_stderr);

/* Also appends every line at `level` or above to `path`. ERR_IO if it cannot be opened. */
err_t log_open_file(const char *path, log_level_t level);
void log_close_file(void);

bool log_enabled(log_level_t level, const char *module);
void log_line(log_level_t level, const char *module, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define LOG_AT(level, event, ...)                                                                  \
    do {                                                                                           \
        if (log_enabled(level, LOG_MODULE))                                                        \
            log_line(level, LOG_MODULE, event, __VA_ARGS__);                                       \
    } while (0)
/* log_info("round_done", "round=%u heard=%d", round, heard); */
#define log_error(event, ...) LOG_AT(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...)  LOG_AT(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...)  LOG_AT(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) LOG_AT(LOG_DEBUG, event, __VA_ARGS__)
#define log_trace(event, ...) LOG_AT(LOG_TRACE, event, __VA_ARGS__)
