/* quant/onnx_graph.h: an ONNX graph being made: nodes, initializers and their names in ONNX's own
 * messages (onnx.proto, IR version 7, operator set 13). Names are the caller's and unlike one
 * another. Numbers in tensors are little-endian in files, as they are in memory here. */
#pragma once
#include "base/err.h"
#include "quant/onnx_proto.h"

/* TensorProto.DataType */
typedef enum {
    QUANT_ONNX_FLOAT = 1,
    QUANT_ONNX_UINT8 = 2,
    QUANT_ONNX_INT8 = 3,
    QUANT_ONNX_INT32 = 6,
    QUANT_ONNX_FLOAT16 = 10
} quant_onnx_type_t;

enum { QUANT_ONNX_OPSET = 13, QUANT_ONNX_IR = 7, QUANT_ONNX_NAME_MAX = 160, QUANT_ONNX_INPUTS = 3 };

/* {0} is an empty graph. */
typedef struct {
    quant_proto_t nodes, initializers; /* fields of a GraphProto; owned */
} quant_onnx_graph_t;

void quant_onnx_graph_free(quant_onnx_graph_t *graph);

/* A constant.
 *   in data, dense, of shape dims (rank); rank 0 is one element */
void quant_onnx_tensor(quant_onnx_graph_t *graph, const char *name, quant_onnx_type_t type,
                       const size_t *dims, size_t rank, const void *data);

/* Attributes of a node, collected ahead of it. */
void quant_onnx_int(quant_proto_t *attributes, const char *name, int64_t value);
void quant_onnx_ints(quant_proto_t *attributes, const char *name, const int64_t *values,
                     size_t count);

/* A node called after its output. `inputs`: up to QUANT_ONNX_INPUTS names, NULL behind the last.
 * `attributes` may be NULL and is empty afterwards. */
void quant_onnx_node(quant_onnx_graph_t *graph, const char *type, const char *output,
                     const char *const inputs[QUANT_ONNX_INPUTS], quant_proto_t *attributes);

/* A float32 input or output of the graph, (N, dims...): as a ValueInfoProto in `value`. */
void quant_onnx_value(quant_proto_t *value, const char *name, const size_t *dims, size_t rank);
