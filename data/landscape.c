#include "data/landscape.h"

#include "base/err.h"
#include "data/canvas.h"

/* C leaves the order of arguments and initialisers to the compiler: no two draws stand in one call
 * or one initialiser, or a seed would mean other pictures with another compiler. */

enum { SIDE = LANDSCAPE_SIDE };

static const float pi = 3.14159265f;

static const colour_t soil = {{0.50f, 0.40f, 0.30f}}, straw = {{0.62f, 0.56f, 0.38f}},
                      crop = {{0.34f, 0.44f, 0.24f}}, grass = {{0.36f, 0.46f, 0.26f}},
                      scrub = {{0.38f, 0.38f, 0.26f}}, wood = {{0.16f, 0.26f, 0.17f}},
                      water = {{0.13f, 0.22f, 0.32f}}, silt = {{0.30f, 0.36f, 0.36f}},
                      asphalt = {{0.44f, 0.44f, 0.45f}}, concrete = {{0.60f, 0.59f, 0.57f}},
                      tile = {{0.55f, 0.36f, 0.29f}}, slate = {{0.38f, 0.39f, 0.42f}},
                      white = {{0.88f, 0.88f, 0.87f}};

static float any_angle(rng_t *rng)
{
    return canvas_uniform(rng, 0.0f, pi);
}

/* Ground of one colour with a fractal texture from `cells` bumps down to single pixels, its
 * contrast within `low` .. `high`. */
static void draw_ground(canvas_t *canvas, rng_t *rng, colour_t colour, int cells, float low,
                        float high)
{
    field_t texture = {0};
    float contrast = canvas_uniform(rng, low, high);
    canvas_fill(canvas, colour);
    field_add_fractal(texture, rng, cells, 32, contrast, 0.65f);
    canvas_shade(canvas, texture);
}

/* Multiplies in rows: stripes `period` pixels apart; with `gaps`, also interrupted along the row as
 * trees in a plantation are. */
static void draw_rows(canvas_t *canvas, const field_t mask, float angle, float period,
                      float strength, bool gaps)
{
    field_t rows;
    float cosine = canvas_cosine(angle), sine = canvas_sine(angle), k = 2.0f * pi / period;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            float along = (float)x * cosine + (float)y * sine;
            float across = (float)y * cosine - (float)x * sine;
            float value = canvas_sine(across * k);
            if (gaps)
                value = 0.65f * (value + canvas_sine(along * k));
            rows[y * SIDE + x] = strength * value * mask[y * SIDE + x];
        }
    canvas_shade(canvas, rows);
}

/* What a parcel of farmland grows. */
static colour_t draw_crop_colour(rng_t *rng, float green)
{
    colour_t bare = colour_mix(soil, straw, rng_float(rng));
    return colour_vary(
        rng, canvas_chance(rng, green) ? colour_mix(crop, bare, 0.25f * rng_float(rng)) : bare,
        0.05f);
}

/* Parcels along one direction: strips of random width, some cut across. */
static void draw_parcels(canvas_t *canvas, rng_t *rng, float green, float row_strength)
{
    float angle = any_angle(rng), from = -46.0f;
    field_t mask;
    while (from < 46.0f) {
        float width = canvas_uniform(rng, 12.0f, 44.0f), cut = canvas_uniform(rng, -40.0f, 40.0f);
        for (int part = 0; part < 2; part++) {
            float low = part ? cut : -60.0f, high = part ? 60.0f : cut;
            float u = (low + high) / 2.0f, v = from + width / 2.0f;
            float x = 32.0f + u * canvas_cosine(angle) - v * canvas_sine(angle);
            float y = 32.0f + u * canvas_sine(angle) + v * canvas_cosine(angle);
            field_rectangle(mask, x, y, high - low, width - 0.5f, angle);
            canvas_paint(canvas, mask, draw_crop_colour(rng, green), 0.9f);
            float turn = canvas_chance(rng, 0.3f) ? pi / 2.0f : 0.0f;
            float period = canvas_uniform(rng, 2.5f, 6.0f);
            draw_rows(canvas, mask, angle + turn, period, row_strength * rng_float(rng), false);
        }
        from += width;
    }
}

