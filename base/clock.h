/* base/clock.h: time. Nothing that decides a number of a run may read it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

int64_t clock_monotonic_ms(void);
double clock_monotonic_s(void);
/* Milliseconds since 1970: for incarnation numbers and names of run folders only. */
int64_t clock_wall_ms(void);
/* "YYYY-MM-DD_HH-MM-SS", local time. */
void clock_stamp(char text[20]);
