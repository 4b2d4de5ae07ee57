#include "quant/onnx_graph.h"

/* Numbers of fields, from onnx.proto. */
enum { GRAPH_NODE = 1, GRAPH_INITIALIZER = 5 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP_TYPE = 4, NODE_ATTRIBUTE = 5 };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_I = 3, ATTRIBUTE_INTS = 8, ATTRIBUTE_TYPE = 20 };
enum { TYPE_INT = 2, TYPE_INTS = 7 }; /* AttributeProto.AttributeType */
enum { TENSOR_DIMS = 1, TENSOR_DATA_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW_DATA = 9 };
enum { VALUE_NAME = 1, VALUE_TYPE = 2 };
enum { TYPE_TENSOR = 1, TYPE_ELEMENT = 1, TYPE_SHAPE = 2 };
enum { SHAPE_DIM = 1, DIM_VALUE = 1, DIM_PARAM = 2 };

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they stand in memory"
#endif

void quant_onnx_graph_free(quant_onnx_graph_t *graph)
{
    quant_proto_free(&graph->nodes);
    quant_proto_free(&graph->initializers);
    *graph = (quant_onnx_graph_t){0};
}

static size_t size_of(quant_onnx_type_t type)
{
    switch (type) {
    case QUANT_ONNX_UINT8:
    case QUANT_ONNX_INT8:
        return 1;
    case QUANT_ONNX_FLOAT16:
        return 2;
    case QUANT_ONNX_FLOAT:
    case QUANT_ONNX_INT32:
        break;
    }
    return 4;
}

void quant_onnx_tensor(quant_onnx_graph_t *graph, const char *name, quant_onnx_type_t type,
                       const size_t *dims, size_t rank, const void *data)
{
    quant_proto_t tensor = {0};
    size_t count = 1;
    for (size_t i = 0; i < rank; i++) {
        quant_proto_int(&tensor, TENSOR_DIMS, (int64_t)dims[i]);
        count *= dims[i];
    }
    quant_proto_int(&tensor, TENSOR_DATA_TYPE, type);
    quant_proto_text(&tensor, TENSOR_NAME, name);
    quant_proto_bytes(&tensor, TENSOR_RAW_DATA, data, count * size_of(type));
    quant_proto_message(&graph->initializers, GRAPH_INITIALIZER, &tensor);
}

void quant_onnx_int(quant_proto_t *attributes, const char *name, int64_t value)
{
    quant_proto_t attribute = {0};
    quant_proto_text(&attribute, ATTRIBUTE_NAME, name);
    quant_proto_int(&attribute, ATTRIBUTE_I, value);
    quant_proto_int(&attribute, ATTRIBUTE_TYPE, TYPE_INT);
    quant_proto_message(attributes, NODE_ATTRIBUTE, &attribute);
}

void quant_onnx_ints(quant_proto_t *attributes, const char *name, const int64_t *values,
                     size_t count)
{
    quant_proto_t attribute = {0};
    quant_proto_text(&attribute, ATTRIBUTE_NAME, name);
    for (size_t i = 0; i < count; i++)
        quant_proto_int(&attribute, ATTRIBUTE_INTS, values[i]);
    quant_proto_int(&attribute, ATTRIBUTE_TYPE, TYPE_INTS);
    quant_proto_message(attributes, NODE_ATTRIBUTE, &attribute);
}

void quant_onnx_node(quant_onnx_graph_t *graph, const char *type, const char *output,
                     const char *const inputs[QUANT_ONNX_INPUTS], quant_proto_t *attributes)
{
    quant_proto_t node = {0};
    for (size_t i = 0; i < QUANT_ONNX_INPUTS && inputs[i]; i++)
        quant_proto_text(&node, NODE_INPUT, inputs[i]);
    quant_proto_text(&node, NODE_OUTPUT, output);
    quant_proto_text(&node, NODE_NAME, output);
    quant_proto_text(&node, NODE_OP_TYPE, type);
    if (attributes)
        quant_proto_append(&node, attributes);
    quant_proto_message(&graph->nodes, GRAPH_NODE, &node);
}

static void put_dim(quant_proto_t *shape, size_t size)
{
    quant_proto_t dim = {0};
    quant_proto_int(&dim, DIM_VALUE, (int64_t)size);
    quant_proto_message(shape, SHAPE_DIM, &dim);
}

void quant_onnx_value(quant_proto_t *value, const char *name, const size_t *dims, size_t rank)
{
    quant_proto_t shape = {0}, tensor = {0}, type = {0}, batch = {0};
    quant_proto_text(&batch, DIM_PARAM, "N");
    quant_proto_message(&shape, SHAPE_DIM, &batch);
    for (size_t i = 0; i < rank; i++)
        put_dim(&shape, dims[i]);
    quant_proto_int(&tensor, TYPE_ELEMENT, QUANT_ONNX_FLOAT);
    quant_proto_message(&tensor, TYPE_SHAPE, &shape);
    quant_proto_message(&type, TYPE_TENSOR, &tensor);
    quant_proto_text(value, VALUE_NAME, name);
    quant_proto_message(value, VALUE_TYPE, &type);
}
