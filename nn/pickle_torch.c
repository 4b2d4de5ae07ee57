/* What PyTorch's names become. Nothing is called: a storage and a tensor are descriptions, whose
 * every element is known to lie in the file once they are made here. */
#include <string.h>

#include "nn/pickle_machine.h"

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
enum { ALLOWED = sizeof allowed / sizeof allowed[0] };

err_t pickle_torch_global(pickle_t *p, const char *module, const char *name)
{
    err_t err = ERR_OK;
    for (int i = 0; i < ALLOWED; i++)
        if (!strcmp(module, allowed[i].module) && !strcmp(name, allowed[i].name))
            return pickle_push_new(p, (pickle_value_t){.kind = PICKLE_GLOBAL, .integer = i});
    if (!strcmp(module, "torch") && !strcmp(name, "BFloat16Storage"))
        FAIL_HERE("its numbers are bfloat16, which this does not read: save it again with "
                  "torch.save(net.float().state_dict(), FILE)");
    FAIL_HERE("names %s.%s, which no state_dict needs; nothing of the file was run. If you trust "
              "it, load it in PyTorch and save it again with torch.save(net.state_dict(), FILE)",
              module, name);
out:
    return err;
}

/* A whole number of at least 0. */
static bool get_size(size_t *size, const pickle_value_t *value)
{
    if (value->kind != PICKLE_INT || value->integer < 0)
        return false;
    *size = (size_t)value->integer;
    return true;
}

/* BINPERSID: ('storage', TYPE, KEY, LOCATION, ELEMENTS) */
err_t pickle_torch_storage(pickle_t *p)
{
    err_t err = ERR_OK;
    uint32_t id = PICKLE_NIL;
    const pickle_value_t *v[5];
    pickle_tensor_t storage = {0};
    TRY(pickle_pop(&id, p));
    if (!pickle_tuple_values(v, 5, 5, p, &p->values[id]) || !pickle_is_text(v[0], "storage") ||
        v[1]->kind != PICKLE_GLOBAL || allowed[v[1]->integer].role != STORAGE ||
        v[2]->kind != PICKLE_TEXT || v[3]->kind != PICKLE_TEXT ||
        !get_size(&storage.elements, v[4]))
        FAIL_HERE("a reference to something that is not a storage");
    storage.dtype = allowed[v[1]->integer].dtype;
    storage.key = v[2]->text;
    storage.key_length = v[2]->length;
    TRY(pickle_push_tensor(p, PICKLE_STORAGE, &storage));
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
    bool good = pickle_tuple_values(sizes, 0, SAFETENSORS_RANK_MAX, p, shape) &&
                pickle_tuple_values(steps, 0, SAFETENSORS_RANK_MAX, p, stride) &&
                shape->count == stride->count,
         inside = true;
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
    if (!pickle_tuple_values(v, 6, 7, p, arguments) || v[0]->kind != PICKLE_STORAGE)
        FAIL_HERE("a tensor without a storage");
    pickle_tensor_t tensor = p->tensors[v[0]->tensor];
    if (!get_size(&tensor.offset, v[1]))
        FAIL_HERE("a tensor reaches outside its storage of %zu elements", tensor.elements);
    /* Metadata says of a view that what it shows is not what is stored: negated, conjugated. */
    const pickle_value_t *metadata = arguments->count > 6 ? v[6] : NULL;
    if (metadata && metadata->kind != PICKLE_NONE &&
        (metadata->kind != PICKLE_DICT || metadata->count))
        FAIL_HERE("a tensor with metadata, such as a negated view: save it again with "
                  "torch.save({k: v.resolve_neg() for k, v in net.state_dict().items()}, FILE)");
    TRY(place_view(&tensor, p, v[2], v[3]));
    TRY(pickle_push_tensor(p, PICKLE_TENSOR, &tensor));
out:
    return err;
}

/* REDUCE: what PyTorch would call is told apart by name, and data made in its place. */
err_t pickle_torch_reduce(pickle_t *p)
{
    err_t err = ERR_OK;
    uint32_t arguments = PICKLE_NIL, callee = PICKLE_NIL;
    const pickle_value_t *v[3];
    TRY(pickle_pop(&arguments, p));
    TRY(pickle_pop(&callee, p));
    const pickle_value_t *what = &p->values[callee], *with = &p->values[arguments];
    if (what->kind != PICKLE_GLOBAL || allowed[what->integer].role == STORAGE)
        FAIL_HERE("calls what is no function of a state_dict");
    switch (allowed[what->integer].role) {
    case ORDERED_DICT:
        if (!pickle_tuple_values(v, 0, 0, p, with))
            FAIL_HERE("an OrderedDict that is not made empty");
        return pickle_push_new(p, (pickle_value_t){.kind = PICKLE_DICT});
    case REBUILD_TENSOR:
        return rebuild_tensor(p, with);
    default:
        if (!pickle_tuple_values(v, 3, 3, p, with) || v[0]->kind != PICKLE_TENSOR)
            FAIL_HERE("a parameter without a tensor");
        return pickle_push(p, (uint32_t)(v[0] - p->values));
    }
out:
    return err;
}

/* BUILD: attributes of an OrderedDict (`_metadata`), which are read over. */
err_t pickle_torch_build(pickle_t *p)
{
    err_t err = ERR_OK;
    uint32_t attributes = PICKLE_NIL, object = PICKLE_NIL;
    TRY(pickle_pop(&attributes, p));
    TRY(pickle_pop(&object, p));
    if (p->values[object].kind != PICKLE_DICT || p->values[attributes].kind != PICKLE_DICT)
        FAIL_HERE("gives attributes to what is no dictionary");
    TRY(pickle_push(p, object));
out:
    return err;
}
