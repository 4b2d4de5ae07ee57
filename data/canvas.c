#include "data/canvas.h"

#include <math.h>
#include <string.h>

#include "base/err.h"

enum { SIDE = LANDSCAPE_SIDE, CELLS_MAX = 64 };

float canvas_uniform(rng_t *rng, float low, float high)
{
    return low + (high - low) * rng_float(rng);
}

float canvas_sine(float angle)
{
    double turns = (double)angle / 6.283185307179586;
    turns -= floor(turns + 0.5); /* -1/2 .. 1/2, then by symmetry -1/4 .. 1/4 */
    if (turns > 0.25)
        turns = 0.5 - turns;
    else if (turns < -0.25)
        turns = -0.5 - turns;
    double x = turns * 6.283185307179586, x2 = x * x;
    double series = 1.0 - x2 / 110.0; /* Taylor to x^11, the next term is below 6e-8 */
    for (int n = 8; n >= 2; n -= 2)
        series = 1.0 - series * x2 / (double)(n * (n + 1));
    return (float)(x * series);
}

float canvas_cosine(float angle)
{
    return canvas_sine(angle + 1.57079633f);
}

bool canvas_chance(rng_t *rng, float p)
{
    return rng_float(rng) < p;
}

colour_t colour_vary(rng_t *rng, colour_t colour, float amount)
{
    float all = canvas_uniform(rng, -amount, amount);
    for (int c = 0; c < 3; c++)
        colour.rgb[c] += all + canvas_uniform(rng, -amount, amount);
    return colour;
}

colour_t colour_mix(colour_t a, colour_t b, float part_of_b)
{
    for (int c = 0; c < 3; c++)
        a.rgb[c] += (b.rgb[c] - a.rgb[c]) * part_of_b;
    return a;
}

static float smooth(float t)
{
    return t * t * (3.0f - 2.0f * t);
}

void field_add_noise(field_t field, rng_t *rng, int cells, float amplitude)
{
    float lattice[CELLS_MAX + 2][CELLS_MAX + 2];
    CHECK(cells >= 1 && cells <= CELLS_MAX);
    for (int i = 0; i < cells + 2; i++)
        for (int j = 0; j < cells + 2; j++)
            lattice[i][j] = canvas_uniform(rng, -amplitude, amplitude);
    float scale = (float)cells / (float)SIDE;
    /* A shift of its own for each noise, or all would have their bumps at the left border. */
    float dy = rng_float(rng), dx = rng_float(rng);
    for (int y = 0; y < SIDE; y++) {
        float v = (float)y * scale + dy;
        int i = (int)v;
        float a = smooth(v - (float)i);
        for (int x = 0; x < SIDE; x++) {
            float u = (float)x * scale + dx;
            int j = (int)u;
            float b = smooth(u - (float)j);
            float top = lattice[i][j] + (lattice[i][j + 1] - lattice[i][j]) * b;
            float low = lattice[i + 1][j] + (lattice[i + 1][j + 1] - lattice[i + 1][j]) * b;
            field[y * SIDE + x] += top + (low - top) * a;
        }
    }
}

void field_add_fractal(field_t field, rng_t *rng, int cells, int finest, float amplitude,
                       float roughness)
{
    for (; cells <= finest; cells *= 2, amplitude *= roughness)
        field_add_noise(field, rng, cells, amplitude);
}

/* 1 well inside an edge, 0 well outside, linear over the pixel it goes through. */
static float coverage(float inside)
{
    float part = inside + 0.5f;
    return part <= 0.0f ? 0.0f : part >= 1.0f ? 1.0f : part;
}

void field_band(field_t mask, const band_t *band)
{
    float cosine = canvas_cosine(band->angle), sine = canvas_sine(band->angle),
          half = (float)SIDE / 2.0f;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            float px = (float)x + 0.5f - half, py = (float)y + 0.5f - half;
            float along = px * cosine + py * sine, across = py * cosine - px * sine;
            float t = along / half;
            float middle = band->offset + band->bend * t * t;
            if (band->wave > 0.0f)
                middle +=
                    band->wave * canvas_sine(6.2831853f * along / band->wavelength + band->phase);
            mask[y * SIDE + x] = coverage(band->width / 2.0f - fabsf(across - middle));
        }
}