/* Round dabs of `colour`: bushes, crowns of trees. */
static void draw_dabs(canvas_t *canvas, rng_t *rng, int count, float size, colour_t colour)
{
    field_t mask;
    for (int i = 0; i < count; i++) {
        float x = canvas_uniform(rng, 0.0f, (float)SIDE),
              y = canvas_uniform(rng, 0.0f, (float)SIDE);
        float side = size * canvas_uniform(rng, 0.5f, 1.4f);
        float other_side = side * canvas_uniform(rng, 0.6f, 1.0f);
        field_rectangle(mask, x, y, side, other_side, any_angle(rng));
        canvas_paint(canvas, mask, colour_vary(rng, colour, 0.03f), 0.85f);
    }
}

/* Open land that roads and rivers cross: farmland, meadow, scrub or wood. */
static void draw_country(canvas_t *canvas, rng_t *rng)
{
    static const colour_t *const covers[] = {&grass, &scrub, &wood, &soil, &crop};
    colour_t cover = *covers[rng_below(rng, 5)];
    draw_ground(canvas, rng, colour_vary(rng, cover, 0.04f), 4, 0.05f, 0.16f);
    if (canvas_chance(rng, 0.5f))
        draw_parcels(canvas, rng, 0.6f, 0.1f);
    if (canvas_chance(rng, 0.5f))
        draw_dabs(canvas, rng, (int)rng_below(rng, 14), 6.0f, wood);
}

/* A band in any direction, off the middle by up to `offset`, bent by up to `bend`. */
static band_t draw_curve(rng_t *rng, float offset, float width_low, float width_high, float bend)
{
    band_t band = {.angle = any_angle(rng)};
    band.offset = canvas_uniform(rng, -offset, offset);
    band.width = canvas_uniform(rng, width_low, width_high);
    band.bend = canvas_uniform(rng, -bend, bend);
    return band;
}

static void draw_band(canvas_t *canvas, const band_t *band, colour_t colour, float strength)
{
    field_t mask;
    field_band(mask, band);
    canvas_paint(canvas, mask, colour, strength);
}

static void annual_crop(canvas_t *canvas, rng_t *rng)
{
    draw_ground(canvas, rng, colour_vary(rng, soil, 0.05f), 4, 0.04f, 0.12f);
    draw_parcels(canvas, rng, 0.45f, canvas_uniform(rng, 0.0f, 0.14f));
}

static void forest(canvas_t *canvas, rng_t *rng)
{
    colour_t colour = colour_vary(rng, colour_mix(wood, grass, 0.35f * rng_float(rng)), 0.03f);
    draw_ground(canvas, rng, colour, 8, 0.06f, 0.17f);
    if (canvas_chance(rng, 0.3f))
        draw_dabs(canvas, rng, 1 + (int)rng_below(rng, 3), 12.0f, grass);
}

static void herbaceous(canvas_t *canvas, rng_t *rng)
{
    colour_t colour = colour_vary(rng, colour_mix(scrub, grass, 0.65f * rng_float(rng)), 0.04f);
    draw_ground(canvas, rng, colour, 4, 0.12f, 0.26f);
    draw_dabs(canvas, rng, (int)rng_below(rng, 26), 4.0f, colour_mix(wood, scrub, 0.4f));
    if (canvas_chance(rng, 0.25f)) {
        band_t path = draw_curve(rng, 20.0f, 1.2f, 1.2f, 10.0f);
        draw_band(canvas, &path, straw, 0.6f);
    }
}

