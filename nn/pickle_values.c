/* What a pickle's opcodes make: values and links in pools, a stack and a memo of their indices. */
#include <stdlib.h>
#include <string.h>

#include "nn/pickle_machine.h"

/* Room for one more in a pool. */
static err_t grow(const pickle_t *p, void *pool, size_t count, size_t *capacity, size_t size,
                  size_t limit)
{
    err_t err = ERR_OK;
    void **at = pool, *grown;
    if (count < *capacity)
        return ERR_OK;
    if (count >= limit)
        FAIL_HERE("more than %zu values: this is no state_dict", limit);
    size_t wanted = *capacity ? *capacity * 2 : 256;
    grown = realloc(*at, wanted * size);
    if (!grown)
        FAIL(ERR_MEMORY, "%s: no memory for its data.pkl", p->name);
    *at = grown;
    *capacity = wanted;
out:
    return err;
}

#define GROW(pool, count, capacity, limit)                                                         \
    TRY(grow(p, &p->pool, p->count, &p->capacity, sizeof *p->pool, (limit)))

static err_t add_value(uint32_t *index, pickle_t *p, const pickle_value_t *value)
{
    err_t err = ERR_OK;
    GROW(values, value_count, value_capacity, PICKLE_VALUES_MAX);
    p->values[p->value_count] = *value;
    *index = (uint32_t)p->value_count++;
out:
    return err;
}

err_t pickle_begin(pickle_t *p)
{
    err_t err = ERR_OK;
    uint32_t none;
    TRY(add_value(&none, p, &(pickle_value_t){.kind = PICKLE_NONE}));
    GROW(links, link_count, link_capacity, PICKLE_VALUES_MAX);
    p->links[p->link_count++] = (pickle_link_t){0};
out:
    return err;
}

err_t pickle_push(pickle_t *p, uint32_t value)
{
    err_t err = ERR_OK;
    GROW(stack, stack_count, stack_capacity, PICKLE_VALUES_MAX);
    p->stack[p->stack_count++] = value;
out:
    return err;
}

err_t pickle_push_new(pickle_t *p, pickle_value_t value)
{
    err_t err = ERR_OK;
    uint32_t index = PICKLE_NIL;
    TRY(add_value(&index, p, &value));
    TRY(pickle_push(p, index));
out:
    return err;
}

err_t pickle_push_tensor(pickle_t *p, pickle_kind_t kind, const pickle_tensor_t *tensor)
{
    err_t err = ERR_OK;
    GROW(tensors, tensor_count, tensor_capacity, PICKLE_TENSORS_MAX);
    p->tensors[p->tensor_count] = *tensor;
    TRY(pickle_push_new(p, (pickle_value_t){.kind = kind, .tensor = (uint32_t)p->tensor_count}));
    p->tensor_count++;
out:
    return err;
}

err_t pickle_pop(uint32_t *value, pickle_t *p)
{
    err_t err = ERR_OK;
    size_t floor = p->mark_count ? p->marks[p->mark_count - 1] : 0;
    if (p->stack_count <= floor)
        FAIL_HERE("takes from an empty stack: the file is damaged");
    *value = p->stack[--p->stack_count];
out:
    return err;
}

err_t pickle_push_mark(pickle_t *p)
{
    err_t err = ERR_OK;
    GROW(marks, mark_count, mark_capacity, PICKLE_VALUES_MAX);
    p->marks[p->mark_count++] = (uint32_t)p->stack_count;
out:
    return err;
}

err_t pickle_pop_mark(size_t *first, pickle_t *p)
{
    err_t err = ERR_OK;
    if (!p->mark_count)
        FAIL_HERE("there is no mark: the file is damaged");
    *first = p->marks[--p->mark_count];
out:
    return err;
}

static err_t append(pickle_t *p, uint32_t container, uint32_t key, uint32_t value)
{
    err_t err = ERR_OK;
    GROW(links, link_count, link_capacity, PICKLE_VALUES_MAX);
    uint32_t link = (uint32_t)p->link_count++;
    p->links[link] = (pickle_link_t){key, value, PICKLE_NIL};
    pickle_value_t *c = &p->values[container];
    if (c->last)
        p->links[c->last].next = link;
    else
        c->first = link;
    c->last = link;
    c->count++;
out:
    return err;
}