void field_rectangle(field_t mask, float x, float y, float width, float height, float angle)
{
    float cosine = canvas_cosine(angle), sine = canvas_sine(angle);
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            float px = (float)j + 0.5f - x, py = (float)i + 0.5f - y;
            float u = fabsf(px * cosine + py * sine), v = fabsf(py * cosine - px * sine);
            mask[i * SIDE + j] = coverage(width / 2.0f - u) * coverage(height / 2.0f - v);
        }
}

void canvas_fill(canvas_t *canvas, colour_t colour)
{
    for (int i = 0; i < LANDSCAPE_PIXELS; i++)
        canvas->pixels[i] = colour;
}

void canvas_paint(canvas_t *canvas, const field_t mask, colour_t colour, float strength)
{
    for (int i = 0; i < LANDSCAPE_PIXELS; i++)
        if (mask[i] > 0.0f)
            canvas->pixels[i] = colour_mix(canvas->pixels[i], colour, mask[i] * strength);
}

void canvas_shade(canvas_t *canvas, const field_t field)
{
    for (int i = 0; i < LANDSCAPE_PIXELS; i++)
        for (int c = 0; c < 3; c++)
            canvas->pixels[i].rgb[c] *= 1.0f + field[i];
}

/* A 3x3 binomial blur, blended in by `amount`; borders repeat. */
static void blur(canvas_t *canvas, float amount)
{
    static const float weights[3] = {0.25f, 0.5f, 0.25f};
    canvas_t before = *canvas;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            colour_t sum = {{0.0f, 0.0f, 0.0f}};
            for (int dy = -1; dy <= 1; dy++)
                for (int dx = -1; dx <= 1; dx++) {
                    int sy = y + dy < 0 ? 0 : y + dy >= SIDE ? SIDE - 1 : y + dy;
                    int sx = x + dx < 0 ? 0 : x + dx >= SIDE ? SIDE - 1 : x + dx;
                    for (int c = 0; c < 3; c++)
                        sum.rgb[c] += weights[dy + 1] * weights[dx + 1] *
                                      before.pixels[sy * SIDE + sx].rgb[c];
                }
            colour_t *pixel = &canvas->pixels[y * SIDE + x];
            *pixel = colour_mix(*pixel, sum, amount);
        }
}

void canvas_expose(uint8_t *pixels, canvas_t *canvas, rng_t *rng)
{
    field_t veil = {0};
    colour_t haze = colour_vary(rng, (colour_t){{0.52f, 0.56f, 0.62f}}, 0.05f);
    float gains[3], brightness = canvas_uniform(rng, 0.84f, 1.14f);
    for (int c = 0; c < 3; c++)
        gains[c] = brightness * canvas_uniform(rng, 0.95f, 1.05f);
    float thickness = canvas_uniform(rng, 0.0f, 0.28f), grain = canvas_uniform(rng, 0.005f, 0.03f);
    float slope_x = canvas_uniform(rng, -0.2f, 0.2f), slope_y = canvas_uniform(rng, -0.2f, 0.2f);
    field_add_noise(veil, rng, 2, 0.2f);
    blur(canvas, canvas_uniform(rng, 0.2f, 1.0f));
    for (int i = 0; i < LANDSCAPE_PIXELS; i++) {
        float x = (float)(i % SIDE) / (float)SIDE - 0.5f,
              y = (float)(i / SIDE) / (float)SIDE - 0.5f;
        float light = 1.0f + slope_x * x + slope_y * y;
        colour_t pixel = colour_mix(canvas->pixels[i], haze, thickness * (0.8f + veil[i]));
        for (int c = 0; c < 3; c++) {
            float noise = rng_float(rng);
            noise = grain * (noise + rng_float(rng) - 1.0f) * 2.0f;
            float value = (pixel.rgb[c] * gains[c] * light + noise) * 255.0f;
            pixels[3 * i + c] = value <= 0.0f ? 0 : value >= 255.0f ? 255 : (uint8_t)value;
        }
    }
}