static void highway(canvas_t *canvas, rng_t *rng)
{
    draw_country(canvas, rng);
    band_t road = draw_curve(rng, 14.0f, 3.2f, 8.5f, 14.0f);
    band_t verge = road, median = road;
    verge.width += canvas_uniform(rng, 0.5f, 3.0f);
    median.width = 0.9f;
    draw_band(canvas, &verge, colour_vary(rng, straw, 0.05f), 0.6f);
    draw_band(canvas, &road,
              colour_vary(rng, colour_mix(asphalt, silt, 0.25f * rng_float(rng)), 0.05f), 0.9f);
    if (road.width > 4.5f)
        draw_band(canvas, &median, colour_vary(rng, grass, 0.1f), 0.5f);
    if (canvas_chance(rng, 0.35f)) {
        road.angle += canvas_uniform(rng, 0.6f, 2.4f);
        road.width = canvas_uniform(rng, 1.5f, 3.0f);
        draw_band(canvas, &road, colour_vary(rng, asphalt, 0.05f), 0.8f);
    }
}

static void industrial(canvas_t *canvas, rng_t *rng)
{
    field_t mask;
    draw_ground(canvas, rng, colour_vary(rng, colour_mix(asphalt, concrete, rng_float(rng)), 0.05f),
                8, 0.04f, 0.12f);
    if (canvas_chance(rng, 0.5f))
        draw_dabs(canvas, rng, 2 + (int)rng_below(rng, 6), 9.0f, grass);
    float angle = any_angle(rng);
    int halls = 3 + (int)rng_below(rng, 9);
    for (int i = 0; i < halls; i++) {
        static const colour_t *const roofs[] = {&white, &concrete, &slate, &tile};
        float x = canvas_uniform(rng, 0.0f, (float)SIDE),
              y = canvas_uniform(rng, 0.0f, (float)SIDE);
        float width = canvas_uniform(rng, 9.0f, 28.0f), height = canvas_uniform(rng, 7.0f, 18.0f);
        colour_t roof = colour_vary(rng, *roofs[rng_below(rng, 4)], 0.06f);
        field_rectangle(mask, x + 1.2f, y + 1.2f, width, height, angle);
        canvas_paint(canvas, mask, (colour_t){{0.12f, 0.12f, 0.14f}}, 0.7f);
        field_rectangle(mask, x, y, width, height, angle);
        canvas_paint(canvas, mask, roof, 0.95f);
    }
}

static void pasture(canvas_t *canvas, rng_t *rng)
{
    colour_t colour = colour_vary(rng, colour_mix(grass, scrub, 0.25f * rng_float(rng)), 0.05f);
    draw_ground(canvas, rng, colour, 2, 0.03f, 0.11f);
    int hedges = (int)rng_below(rng, 4);
    for (int i = 0; i < hedges; i++) {
        band_t hedge = draw_curve(rng, 26.0f, 1.0f, 3.0f, 6.0f);
        draw_band(canvas, &hedge, colour_vary(rng, wood, 0.03f), 0.8f);
    }
    draw_dabs(canvas, rng, (int)rng_below(rng, 8), 4.0f, wood);
}

static void permanent_crop(canvas_t *canvas, rng_t *rng)
{
    field_t all;
    for (int i = 0; i < LANDSCAPE_PIXELS; i++)
        all[i] = 1.0f;
    colour_t colour =
        colour_vary(rng, colour_mix(soil, crop, canvas_uniform(rng, 0.2f, 0.9f)), 0.05f);
    draw_ground(canvas, rng, colour, 4, 0.05f, 0.14f);
    if (canvas_chance(rng, 0.4f))
        draw_parcels(canvas, rng, 0.6f, 0.1f);
    float angle = any_angle(rng), period = canvas_uniform(rng, 3.0f, 7.0f);
    float strength = canvas_uniform(rng, 0.22f, 0.42f);
    draw_rows(canvas, all, angle, period, strength, canvas_chance(rng, 0.5f));
}

