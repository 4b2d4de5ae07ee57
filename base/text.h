/* base/text.h: small helpers on strings. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whole-string numbers: false when there is anything else in `text`, or out of range. */
bool text_to_u64(uint64_t *value, const char *text);
bool text_to_i64(int64_t *value, const char *text);
bool text_to_double(double *value, const char *text);

/* The one of `count` names nearest to `text` by edit distance, NULL if none is near (more than two
 * edits and more than a third of its length). For "did you mean". */
const char *text_nearest(const char *text, const char *const *names, size_t count);

/* "1.74 MB", "312 B": decimal units, three significant digits. */
void text_bytes(char out[24], double bytes);

/* An upper bound with `digits` (1 to 9) significant digits that is still one: never below `value`,
 * as rounding to nearest may be. Like %g, or like %e with `exponent`. */
void text_bound(char out[24], double value, int digits, bool exponent);

/* What a peer, file or user gave, made fit for one line on a terminal: control bytes and invalid
 * UTF-8 become '?', at most `size` - 1 bytes. */
void text_printable(char *out, size_t size, const char *in, size_t length);
/* The whole of `text` so; malloc'd. */
char *text_shown(const char *text);
