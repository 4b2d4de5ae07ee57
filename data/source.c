#include "data/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "data/source_kind.h"

static const struct {
    const char *name;
    err_t (*open)(data_source_t *source, const data_spec_t *spec);
} kinds[] = {
    {"cifar10", data_open_cifar10},
    {"folder", data_open_folder},
    {"synthetic", data_open_synthetic},
};

static err_t check_class_list(const char *const *classes, size_t count)
{
    err_t err = ERR_OK;
    if (count > DATA_CLASSES_MAX)
        FAIL(ERR_CONFIG, "the class list has %zu names, at most %d are possible", count,
             DATA_CLASSES_MAX);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (!strcmp(classes[i], classes[j]))
                FAIL(ERR_CONFIG, "the class list names %s twice: keep one", classes[i]);
out:
    return err;
}

err_t data_source_open(data_source_t **source, const char *spec, const char *const *classes,
                       size_t class_count)
{
    err_t err = ERR_OK;
    char *rest = NULL;
    *source = NULL;
    TRY(check_class_list(classes, class_count));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t length = strlen(kinds[i].name);
        if (strncmp(spec, kinds[i].name, length) || spec[length] != ':')
            continue;
        rest = file_expand_home(spec + length + 1);
        data_spec_t parsed = {.whole = spec,
                              .rest = rest,
                              .classes = class_count ? classes : NULL,
                              .class_count = class_count};
        *source = xcalloc(1, sizeof **source);
        TRY(kinds[i].open(*source, &parsed));
        goto out;
    }
    FAIL(ERR_CONFIG,
         "%s: not a data SPEC: write cifar10:DIR[:train|test], folder:DIR or "
         "synthetic:SEED[:COUNT]",
         spec);
out:
    free(rest);
    if (err)
        data_source_close(source);
    return err;
}

/* Where a SPEC takes pictures from. */
typedef struct {
    char *place;      /* folder or seed, owned */
    bool synthetic;   /* place is a seed */
    bool train, test; /* parts that it has */
} origin_t;

/* Cuts `ending` off the place. */
static bool cut_off(origin_t *origin, const char *ending)
{
    const size_t whole = strlen(origin->place), part = strlen(ending);
    if (whole <= part || strcmp(origin->place + whole - part, ending) != 0)
        return false;
    origin->place[whole - part] = '\0';
    return true;
}

static origin_t origin_of(const char *spec)
{
    const char *colon = strchr(spec, ':');
    origin_t origin = {
        .place = file_expand_home(colon ? colon + 1 : ""), .train = true, .test = true};
    origin.synthetic = !strncmp(spec, "synthetic:", 10);
    if (origin.synthetic)
        origin.place[strcspn(origin.place, ":")] = '\0';
    else if (!strncmp(spec, "cifar10:", 8) && cut_off(&origin, ":train"))
        origin.test = false;
    else if (!strncmp(spec, "cifar10:", 8) && cut_off(&origin, ":test"))
        origin.train = false;
    return origin;
}

bool data_source_overlap(const char *spec, const char *other)
{
    origin_t a = origin_of(spec), b = origin_of(other);
    uint64_t seed, same;
    bool overlap = (a.train && b.train) || (a.test && b.test);
    if (a.synthetic && b.synthetic)
        overlap = text_to_u64(&seed, a.place) && text_to_u64(&same, b.place) && seed == same;
    else
        overlap = overlap && !a.synthetic && !b.synthetic && file_same(a.place, b.place);
    free(a.place);
    free(b.place);
    return overlap;
}

void data_source_close(data_source_t **source)
{
    data_source_t *s = *source;
    if (!s)
        return;
    if (s->kind && s->kind->close)
        s->kind->close(s);
    for (size_t i = 0; i < s->class_count; i++)
        free(s->class_names[i]);
    free(s->class_names);
    free(s->labels);
    free(s);
    *source = NULL;
}

/* "AnnualCrop, Forest, River", cut short when it is long. */
static void join_names(char *out, size_t size, const char *const *names, size_t count)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        if (used + strlen(names[i]) + 8 > size) {
            snprintf(out + used, size - used, ", ...");
            return;
        }
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", names[i]);
    }
}