static void residential(canvas_t *canvas, rng_t *rng)
{
    field_t mask;
    static const colour_t *const roofs[] = {&tile, &slate, &concrete, &tile};
    draw_ground(canvas, rng, colour_vary(rng, colour_mix(grass, asphalt, rng_float(rng)), 0.05f), 8,
                0.08f, 0.2f);
    float angle = any_angle(rng), lot = canvas_uniform(rng, 5.0f, 8.5f);
    float cosine = canvas_cosine(angle), sine = canvas_sine(angle);
    for (float v = -48.0f; v < 48.0f; v += 2.0f * lot)
        draw_band(canvas, &(band_t){.angle = angle, .offset = v, .width = 2.0f},
                  colour_vary(rng, asphalt, 0.05f), 0.8f);
    for (float v = -48.0f + lot; v < 48.0f; v += lot)
        for (float u = -48.0f; u < 48.0f; u += lot) {
            float size = lot * canvas_uniform(rng, 0.35f, 0.75f);
            float x = 32.0f + u * cosine - v * sine + canvas_uniform(rng, -1.5f, 1.5f);
            float y = 32.0f + u * sine + v * cosine + canvas_uniform(rng, -1.5f, 1.5f);
            float depth = size * canvas_uniform(rng, 0.6f, 1.0f);
            colour_t roof = colour_vary(rng, *roofs[rng_below(rng, 4)], 0.08f);
            if (canvas_chance(rng, 0.2f))
                continue;
            field_rectangle(mask, x, y, size, depth, angle);
            canvas_paint(canvas, mask, roof, 0.9f);
        }
    draw_dabs(canvas, rng, (int)rng_below(rng, 20), 4.0f, wood);
}

static void river(canvas_t *canvas, rng_t *rng)
{
    draw_country(canvas, rng);
    band_t stream = draw_curve(rng, 14.0f, 4.0f, 18.0f, 18.0f);
    stream.wave = canvas_uniform(rng, 0.0f, 6.0f);
    stream.wavelength = canvas_uniform(rng, 30.0f, 80.0f);
    stream.phase = canvas_uniform(rng, 0.0f, 2.0f * pi);
    band_t bank = stream;
    bank.width += canvas_uniform(rng, 0.5f, 4.0f);
    draw_band(canvas, &bank, colour_vary(rng, canvas_chance(rng, 0.5f) ? straw : wood, 0.05f),
              0.6f);
    draw_band(canvas, &stream, colour_vary(rng, colour_mix(water, silt, rng_float(rng)), 0.05f),
              0.92f);
}

static void sea_lake(canvas_t *canvas, rng_t *rng)
{
    colour_t colour = colour_vary(rng, colour_mix(water, silt, 0.6f * rng_float(rng)), 0.04f);
    draw_ground(canvas, rng, colour, 2, 0.02f, 0.10f);
    if (canvas_chance(rng, 0.3f)) {
        band_t shore = draw_curve(rng, 0.0f, 20.0f, 50.0f, 12.0f);
        shore.offset = 40.0f;
        shore.wave = 3.0f;
        shore.wavelength = 40.0f;
        shore.phase = canvas_uniform(rng, 0.0f, 2.0f * pi);
        colour_t land = canvas_chance(rng, 0.5f) ? scrub : wood;
        draw_band(canvas, &shore, colour_vary(rng, land, 0.05f), 0.9f);
    }
}

const char *const landscape_names[LANDSCAPE_KINDS] = {
    "AnnualCrop", "Forest",        "HerbaceousVegetation", "Highway", "Industrial",
    "Pasture",    "PermanentCrop", "Residential",          "River",   "SeaLake",
};

static void (*const scenes[LANDSCAPE_KINDS])(canvas_t *canvas, rng_t *rng) = {
    annual_crop, forest,         herbaceous,  highway, industrial,
    pasture,     permanent_crop, residential, river,   sea_lake,
};

void landscape_draw(uint8_t *pixels, size_t kind, rng_t *rng)
{
    canvas_t canvas;
    CHECK(kind < LANDSCAPE_KINDS);
    scenes[kind](&canvas, rng);
    canvas_expose(pixels, &canvas, rng);
}
