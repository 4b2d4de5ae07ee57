#include "nn/pickle.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* What comes out of a GLOBAL; nothing else does. */
typedef enum { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE } role_t;
static const struct {
    const char *module, *name;
    role_t role;
    safetensors_dtype_t dtype; /* of a STORAGE */
} allowed[] = {
    {"collections", "OrderedDict", ORDERED_DICT, ST_F32},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, ST_F32},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER, ST_F32},
    {"torch", "FloatStorage", STORAGE, ST_F32},
    {"torch", "HalfStorage", STORAGE, ST_F16},
    {"torch", "DoubleStorage", STORAGE, ST_F64},
    {"torch", "IntStorage", STORAGE, ST_I32},
    {"torch", "LongStorage", STORAGE, ST_I64},
};
enum { ALLOWED = sizeof allowed / sizeof allowed[0], GLOBAL_MAX = 128, NIL = 0 };

typedef struct {
    uint32_t key, value, next; /* values; next link, NIL at the end */
} link_t;

struct pickle_s {
    const char *name;
    const unsigned char *bytes;
    size_t size, at, opcode; /* opcode: where the one in work begins */
    pickle_value_t *values;  /* [0] is None */
    size_t value_count, value_capacity;
    link_t *links; /* [0] is not used */
    size_t link_count, link_capacity;
    pickle_tensor_t *tensors;
    size_t tensor_count, tensor_capacity;
    uint32_t *stack, *marks, *memo; /* memo: NIL where nothing was put */
    size_t stack_count, stack_capacity, mark_count, mark_capacity, memo_count, memo_capacity;
    uint32_t root;
};

#define FAIL_HERE(format, ...)                                                                     \
    FAIL(ERR_FORMAT, "%s: data.pkl, byte %zu: " format, p->name, p->opcode __VA_OPT__(, )          \
         __VA_ARGS__)

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

static err_t push(pickle_t *p, uint32_t value)
{
    err_t err = ERR_OK;
    GROW(stack, stack_count, stack_capacity, PICKLE_VALUES_MAX);
    p->stack[p->stack_count++] = value;
out:
    return err;
}

static err_t add_value(uint32_t *index, pickle_t *p, const pickle_value_t *value)
{
    err_t err = ERR_OK;
    GROW(values, value_count, value_capacity, PICKLE_VALUES_MAX);
    p->values[p->value_count] = *value;
    *index = (uint32_t)p->value_count++;
out:
    return err;
}

static err_t push_new(pickle_t *p, pickle_value_t value)
{
    err_t err = ERR_OK;
    uint32_t index = NIL;
    TRY(add_value(&index, p, &value));
    TRY(push(p, index));
out:
    return err;
}

/* What stands above the last mark may be taken, no more. */
static err_t pop(uint32_t *value, pickle_t *p)
{
    err_t err = ERR_OK;
    size_t floor = p->mark_count ? p->marks[p->mark_count - 1] : 0;
    if (p->stack_count <= floor)
        FAIL_HERE("takes from an empty stack: the file is damaged");
    *value = p->stack[--p->stack_count];
out:
    return err;
}

static err_t pop_mark(size_t *first, pickle_t *p)
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
    p->links[link] = (link_t){key, value, NIL};
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

static err_t take(const unsigned char **bytes, pickle_t *p, uint64_t count)
{
    err_t err = ERR_OK;
    if (count > p->size - p->at)
        FAIL_HERE("%llu bytes are wanted and %zu are left: it is cut short, copy it again",
                  (unsigned long long)count, p->size - p->at);
    *bytes = p->bytes + p->at;
    p->at += (size_t)count;
out:
    return err;
}

static uint64_t little(const unsigned char *at, size_t count)
{
    uint64_t value = 0;
    for (size_t i = count; i > 0; i--)
        value = value << 8 | at[i - 1];
    return value;
}

static err_t push_integer(pickle_t *p, size_t bytes, bool is_signed)
{
    err_t err = ERR_OK;
    const unsigned char *at = NULL;
    TRY(take(&at, p, bytes));
    uint64_t value = little(at, bytes);
    if (is_signed && bytes > 0 && bytes < 8 && at[bytes - 1] & 0x80)
        value |= UINT64_MAX << (8 * bytes);
    TRY(push_new(p, (pickle_value_t){.kind = PICKLE_INT, .integer = (int64_t)value}));
out:
    return err;
}

