/* data/source_kind.h: what every kind of source fills in. Only source*.c include this.
 *
 * A new kind of data set is a file with an open function, a data_source_kind_t and a line in the
 * table of source.c. */
#pragma once
#include "data/image.h"
#include "data/source.h"

typedef struct {
    /* Decodes picture i, at its own size. ERR_FORMAT or ERR_IO names the picture. */
    err_t (*decode)(const data_source_t *source, size_t i, image_t *image);
    void (*item_name)(const data_source_t *source, size_t i, char *out, size_t size);
    /* Frees `state`; NULL when there is none. */
    void (*close)(data_source_t *source);
} data_source_kind_t;

struct data_source_s {
    const data_source_kind_t *kind;
    void *state;        /* the kind's own */
    size_t count;       /* pictures */
    size_t train_count; /* the first ones that are the set's training part */
    size_t class_count;
    char **class_names; /* (class_count), owned */
    int32_t *labels;    /* (count), owned */
};

/* What follows "KIND:" in a SPEC, "~/" made the home folder, and the whole of it for messages. */
typedef struct {
    const char *whole;
    const char *rest;
    const char *const *classes; /* NULL: the source's own */
    size_t class_count;
} data_spec_t;

/* Each fills a zeroed source; on failure data_source_close frees what is there. */
err_t data_open_cifar10(data_source_t *source, const data_spec_t *spec);
err_t data_open_folder(data_source_t *source, const data_spec_t *spec);
err_t data_open_synthetic(data_source_t *source, const data_spec_t *spec);

/* Sets the source's class names: the list of the SPEC, or `own` where there is none.
 *   out map (own_count) which class of the source each of `own` is
 * ERR_CONFIG when one of `own` is not in the list. */
err_t data_source_set_classes(int32_t *map, data_source_t *source, const data_spec_t *spec,
                              const char *const *own, size_t own_count);
