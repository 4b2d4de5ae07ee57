#include "quant/tally.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/calibrate.h"

enum { LANES = 16, CHUNK = 256 };

bool quant_tally_range(float *min, float *max, const float *x, size_t n)
{
    float low[LANES], high[LANES];
    int32_t bad[LANES] = {0};
    size_t i = 0;
    for (size_t k = 0; k < LANES; k++) {
        low[k] = *min;
        high[k] = *max;
    }
    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            low[k] = x[i + k] < low[k] ? x[i + k] : low[k];
            high[k] = x[i + k] > high[k] ? x[i + k] : high[k];
            bad[k] |= !(fabsf(x[i + k]) <= FLT_MAX);
        }
    }
    for (; i < n; i++) {
        low[0] = x[i] < low[0] ? x[i] : low[0];
        high[0] = x[i] > high[0] ? x[i] : high[0];
        bad[0] |= !(fabsf(x[i]) <= FLT_MAX);
    }
    for (size_t k = 0; k < LANES; k++) {
        *min = low[k] < *min ? low[k] : *min;
        *max = high[k] > *max ? high[k] : *max;
        bad[0] |= bad[k];
    }
    return !bad[0];
}

void quant_tally_bins(uint64_t *bins, const float *x, size_t n, float min, float max)
{
    const float range = max - min, scale = range > 0 ? (float)QUANT_BINS / range : 0;
    const float last = (float)QUANT_BINS - 1;
    uint32_t counts[2][QUANT_BINS] = {{0}}; /* two, so that equal neighbours do not wait */
    int32_t at[CHUNK];
    for (size_t i = 0; i < n; i += CHUNK) {
        const size_t count = n - i < CHUNK ? n - i : CHUNK;
        for (size_t k = 0; k < count; k++) {
            float t = (x[i + k] - min) * scale;
            t = t > 0 ? t : 0; /* NaN as well */
            at[k] = (int32_t)(t < last ? t : last);
        }
        for (size_t k = 0; k + 1 < count; k += 2) {
            counts[0][at[k]]++;
            counts[1][at[k + 1]]++;
        }
        if (count % 2)
            counts[0][at[count - 1]]++;
    }
    for (size_t b = 0; b < QUANT_BINS; b++)
        bins[b] += (uint64_t)counts[0][b] + counts[1][b];
}

double quant_tally_centre(size_t i, float min, float max)
{
    return (double)min + ((double)i + 0.5) * ((double)max - (double)min) / QUANT_BINS;
}

static const double fixed = 4294967296.0; /* 2^32 */

bool quant_tally_means(int64_t *sums, double *means, const float *x, size_t rows, size_t C,
                       float min, float max)
{
    const double range = (double)max - (double)min, unit = range > 0 ? fixed / range : 0;
    bool good = true;
    memset(means, 0, C * sizeof *means);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < C; c++)
            means[c] += (double)x[r * C + c];
    for (size_t c = 0; c < C; c++) {
        double mean = means[c] / (double)rows * unit;
        good &= isfinite(mean);
        mean = mean < fixed ? mean : fixed;
        sums[c] += (int64_t)rint(mean > -fixed ? mean : -fixed);
    }
    return good;
}

double quant_tally_mean(int64_t sum, uint64_t pictures, float min, float max)
{
    return (double)sum * (((double)max - (double)min) / fixed) / (double)pictures;
}
