/* quant/tally.h: what calibration keeps of a tensor's values: loops without memory or errors. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In-out min, max: made to hold all of x (n), which must be finite: false otherwise. */
bool quant_tally_range(float *min, float *max, const float *x, size_t n);

/* In-out bins (QUANT_BINS): one more for each x in its bin,
 *   i = floor((x - min) * f32(QUANT_BINS / f32(max - min))), what is outside in the first or the
 * last; all in bin 0 where max - min is 0. */
void quant_tally_bins(uint64_t *bins, const float *x, size_t n, float min, float max);
/* Where bin i lies: its centre. */
double quant_tally_centre(size_t i, float min, float max);

/* In-out sums (C): of each channel of x (rows,C) the mean in units of range / 2^32, where range is
 * max - min, rounded to nearest even, at most 2^32 either way; 0 where range is 0. False when a
 * mean is not finite. scratch means (C) */
bool quant_tally_means(int64_t *sums, double *means, const float *x, size_t rows, size_t C,
                       float min, float max);
/* A sum over `pictures` pictures as a number: the mean. */
double quant_tally_mean(int64_t sum, uint64_t pictures, float min, float max);