/* LONG1: a length and that many bytes. */
static err_t push_long(pickle_t *p)
{
    err_t err = ERR_OK;
    const unsigned char *length = NULL, *at = NULL;
    TRY(take(&length, p, 1));
    if (*length <= 8)
        return push_integer(p, *length, true);
    TRY(take(&at, p, *length));
    TRY(push_new(p, (pickle_value_t){.kind = PICKLE_OTHER}));
out:
    return err;
}

static err_t push_real(pickle_t *p)
{
    err_t err = ERR_OK;
    const unsigned char *at = NULL;
    uint64_t bits = 0;
    double real;
    TRY(take(&at, p, 8));
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | at[i];
    memcpy(&real, &bits, sizeof real);
    TRY(push_new(p, (pickle_value_t){.kind = PICKLE_REAL, .real = real}));
out:
    return err;
}

static err_t push_text(pickle_t *p, size_t length_bytes, pickle_kind_t kind)
{
    err_t err = ERR_OK;
    const unsigned char *length = NULL, *text = NULL;
    TRY(take(&length, p, length_bytes));
    size_t count = (size_t)little(length, length_bytes);
    TRY(take(&text, p, count));
    TRY(push_new(
        p, (pickle_value_t){.kind = kind, .text = (const char *)text, .length = count}));
out:
    return err;
}

/* A line up to its newline, without it, as a string of at most GLOBAL_MAX - 1 bytes. */
static err_t take_line(char out[GLOBAL_MAX], pickle_t *p)
{
    err_t err = ERR_OK;
    size_t left = p->size - p->at;
    const unsigned char *at = p->bytes + p->at, *end = left ? memchr(at, '\n', left) : NULL;
    if (!end)
        FAIL_HERE("a name without an end: it is cut short, copy it again");
    size_t length = (size_t)(end - at);
    text_printable(out, GLOBAL_MAX, (const char *)at, length);
    p->at += length + 1;
out:
    return err;
}

static err_t push_global(pickle_t *p)
{
    err_t err = ERR_OK;
    char module[GLOBAL_MAX], name[GLOBAL_MAX];
    TRY(take_line(module, p));
    TRY(take_line(name, p));
    for (int i = 0; i < ALLOWED; i++)
        if (!strcmp(module, allowed[i].module) && !strcmp(name, allowed[i].name))
            return push_new(p, (pickle_value_t){.kind = PICKLE_GLOBAL, .integer = i});
    FAIL_HERE("names %s.%s, which no state_dict needs; nothing of the file was run. If you trust "
              "it, load it in PyTorch and save it again with torch.save(net.state_dict(), FILE)",
              module, name);
out:
    return err;
}