err_t pickle_push_tuple(pickle_t *p, size_t first)
{
    err_t err = ERR_OK;
    uint32_t tuple = PICKLE_NIL;
    size_t count = p->stack_count;
    TRY(add_value(&tuple, p, &(pickle_value_t){.kind = PICKLE_TUPLE}));
    for (size_t i = first; i < count; i++)
        TRY(append(p, tuple, PICKLE_NIL, p->stack[i]));
    p->stack_count = first;
    TRY(pickle_push(p, tuple));
out:
    return err;
}

err_t pickle_push_small_tuple(pickle_t *p, size_t count)
{
    err_t err = ERR_OK;
    size_t floor = p->mark_count ? p->marks[p->mark_count - 1] : 0;
    if (p->stack_count < floor + count)
        FAIL_HERE("takes from an empty stack: the file is damaged");
    TRY(pickle_push_tuple(p, p->stack_count - count));
out:
    return err;
}

err_t pickle_fill(pickle_t *p, size_t first, pickle_kind_t kind)
{
    err_t err = ERR_OK;
    size_t floor = p->mark_count ? p->marks[p->mark_count - 1] : 0;
    size_t step = kind == PICKLE_DICT ? 2 : 1;
    if (first <= floor || first > p->stack_count || (p->stack_count - first) % step)
        FAIL_HERE("takes from an empty stack: the file is damaged");
    uint32_t container = p->stack[first - 1];
    if (p->values[container].kind != kind)
        FAIL_HERE("fills what is no %s", kind == PICKLE_DICT ? "dictionary" : "list");
    for (size_t i = first; i < p->stack_count; i += step)
        TRY(append(p, container, kind == PICKLE_DICT ? p->stack[i] : PICKLE_NIL,
                   p->stack[i + step - 1]));
    p->stack_count = first;
out:
    return err;
}

err_t pickle_memo_put(pickle_t *p, size_t slot)
{
    err_t err = ERR_OK;
    uint32_t value = PICKLE_NIL;
    if (slot >= PICKLE_VALUES_MAX)
        FAIL_HERE("memo %zu: more than %d are not kept", slot, PICKLE_VALUES_MAX);
    while (p->memo_count <= slot) {
        GROW(memo, memo_count, memo_capacity, PICKLE_VALUES_MAX);
        p->memo[p->memo_count++] = PICKLE_NIL;
    }
    TRY(pickle_pop(&value, p));
    p->memo[slot] = value;
    TRY(pickle_push(p, value));
out:
    return err;
}

err_t pickle_memo_get(pickle_t *p, size_t slot)
{
    err_t err = ERR_OK;
    if (slot >= p->memo_count || !p->memo[slot])
        FAIL_HERE("memo %zu was never put: the file is damaged", slot);
    TRY(pickle_push(p, p->memo[slot]));
out:
    return err;
}

void pickle_free(pickle_t **pickle)
{
    pickle_t *p = *pickle;
    if (!p)
        return;
    free(p->values);
    free(p->links);
    free(p->tensors);
    free(p->stack);
    free(p->marks);
    free(p->memo);
    free(p);
    *pickle = NULL;
}

const pickle_value_t *pickle_root(const pickle_t *pickle)
{
    return &pickle->values[pickle->root];
}

const pickle_tensor_t *pickle_tensor(const pickle_t *pickle, const pickle_value_t *value)
{
    CHECK(value->kind == PICKLE_TENSOR);
    return &pickle->tensors[value->tensor];
}

bool pickle_next(const pickle_value_t **key, const pickle_value_t **value, uint32_t *at,
                 const pickle_t *pickle, const pickle_value_t *container)
{
    uint32_t link = *at ? pickle->links[*at].next : container->first;
    if (!link)
        return false;
    *at = link;
    *key = container->kind == PICKLE_DICT ? &pickle->values[pickle->links[link].key] : NULL;
    *value = &pickle->values[pickle->links[link].value];
    return true;
}

bool pickle_tuple_values(const pickle_value_t *out[], size_t min, size_t max, const pickle_t *p,
                         const pickle_value_t *tuple)
{
    uint32_t at = 0;
    const pickle_value_t *key, *value;
    if (tuple->kind != PICKLE_TUPLE || tuple->count < min || tuple->count > max)
        return false;
    for (size_t i = 0; pickle_next(&key, &value, &at, p, tuple); i++)
        out[i] = value;
    return true;
}

bool pickle_is_text(const pickle_value_t *value, const char *text)
{
    return value->kind == PICKLE_TEXT && value->length == strlen(text) &&
           !memcmp(value->text, text, value->length);
}
