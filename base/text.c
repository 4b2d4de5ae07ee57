#include "base/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

bool text_to_u64(uint64_t *value, const char *text)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    *value = number;
    return errno == 0 && *end == '\0';
}

bool text_to_i64(int64_t *value, const char *text)
{
    if ((*text < '0' || *text > '9') && *text != '-')
        return false;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    *value = number;
    return errno == 0 && end != text && *end == '\0';
}

bool text_to_double(double *value, const char *text)
{
    if (*text == '\0' || strchr(" \t\n", *text) || strpbrk(text, "xXpP"))
        return false;
    char *end;
    *value = strtod(text, &end);
    return *end == '\0' && isfinite(*value);
}

static size_t edit_distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    size_t n = strlen(a), m = strlen(b), row[MAX + 1];
    if (n > MAX || m > MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

const char *text_nearest(const char *text, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX, limit = strlen(text) / 3;
    if (limit < 2)
        limit = 2;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(text, names[i]);
        if (distance < best_distance) {
            best_distance = distance;
            best = names[i];
        }
    }
    return best_distance <= limit ? best : NULL;
}

void text_bytes(char out[24], double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    int unit = 0;
    while (bytes >= 999.5 && unit < 4) {
        bytes /= 1000.0;
        unit++;
    }
    int digits = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    snprintf(out, 24, "%.*f %s", digits, bytes, units[unit]);
}

/* Length of the UTF-8 sequence at `s`, 0 if it is not one. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    if (s[0] >= 0x20 && s[0] < 0x7f)
        return 1;
    size_t length = s[0] >= 0xc2 && s[0] < 0xe0   ? 2
                    : (s[0] & 0xf0) == 0xe0       ? 3
                    : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                                  : 0;
    if (length == 0 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool control = s[0] == 0xc2 && s[1] < 0xa0;
    return overlong || control ? 0 : length;
}

void text_bound(char out[24], double value, int digits, bool exponent)
{
    char text[24] = "";
    double at = value, step = fabs(value);
    for (int i = 0; i < digits; i++)
        step /= 10; /* less than a unit of the last digit */
    for (int i = 0; i < 100; i++) {
        if (exponent)
            snprintf(text, sizeof text, "%.*e", digits - 1, at);
        else
            snprintf(text, sizeof text, "%.*g", digits, at);
        if (!(strtod(text, NULL) < value))
            break;
        at += step;
    }
    memcpy(out, text, sizeof text);
}

void text_printable(char *out, size_t size, const char *in, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length && in[i] && n + 1 < size;) {
        size_t step = utf8_length((const unsigned char *)in + i, length - i);
        if (step && n + step < size) {
            memcpy(out + n, in + i, step);
            n += step;
        } else {
            out[n++] = '?';
        }
        i += step ? step : 1;
    }
    if (size)
        out[n] = '\0';
}

char *text_shown(const char *text)
{
    char *shown = xstrdup(text);
    text_printable(shown, strlen(text) + 1, text, strlen(text));
    return shown;
}