/* The values of a tuple, in order; false when it is none or has not between min and max. */
static bool tuple_values(const pickle_value_t *out[], size_t min, size_t max, const pickle_t *p,
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

/* A whole number of at least 0. */
static bool get_size(size_t *size, const pickle_value_t *value)
{
    if (value->kind != PICKLE_INT || value->integer < 0)
        return false;
    *size = (size_t)value->integer;
    return true;
}

static err_t add_tensor(pickle_t *p, pickle_kind_t kind, const pickle_tensor_t *tensor)
{
    err_t err = ERR_OK;
    GROW(tensors, tensor_count, tensor_capacity, PICKLE_TENSORS_MAX);
    p->tensors[p->tensor_count] = *tensor;
    TRY(push_new(p, (pickle_value_t){.kind = kind, .tensor = (uint32_t)p->tensor_count}));
    p->tensor_count++;
out:
    return err;
}

/* BINPERSID: ('storage', TYPE, KEY, LOCATION, ELEMENTS) */
static err_t push_storage(pickle_t *p)
{
    err_t err = ERR_OK;
    uint32_t id = NIL;
    const pickle_value_t *v[5];
    pickle_tensor_t storage = {0};
    TRY(pop(&id, p));
    if (!tuple_values(v, 5, 5, p, &p->values[id]) || !pickle_is_text(v[0], "storage") ||
        v[1]->kind != PICKLE_GLOBAL || allowed[v[1]->integer].role != STORAGE ||
        v[2]->kind != PICKLE_TEXT || v[3]->kind != PICKLE_TEXT ||
        !get_size(&storage.elements, v[4]))
        FAIL_HERE("a reference to something that is not a storage");
    storage.dtype = allowed[v[1]->integer].dtype;
    storage.key = v[2]->text;
    storage.key_length = v[2]->length;
    TRY(add_tensor(p, PICKLE_STORAGE, &storage));
out:
    return err;
}

/* Shape and strides of a view, and that all it reaches lies in its storage. */
static err_t place_view(pickle_tensor_t *t, const pickle_t *p, const pickle_value_t *shape,
                        const pickle_value_t *stride)
{
    err_t err = ERR_OK;
    const pickle_value_t *sizes[SAFETENSORS_RANK_MAX], *steps[SAFETENSORS_RANK_MAX];
    size_t last = t->offset;
    bool good = tuple_values(sizes, 0, SAFETENSORS_RANK_MAX, p, shape) &&
                tuple_values(steps, 0, SAFETENSORS_RANK_MAX, p, stride) &&
                shape->count == stride->count, inside = true;
    t->rank = good ? shape->count : 0;
    t->count = 1;
    for (size_t i = 0; good && i < t->rank; i++)
        good = get_size(&t->shape[i], sizes[i]) && get_size(&t->stride[i], steps[i]) &&
               !__builtin_mul_overflow(t->count, t->shape[i], &t->count);
    if (!good || t->count > (size_t)1 << 40)
        FAIL_HERE("a tensor's shape and strides are not two lists of at most %d numbers that a "
                  "file could hold",
                  SAFETENSORS_RANK_MAX);
    for (size_t i = 0; inside && t->count && i < t->rank; i++) {
        size_t reach;
        inside = !__builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &reach) &&
                 !__builtin_add_overflow(last, reach, &last);
    }
    if (t->count ? !inside || last >= t->elements : t->offset > t->elements)
        FAIL_HERE("a tensor reaches outside its storage of %zu elements", t->elements);
out:
    return err;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]) */
static err_t rebuild_tensor(pickle_t *p, const pickle_value_t *arguments)
{
    err_t err = ERR_OK;
    const pickle_value_t *v[7];
    if (!tuple_values(v, 6, 7, p, arguments) || v[0]->kind != PICKLE_STORAGE)
        FAIL_HERE("a tensor without a storage");
    pickle_tensor_t tensor = p->tensors[v[0]->tensor];
    if (!get_size(&tensor.offset, v[1]))
        FAIL_HERE("a tensor reaches outside its storage of %zu elements", tensor.elements);
    TRY(place_view(&tensor, p, v[2], v[3]));
    TRY(add_tensor(p, PICKLE_TENSOR, &tensor));
out:
    return err;
}

/* REDUCE: what PyTorch would call is told apart by name, and data made in its place. */
static err_t reduce(pickle_t *p)
{
    err_t err = ERR_OK;
    uint32_t arguments = NIL, callee = NIL;
    const pickle_value_t *v[3];
    TRY(pop(&arguments, p));
    TRY(pop(&callee, p));
    const pickle_value_t *what = &p->values[callee], *with = &p->values[arguments];
    if (what->kind != PICKLE_GLOBAL || allowed[what->integer].role == STORAGE)
        FAIL_HERE("calls what is no function of a state_dict");
    switch (allowed[what->integer].role) {
    case ORDERED_DICT:
        if (!tuple_values(v, 0, 0, p, with))
            FAIL_HERE("an OrderedDict that is not made empty");
        return push_new(p, (pickle_value_t){.kind = PICKLE_DICT});
    case REBUILD_TENSOR:
        return rebuild_tensor(p, with);
    default:
        if (!tuple_values(v, 3, 3, p, with) || v[0]->kind != PICKLE_TENSOR)
            FAIL_HERE("a parameter without a tensor");
        return push(p, (uint32_t)(v[0] - p->values));
    }
out:
    return err;
}

/* BUILD: attributes of an OrderedDict (`_metadata`), which are read over. */
static err_t build(pickle_t *p)
{
    err_t err = ERR_OK;
    uint32_t attributes = NIL, object = NIL;
    TRY(pop(&attributes, p));
    TRY(pop(&object, p));
    if (p->values[object].kind != PICKLE_DICT || p->values[attributes].kind != PICKLE_DICT)
        FAIL_HERE("gives attributes to what is no dictionary");
    TRY(push(p, object));
out:
    return err;
}

