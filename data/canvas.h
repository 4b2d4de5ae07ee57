/* data/canvas.h: what landscape.c draws with: colours, masks and smooth noise on a 64x64 canvas.
 * A field is one float a pixel, element [y,x] at y*LANDSCAPE_SIDE + x. Lengths are in pixels,
 * angles in radians, colours and masks in 0 .. 1. */
#pragma once
#include <stdbool.h>

#include "data/landscape.h"

typedef float field_t[LANDSCAPE_PIXELS];

typedef struct {
    float rgb[3];
} colour_t;

typedef struct {
    colour_t pixels[LANDSCAPE_PIXELS];
} canvas_t;

float canvas_uniform(rng_t *rng, float low, float high);
/* true with probability `p` */
bool canvas_chance(rng_t *rng, float p);

/* Good to 4e-6 within 80 radians, and the same bits everywhere: libm's differ between CPUs. */
float canvas_sine(float angle);
float canvas_cosine(float angle);

/* Each channel moved by up to `amount`, all three together by up to `amount` more. */
colour_t colour_vary(rng_t *rng, colour_t colour, float amount);
colour_t colour_mix(colour_t a, colour_t b, float part_of_b);

/* Adds smooth noise of about `cells` bumps across, within -amplitude .. amplitude. */
void field_add_noise(field_t field, rng_t *rng, int cells, float amplitude);
/* Adds noise of cells, 2 cells, 4 cells ... up to `finest`, each `roughness` times the one before.
 */
void field_add_fractal(field_t field, rng_t *rng, int cells, int finest, float amplitude,
                       float roughness);

/* A band along a curve, as a mask. Across the canvas along `angle`, `offset` from its middle, bent
 * by `bend` at the ends, with waves of `wave` height and `wavelength`. */
typedef struct {
    float angle, offset, width, bend, wave, wavelength, phase;
} band_t;
void field_band(field_t mask, const band_t *band);

/* A rectangle of full size width x height, turned by `angle`, as a mask. */
void field_rectangle(field_t mask, float x, float y, float width, float height, float angle);

void canvas_fill(canvas_t *canvas, colour_t colour);
/* Lays `colour` over the canvas where `mask` is, `strength` (0 .. 1) thick. */
void canvas_paint(canvas_t *canvas, const field_t mask, colour_t colour, float strength);
/* Multiplies every pixel by 1 + field. */
void canvas_shade(canvas_t *canvas, const field_t field);

/* Sun, haze and the sensor: a gain for each channel, a brightness gradient, a veil of haze, blur,
 * noise; then bytes.
 *   out pixels (LANDSCAPE_SIDE, LANDSCAPE_SIDE, 3) */
void canvas_expose(uint8_t *pixels, canvas_t *canvas, rng_t *rng);
