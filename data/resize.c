#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/image.h"

/* One output pixel along one axis: the inputs first .. first+count-1 with these weights (sum 1). */
typedef struct {
    size_t first, count;
    float *weights; /* into the axis's block */
} tap_t;

typedef struct {
    tap_t *taps;    /* (out), owned */
    float *weights; /* owned */
} axis_t;

/* Shrinking: output o covers [o, o+1) * in/out; a weight is the covered length. */
static void area_tap(tap_t *tap, size_t o, size_t in, size_t out)
{
    double scale = (double)in / (double)out, from = (double)o * scale, to = from + scale;
    tap->first = (size_t)from;
    size_t end = (size_t)ceil(to);
    if (end > in)
        end = in;
    tap->count = end - tap->first;
    for (size_t i = 0; i < tap->count; i++) {
        double left = (double)(tap->first + i), right = left + 1.0;
        double covered = (right < to ? right : to) - (left > from ? left : from);
        tap->weights[i] = (float)(covered > 0.0 ? covered / scale : 0.0);
    }
}

/* Growing: linear between the two nearest centres. */
static void linear_tap(tap_t *tap, size_t o, size_t in, size_t out)
{
    double centre = ((double)o + 0.5) * (double)in / (double)out - 0.5;
    if (centre < 0.0)
        centre = 0.0;
    tap->first = (size_t)centre;
    double part = centre - (double)tap->first;
    tap->count = tap->first + 1 < in ? 2 : 1;
    tap->weights[0] = tap->count == 2 ? (float)(1.0 - part) : 1.0f;
    if (tap->count == 2)
        tap->weights[1] = (float)part;
}

static bool axis_init(axis_t *axis, size_t in, size_t out)
{
    size_t most = in / out + 3; /* taps an output can have */
    axis->taps = calloc(out, sizeof *axis->taps);
    axis->weights = calloc(out * most, sizeof *axis->weights);
    if (!axis->taps || !axis->weights)
        return false;
    for (size_t o = 0; o < out; o++) {
        axis->taps[o].weights = axis->weights + o * most;
        if (in > out)
            area_tap(&axis->taps[o], o, in, out);
        else
            linear_tap(&axis->taps[o], o, in, out);
    }
    return true;
}

static void axis_free(axis_t *axis)
{
    free(axis->taps);
    free(axis->weights);
}

/* (width,3) bytes to (size,3) floats. */
static void resize_row(float *out, const uint8_t *in, const axis_t *axis, size_t size)
{
    for (size_t x = 0; x < size; x++) {
        const tap_t *tap = &axis->taps[x];
        float sum[3] = {0.0f, 0.0f, 0.0f};
        for (size_t i = 0; i < tap->count; i++)
            for (size_t c = 0; c < 3; c++)
                sum[c] += tap->weights[i] * (float)in[3 * (tap->first + i) + c];
        memcpy(out + 3 * x, sum, sizeof sum);
    }
}

static uint8_t to_byte(float value)
{
    return value <= 0.0f ? 0 : value >= 254.5f ? 255 : (uint8_t)(value + 0.5f);
}

err_t image_resize(uint8_t *pixels, size_t size, const image_t *image)
{
    err_t err = ERR_OK;
    axis_t across = {0}, down = {0};
    float *rows = NULL, *sum = NULL;
    size_t height = image->height, width = image->width, row = size * 3;
    CHECK(size >= 1 && height >= 1 && width >= 1);
    if (height == size && width == size) {
        memcpy(pixels, image->pixels, size * size * 3);
        goto out;
    }
    rows = malloc(height * row * sizeof *rows);
    sum = malloc(row * sizeof *sum);
    if (!rows || !sum || !axis_init(&across, width, size) || !axis_init(&down, height, size))
        FAIL(ERR_MEMORY, "no memory to resize a picture of %zux%zu pixels", width, height);
    for (size_t y = 0; y < height; y++)
        resize_row(rows + y * row, image->pixels + y * width * 3, &across, size);
    for (size_t y = 0; y < size; y++) {
        const tap_t *tap = &down.taps[y];
        memset(sum, 0, row * sizeof *sum);
        for (size_t i = 0; i < tap->count; i++)
            for (size_t x = 0; x < row; x++)
                sum[x] += tap->weights[i] * rows[(tap->first + i) * row + x];
        for (size_t x = 0; x < row; x++)
            pixels[y * row + x] = to_byte(sum[x]);
    }
out:
    axis_free(&across);
    axis_free(&down);
    free(rows);
    free(sum);
    return err;
}