err_t data_source_set_classes(int32_t *map, data_source_t *source, const data_spec_t *spec,
                              const char *const *own, size_t own_count)
{
    err_t err = ERR_OK;
    const char *const *names = spec->classes ? spec->classes : own;
    size_t count = spec->classes ? spec->class_count : own_count;
    source->class_names = xcalloc(count, sizeof *source->class_names);
    for (; source->class_count < count; source->class_count++)
        source->class_names[source->class_count] = xstrdup(names[source->class_count]);
    for (size_t i = 0; i < own_count; i++) {
        map[i] = -1;
        for (size_t j = 0; j < count && map[i] < 0; j++)
            if (!strcmp(own[i], names[j]))
                map[i] = (int32_t)j;
        if (map[i] < 0) {
            char list[512];
            join_names(list, sizeof list, names, count);
            FAIL(ERR_CONFIG,
                 "%s: class %s is not in the class list (%s): add it to the list or remove its "
                 "pictures",
                 spec->whole, own[i], list);
        }
    }
out:
    return err;
}

size_t data_source_count(const data_source_t *source)
{
    return source->count;
}

size_t data_source_class_count(const data_source_t *source)
{
    return source->class_count;
}

const char *const *data_source_class_names(const data_source_t *source)
{
    return (const char *const *)source->class_names;
}

const int32_t *data_source_labels(const data_source_t *source)
{
    return source->labels;
}

void data_source_item_name(const data_source_t *source, size_t i, char *out, size_t size)
{
    source->kind->item_name(source, i, out, size);
}

size_t data_source_train_count(const data_source_t *source)
{
    return source->train_count;
}

/* The message of a picture that stops us says what to do about it. */
static err_t stop_on_bad(err_t code)
{
    char *message = xstrdup(err_message());
    err_set(code, "%s: replace or remove it", message);
    free(message);
    return code;
}

err_t data_source_load(data_set_t *set, size_t *skipped, const data_source_t *source,
                       const uint32_t *indices, size_t count, size_t size, data_bad_image_t policy,
                       const volatile bool *interrupted)
{
    err_t err = ERR_OK;
    image_t image = {0};
    size_t bytes = size * size * DATA_CHANNELS;
    CHECK(size >= 1 && size <= IMAGE_SIDE_MAX);
    *set = (data_set_t){.height = size, .width = size, .class_count = source->class_count};
    *skipped = 0;
    set->pixels = count <= SIZE_MAX / bytes ? malloc(count * bytes + 1) : NULL;
    set->labels = calloc(count + 1, sizeof *set->labels);
    if (!set->pixels || !set->labels)
        FAIL(ERR_MEMORY, "no memory for %zu pictures of %zux%zu pixels (%.0f MB)", count, size,
             size, (double)count * (double)bytes / 1e6);
    for (size_t i = 0; i < count; i++) {
        CHECK(indices[i] < source->count);
        if (interrupted && *interrupted)
            FAIL(ERR_REFUSED, "interrupted");
        err = source->kind->decode(source, indices[i], &image);
        if (!err)
            TRY(image_resize(set->pixels + set->count * bytes, size, &image));
        if (!err) {
            set->labels[set->count++] = source->labels[indices[i]];
        } else if (policy == DATA_BAD_SKIP && (err == ERR_FORMAT || err == ERR_IO)) {
            log_warn("picture_skipped", "%s", err_message());
            err = ERR_OK;
            ++*skipped;
        } else {
            TRY(err == ERR_MEMORY ? err : stop_on_bad(err));
        }
    }
    if (count > 0 && set->count == 0) {
        char *last = xstrdup(err_message());
        err_set(ERR_FORMAT, "all %zu pictures are bad and were left out; the last: %s", count,
                last);
        free(last);
        TRY(ERR_FORMAT);
    }
out:
    image_free(&image);
    if (err)
        data_set_free(set);
    return err;
}

void data_set_free(data_set_t *set)
{
    free(set->pixels);
    free(set->labels);
    *set = (data_set_t){0};
}

err_t data_load_image(uint8_t *pixels, const char *path, size_t size)
{
    err_t err = ERR_OK;
    image_t image = {0};
    TRY(image_read(&image, path));
    TRY(image_resize(pixels, size, &image));
out:
    image_free(&image);
    return err;
}
