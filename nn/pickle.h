/* nn/pickle.h: what of Python's pickle a state_dict needs: 33 opcodes of protocol 2, and an allow
 * list of globals. The machine builds values in pools and never calls anything: a global outside
 * the list ends it with its name. Nothing recurses, so nesting costs no stack; every pool is
 * bounded; a value is as old as its opcode, so `a list that holds itself` costs nothing either.
 * Source: Python's pickletools.py, torch/serialization.py. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "nn/safetensors.h"

enum {
    PICKLE_BYTES_MAX = 1 << 24,  /* a MobileNetV2's takes 60,000 */
    PICKLE_VALUES_MAX = 1 << 20, /* values, links, stack, memo: each */
    PICKLE_TENSORS_MAX = 65536
};

typedef enum {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_REAL,
    PICKLE_TEXT,
    PICKLE_LIST,
    PICKLE_TUPLE,
    PICKLE_DICT,   /* dict and OrderedDict */
    PICKLE_GLOBAL, /* one of the allow list, not called */
    PICKLE_STORAGE,
    PICKLE_TENSOR,
    PICKLE_OTHER /* read over: byte strings, integers of more than 64 bits */
} pickle_kind_t;

/* A view of a storage, checked: every element that it reaches lies within `elements`. */
typedef struct {
    const char *key; /* of the storage, "0": entry data/0; not terminated */
    size_t key_length;
    safetensors_dtype_t dtype;
    size_t elements; /* of the storage */
    size_t offset, rank, shape[SAFETENSORS_RANK_MAX], stride[SAFETENSORS_RANK_MAX]; /* elements */
    size_t count;                                                                   /* of the view */
} pickle_tensor_t;

typedef struct {
    pickle_kind_t kind;
    union { /* the largest first: {.kind = ...} makes the whole zero */
        struct {
            const char *text; /* TEXT: into the pickle's bytes, not terminated */
            size_t length;
        };
        int64_t integer; /* BOOL, INT; GLOBAL: index into the allow list */
        double real;
        struct {
            uint32_t first, last, count; /* LIST, TUPLE, DICT: links */
        };
        uint32_t tensor; /* STORAGE, TENSOR: index of a pickle_tensor_t */
    };
} pickle_value_t;

typedef struct pickle_s pickle_t;

/* Runs the pickle. `name` stands in messages; the bytes must outlive the handle. ERR_FORMAT, naming
 * the byte. */
err_t pickle_parse(pickle_t **pickle, const void *bytes, size_t size, const char *name);
void pickle_free(pickle_t **pickle);
const pickle_value_t *pickle_root(const pickle_t *pickle);
const pickle_tensor_t *pickle_tensor(const pickle_t *pickle, const pickle_value_t *value);

/* Walks a container: *at is 0 ahead of the first. `key` is NULL for what is no DICT. False at the
 * end. */
bool pickle_next(const pickle_value_t **key, const pickle_value_t **value, uint32_t *at,
                 const pickle_t *pickle, const pickle_value_t *container);
/* True when the value is this text. */
bool pickle_is_text(const pickle_value_t *value, const char *text);
