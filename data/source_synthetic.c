/* synthetic:SEED[:COUNT]: picture i is a scene of class i % 10, drawn from (SEED, i) alone when it
 * is asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "data/landscape.h"
#include "data/source_kind.h"

enum { COUNT_MAX = 10000000 };

_Static_assert((int)LANDSCAPE_KINDS == (int)DATA_SYNTHETIC_CLASSES, "one class a kind of scene");

typedef struct {
    uint64_t seed;
} synthetic_t;

static void synthetic_close(data_source_t *source)
{
    free(source->state);
}

static void synthetic_item_name(const data_source_t *source, size_t i, char *out, size_t size)
{
    (void)source;
    snprintf(out, size, "synthetic[%zu]", i);
}

static err_t synthetic_decode(const data_source_t *source, size_t i, image_t *image)
{
    err_t err = ERR_OK;
    const synthetic_t *synthetic = source->state;
    rng_t rng;
    TRY(image_reserve(image, LANDSCAPE_SIDE, LANDSCAPE_SIDE));
    rng_init(&rng, synthetic->seed, RNG_STREAM_SYNTHETIC, i, 0);
    landscape_draw(image->pixels, i % LANDSCAPE_KINDS, &rng);
out:
    return err;
}

static const data_source_kind_t kind = {synthetic_decode, synthetic_item_name, synthetic_close};

err_t data_open_synthetic(data_source_t *source, const data_spec_t *spec)
{
    err_t err = ERR_OK;
    int32_t map[LANDSCAPE_KINDS];
    uint64_t count = DATA_SYNTHETIC_COUNT;
    synthetic_t *synthetic = xcalloc(1, sizeof *synthetic);
    char *seed = xstrdup(spec->rest), *colon = strchr(seed, ':');
    source->kind = &kind;
    source->state = synthetic;
    if (colon)
        *colon = '\0';
    if (!text_to_u64(&synthetic->seed, seed))
        FAIL(ERR_CONFIG, "%s: SEED must be a whole number from 0 on, as in synthetic:1",
             spec->whole);
    if (colon && (!text_to_u64(&count, colon + 1) || count < 1 || count > COUNT_MAX))
        FAIL(ERR_CONFIG, "%s: COUNT must be 1 to %d, as in synthetic:1:2500", spec->whole,
             COUNT_MAX);
    TRY(data_source_set_classes(map, source, spec, landscape_names, LANDSCAPE_KINDS));
    source->labels = xcalloc(count, sizeof *source->labels);
    for (size_t i = 0; i < count; i++)
        source->labels[i] = map[i % LANDSCAPE_KINDS];
    source->count = source->train_count = (size_t)count;
out:
    free(seed);
    return err;
}