static err_t push_tuple(pickle_t *p, size_t first)
{
    err_t err = ERR_OK;
    uint32_t tuple = NIL;
    size_t count = p->stack_count;
    TRY(add_value(&tuple, p, &(pickle_value_t){.kind = PICKLE_TUPLE}));
    for (size_t i = first; i < count; i++)
        TRY(append(p, tuple, NIL, p->stack[i]));
    p->stack_count = first;
    TRY(push(p, tuple));
out:
    return err;
}

static err_t push_small_tuple(pickle_t *p, size_t count)
{
    err_t err = ERR_OK;
    size_t floor = p->mark_count ? p->marks[p->mark_count - 1] : 0;
    if (p->stack_count < floor + count)
        FAIL_HERE("takes from an empty stack: the file is damaged");
    TRY(push_tuple(p, p->stack_count - count));
out:
    return err;
}

/* Puts what stands from `first` up into the container below it. */
static err_t fill(pickle_t *p, size_t first, pickle_kind_t kind)
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
        TRY(append(p, container, kind == PICKLE_DICT ? p->stack[i] : NIL, p->stack[i + step - 1]));
    p->stack_count = first;
out:
    return err;
}

static err_t fill_marked(pickle_t *p, pickle_kind_t kind)
{
    err_t err = ERR_OK;
    size_t first = 0;
    TRY(pop_mark(&first, p));
    TRY(fill(p, first, kind));
out:
    return err;
}

static err_t put(pickle_t *p, size_t bytes)
{
    err_t err = ERR_OK;
    const unsigned char *at = NULL;
    uint32_t value = NIL;
    TRY(take(&at, p, bytes));
    size_t slot = (size_t)little(at, bytes);
    if (slot >= PICKLE_VALUES_MAX)
        FAIL_HERE("memo %zu: more than %d are not kept", slot, PICKLE_VALUES_MAX);
    while (p->memo_count <= slot) {
        GROW(memo, memo_count, memo_capacity, PICKLE_VALUES_MAX);
        p->memo[p->memo_count++] = NIL;
    }
    TRY(pop(&value, p));
    p->memo[slot] = value;
    TRY(push(p, value));
out:
    return err;
}

static err_t get(pickle_t *p, size_t bytes)
{
    err_t err = ERR_OK;
    const unsigned char *at = NULL;
    TRY(take(&at, p, bytes));
    size_t slot = (size_t)little(at, bytes);
    if (slot >= p->memo_count || !p->memo[slot])
        FAIL_HERE("memo %zu was never put: the file is damaged", slot);
    TRY(push(p, p->memo[slot]));
out:
    return err;
}

static err_t mark(pickle_t *p)
{
    err_t err = ERR_OK;
    GROW(marks, mark_count, mark_capacity, PICKLE_VALUES_MAX);
    p->marks[p->mark_count++] = (uint32_t)p->stack_count;
out:
    return err;
}

static err_t tuple_from_mark(pickle_t *p)
{
    err_t err = ERR_OK;
    size_t first = 0;
    TRY(pop_mark(&first, p));
    TRY(push_tuple(p, first));
out:
    return err;
}

static err_t check_protocol(pickle_t *p)
{
    err_t err = ERR_OK;
    const unsigned char *at = NULL;
    TRY(take(&at, p, 1));
    if (*at != 2)
        FAIL_HERE("pickle protocol %d: this reads 2, what torch.save writes when nothing else is "
                  "asked for",
                  *at);
out:
    return err;
}

/* Below a container at the top of the stack: SETITEM, APPEND. */
static size_t below(const pickle_t *p, size_t count)
{
    return p->stack_count > count ? p->stack_count - count : 0;
}

