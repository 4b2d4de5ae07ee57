#include "base/clock.h"

#include <time.h>

static double seconds(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int64_t clock_monotonic_ms(void)
{
    return (int64_t)(seconds(CLOCK_MONOTONIC) * 1e3);
}

double clock_monotonic_s(void)
{
    return seconds(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
    return (int64_t)(seconds(CLOCK_REALTIME) * 1e3);
}

void clock_stamp(char text[20])
{
    time_t now = time(NULL);
    struct tm tm;
    localtime_r(&now, &tm);
    strftime(text, 20, "%Y-%m-%d_%H-%M-%S", &tm);
}
