/* nn/pickle_machine.h: the inside of nn/pickle.h, for its three files: pickle.c reads the opcodes,
 * pickle_values.c holds what they make, pickle_torch.c says what PyTorch's names become in place of
 * being called. */
#pragma once
#include "nn/pickle.h"

enum { PICKLE_NIL = 0, PICKLE_GLOBAL_MAX = 128 };

typedef struct {
    uint32_t key, value, next; /* values; next link, PICKLE_NIL at the end */
} pickle_link_t;

struct pickle_s {
    const char *name;
    const unsigned char *bytes;
    size_t size, at, opcode; /* opcode: where the one in work begins */
    pickle_value_t *values;  /* [0] is None */
    size_t value_count, value_capacity;
    pickle_link_t *links; /* [0] is not used */
    size_t link_count, link_capacity;
    pickle_tensor_t *tensors;
    size_t tensor_count, tensor_capacity;
    uint32_t *stack, *marks, *memo; /* memo: PICKLE_NIL where nothing was put */
    size_t stack_count, stack_capacity, mark_count, mark_capacity, memo_count, memo_capacity;
    uint32_t root;
};

/* ERR_FORMAT with the byte of the opcode in work. */
#define FAIL_HERE(format, ...)                                                                     \
    FAIL(ERR_FORMAT, "%s: data.pkl, byte %zu: " format, p->name,                                   \
         p->opcode __VA_OPT__(, ) __VA_ARGS__)

/* -- pickle_values.c: pools with bounds, and the stack of indices into them. ERR_FORMAT when a
 * bound is passed or something is taken that is not there; ERR_MEMORY. -- */

/* The values that stand for none, at index PICKLE_NIL: ahead of all else. */
err_t pickle_begin(pickle_t *p);
err_t pickle_push(pickle_t *p, uint32_t value);
err_t pickle_push_new(pickle_t *p, pickle_value_t value);
/* A new value of `kind`, STORAGE or TENSOR, with a copy of `tensor`. */
err_t pickle_push_tensor(pickle_t *p, pickle_kind_t kind, const pickle_tensor_t *tensor);
/* What stands above the last mark may be taken, no more. */
err_t pickle_pop(uint32_t *value, pickle_t *p);
err_t pickle_push_mark(pickle_t *p);
/* *first: the place in the stack above the mark. */
err_t pickle_pop_mark(size_t *first, pickle_t *p);
/* Makes a tuple of what stands from `first` up; of the topmost `count`. */
err_t pickle_push_tuple(pickle_t *p, size_t first);
err_t pickle_push_small_tuple(pickle_t *p, size_t count);
/* Puts what stands from `first` up into the container below it, of `kind` DICT or LIST. */
err_t pickle_fill(pickle_t *p, size_t first, pickle_kind_t kind);
/* The top of the stack into the memo, and back. */
err_t pickle_memo_put(pickle_t *p, size_t slot);
err_t pickle_memo_get(pickle_t *p, size_t slot);
/* The values of a tuple, in order; false when it is none or has not between min and max. */
bool pickle_tuple_values(const pickle_value_t *out[], size_t min, size_t max, const pickle_t *p,
                         const pickle_value_t *tuple);

/* -- pickle_torch.c: the opcodes that name something outside the pickle. ERR_FORMAT for whatever
 * is not on the allow list or not used as torch.save does. -- */

/* GLOBAL: pushes the entry of the allow list. */
err_t pickle_torch_global(pickle_t *p, const char *module, const char *name);
/* BINPERSID, REDUCE, BUILD. */
err_t pickle_torch_storage(pickle_t *p);
err_t pickle_torch_reduce(pickle_t *p);
err_t pickle_torch_build(pickle_t *p);