/* The opcodes by their letters in pickletools.py. */
static err_t step(pickle_t *p, unsigned char opcode)
{
    err_t err = ERR_OK;
    switch (opcode) {
    case 0x80: /* PROTO */
        return check_protocol(p);
    case '(': /* MARK */
        return mark(p);
    case '}': /* EMPTY_DICT */
        return push_new(p, (pickle_value_t){.kind = PICKLE_DICT});
    case ']': /* EMPTY_LIST */
        return push_new(p, (pickle_value_t){.kind = PICKLE_LIST});
    case ')': /* EMPTY_TUPLE */
        return push_new(p, (pickle_value_t){.kind = PICKLE_TUPLE});
    case 't': /* TUPLE */
        return tuple_from_mark(p);
    case 0x85: /* TUPLE1 */
    case 0x86: /* TUPLE2 */
    case 0x87: /* TUPLE3 */
        return push_small_tuple(p, (size_t)opcode - 0x84);
    case 'N': /* NONE */
        return push_new(p, (pickle_value_t){.kind = PICKLE_NONE});
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push_new(p, (pickle_value_t){.kind = PICKLE_BOOL, .integer = opcode == 0x88});
    case 'J': /* BININT */
        return push_integer(p, 4, true);
    case 'K': /* BININT1 */
        return push_integer(p, 1, false);
    case 'M': /* BININT2 */
        return push_integer(p, 2, false);
    case 0x8a: /* LONG1 */
        return push_long(p);
    case 'G': /* BINFLOAT */
        return push_real(p);
    case 'X': /* BINUNICODE */
        return push_text(p, 4, PICKLE_TEXT);
    case 'T': /* BINSTRING */
        return push_text(p, 4, PICKLE_OTHER);
    case 'U': /* SHORT_BINSTRING */
        return push_text(p, 1, PICKLE_OTHER);
    case 'q': /* BINPUT */
        return put(p, 1);
    case 'r': /* LONG_BINPUT */
        return put(p, 4);
    case 'h': /* BINGET */
        return get(p, 1);
    case 'j': /* LONG_BINGET */
        return get(p, 4);
    case 'c': /* GLOBAL */
        return push_global(p);
    case 'Q': /* BINPERSID */
        return push_storage(p);
    case 'R': /* REDUCE */
        return reduce(p);
    case 'b': /* BUILD */
        return build(p);
    case 's': /* SETITEM */
        return fill(p, below(p, 2), PICKLE_DICT);
    case 'u': /* SETITEMS */
        return fill_marked(p, PICKLE_DICT);
    case 'a': /* APPEND */
        return fill(p, below(p, 1), PICKLE_LIST);
    case 'e': /* APPENDS */
        return fill_marked(p, PICKLE_LIST);
    default:
        FAIL_HERE("opcode 0x%02x is none that a state_dict needs", opcode);
    }
out:
    return err;
}

static err_t run(pickle_t *p)
{
    err_t err = ERR_OK;
    const unsigned char *opcode = NULL;
    TRY(add_value(&p->root, p, &(pickle_value_t){.kind = PICKLE_NONE})); /* NIL */
    GROW(links, link_count, link_capacity, PICKLE_VALUES_MAX);
    p->links[p->link_count++] = (link_t){0};
    if (!p->size || p->bytes[0] != 0x80)
        FAIL_HERE("not a pickle of protocol 2");
    for (;;) {
        p->opcode = p->at;
        TRY(take(&opcode, p, 1));
        if (*opcode == '.') /* STOP */
            break;
        TRY(step(p, *opcode));
    }
    TRY(pop(&p->root, p));
    if (p->stack_count || p->mark_count)
        FAIL_HERE("%zu value%s left over: the file is damaged", p->stack_count,
                  p->stack_count == 1 ? " is" : "s are");
    if (p->at != p->size)
        FAIL_HERE("%zu bytes behind the end of the pickle", p->size - p->at);
out:
    return err;
}

err_t pickle_parse(pickle_t **pickle, const void *bytes, size_t size, const char *name)
{
    err_t err = ERR_OK;
    pickle_t *p = xcalloc(1, sizeof *p);
    *pickle = NULL;
    p->name = name;
    p->bytes = bytes;
    p->size = size;
    if (size > PICKLE_BYTES_MAX)
        FAIL(ERR_FORMAT, "%s: data.pkl of %zu bytes: more than %d are not read", name, size,
             PICKLE_BYTES_MAX);
    TRY(run(p));
    *pickle = p;
    p = NULL;
out:
    pickle_free(&p);
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

bool pickle_is_text(const pickle_value_t *value, const char *text)
{
    return value->kind == PICKLE_TEXT && value->length == strlen(text) &&
           !memcmp(value->text, text, value->length);
}
