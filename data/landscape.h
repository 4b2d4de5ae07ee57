/* data/landscape.h: land cover as seen from a satellite, drawn from random numbers.
 *
 * Ten kinds of scene, named and ordered as EuroSAT's classes (Helber et al. 2019). Each kind has
 * its own shapes and textures, but the ranges of their colours, scales and contrasts overlap (a
 * calm river under haze against a wide road, an orchard with faint rows against a field), and
 * light, haze and noise lie over all of them: a small CNN gets most, not all of them right. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

enum {
    LANDSCAPE_SIDE = 64,
    LANDSCAPE_PIXELS = LANDSCAPE_SIDE * LANDSCAPE_SIDE,
    LANDSCAPE_KINDS = 10
};

extern const char *const landscape_names[LANDSCAPE_KINDS];

/* Draws a scene of `kind` (0 .. LANDSCAPE_KINDS-1). The same state of `rng` gives the same bytes.
 *   out pixels (LANDSCAPE_SIDE, LANDSCAPE_SIDE, 3) */
void landscape_draw(uint8_t *pixels, size_t kind, rng_t *rng);
