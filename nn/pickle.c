#include <string.h>

#include "base/text.h"
#include "nn/pickle_machine.h"

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
    TRY(pickle_push_new(p, (pickle_value_t){.kind = PICKLE_INT, .integer = (int64_t)value}));
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
    TRY(pickle_push_new(p, (pickle_value_t){.kind = PICKLE_OTHER}));
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
    TRY(pickle_push_new(p, (pickle_value_t){.kind = PICKLE_REAL, .real = real}));
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
    TRY(pickle_push_new(
        p, (pickle_value_t){.kind = kind, .text = (const char *)text, .length = count}));
out:
    return err;
}

/* A line up to its newline, without it, as a string of at most PICKLE_GLOBAL_MAX - 1 bytes. */
static err_t take_line(char out[PICKLE_GLOBAL_MAX], pickle_t *p)
{
    err_t err = ERR_OK;
    size_t left = p->size - p->at;
    const unsigned char *at = p->bytes + p->at, *end = left ? memchr(at, '\n', left) : NULL;
    if (!end)
        FAIL_HERE("a name without an end: it is cut short, copy it again");
    size_t length = (size_t)(end - at);
    text_printable(out, PICKLE_GLOBAL_MAX, (const char *)at, length);
    p->at += length + 1;
out:
    return err;
}

static err_t push_global(pickle_t *p)
{
    err_t err = ERR_OK;
    char module[PICKLE_GLOBAL_MAX], name[PICKLE_GLOBAL_MAX];
    TRY(take_line(module, p));
    TRY(take_line(name, p));
    TRY(pickle_torch_global(p, module, name));
out:
    return err;
}

/* The opcode's slot of the memo, and what is done with it. */
static err_t use_memo(pickle_t *p, size_t bytes, err_t (*use)(pickle_t *p, size_t slot))
{
    err_t err = ERR_OK;
    const unsigned char *at = NULL;
    TRY(take(&at, p, bytes));
    TRY(use(p, (size_t)little(at, bytes)));
out:
    return err;
}

static err_t tuple_from_mark(pickle_t *p)
{
    err_t err = ERR_OK;
    size_t first = 0;
    TRY(pickle_pop_mark(&first, p));
    TRY(pickle_push_tuple(p, first));
out:
    return err;
}

static err_t fill_marked(pickle_t *p, pickle_kind_t kind)
{
    err_t err = ERR_OK;
    size_t first = 0;
    TRY(pickle_pop_mark(&first, p));
    TRY(pickle_fill(p, first, kind));
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
        return pickle_push_mark(p);
    case '}': /* EMPTY_DICT */
        return pickle_push_new(p, (pickle_value_t){.kind = PICKLE_DICT});
    case ']': /* EMPTY_LIST */
        return pickle_push_new(p, (pickle_value_t){.kind = PICKLE_LIST});
    case ')': /* EMPTY_TUPLE */
        return pickle_push_new(p, (pickle_value_t){.kind = PICKLE_TUPLE});
    case 't': /* TUPLE */
        return tuple_from_mark(p);
    case 0x85: /* TUPLE1 */
    case 0x86: /* TUPLE2 */
    case 0x87: /* TUPLE3 */
        return pickle_push_small_tuple(p, (size_t)opcode - 0x84);
    case 'N': /* NONE */
        return pickle_push_new(p, (pickle_value_t){.kind = PICKLE_NONE});
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return pickle_push_new(p, (pickle_value_t){.kind = PICKLE_BOOL, .integer = opcode == 0x88});
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
        return use_memo(p, 1, pickle_memo_put);
    case 'r': /* LONG_BINPUT */
        return use_memo(p, 4, pickle_memo_put);
    case 'h': /* BINGET */
        return use_memo(p, 1, pickle_memo_get);
    case 'j': /* LONG_BINGET */
        return use_memo(p, 4, pickle_memo_get);
    case 'c': /* GLOBAL */
        return push_global(p);
    case 'Q': /* BINPERSID */
        return pickle_torch_storage(p);
    case 'R': /* REDUCE */
        return pickle_torch_reduce(p);
    case 'b': /* BUILD */
        return pickle_torch_build(p);
    case 's': /* SETITEM */
        return pickle_fill(p, below(p, 2), PICKLE_DICT);
    case 'u': /* SETITEMS */
        return fill_marked(p, PICKLE_DICT);
    case 'a': /* APPEND */
        return pickle_fill(p, below(p, 1), PICKLE_LIST);
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
    TRY(pickle_begin(p));
    if (!p->size || p->bytes[0] != 0x80)
        FAIL_HERE("not a pickle of protocol 2");
    for (;;) {
        p->opcode = p->at;
        TRY(take(&opcode, p, 1));
        if (*opcode == '.') /* STOP */
            break;
        TRY(step(p, *opcode));
    }
    TRY(pickle_pop(&p->root, p));
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
