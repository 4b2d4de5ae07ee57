/* Export of integer models in QDQ form: every operation in float32 between DequantizeLinear and
 * QuantizeLinear, which ONNX Runtime replaces by QLinearConv, QLinearAdd and their kin. What that
 * takes: a pair of its own for everything that passes integers on (pool, flatten), in the input's
 * scale; no Relu or Clip, whose work uint8 does by its range; zero points everywhere; biases
 * through DequantizeLinear in units of f32(s_x s_w,c). */
#include <stdlib.h>
#include <string.h>

#include "quant/onnx_ops.h"

typedef struct {
    quant_onnx_graph_t graph;
    const quant_integer_t *model;
    quant_onnx_text_t *names; /* (tensor_count) what reads a tensor has as its input, owned */
} export_t;

/* A layer's integers of a scale a channel, by axis 0, as float32 NAME.
 *   in integers of shape dims (rank), scales (dims[0]), zeros (dims[0]) or NULL for none */
static void put_dequantized(quant_onnx_graph_t *graph, const char *name, quant_onnx_type_t type,
                            const size_t *dims, size_t rank, const void *integers,
                            const float *scales, const int8_t *zeros)
{
    quant_proto_t attributes = {0};
    quant_onnx_text_t stored, scale, zero;
    quant_onnx_join(stored, name, "_quantized");
    quant_onnx_join(scale, name, "_scale");
    quant_onnx_join(zero, name, "_zero_point");
    quant_onnx_tensor(graph, stored, type, dims, rank, integers);
    quant_onnx_tensor(graph, scale, QUANT_ONNX_FLOAT, dims, 1, scales);
    if (zeros)
        quant_onnx_tensor(graph, zero, QUANT_ONNX_INT8, dims, 1, zeros);
    quant_onnx_int(&attributes, "axis", 0);
    quant_onnx_node(graph, "DequantizeLinear", name,
                    (const char *const[]){stored, scale, zeros ? zero : NULL}, &attributes);
}

/* Weights and biases of a layer that reads a tensor of scale `input`; every integer layer has a
 * bias, also where the list has none. out bias  what it is called */
static void put_layer(quant_onnx_graph_t *graph, quant_onnx_text_t bias, const nn_op_t *op,
                      const nn_entry_t *weight, const quant_layer_t *layer, float input)
{
    const size_t outputs = weight->shape[0];
    int8_t *zeros = xcalloc(outputs, sizeof *zeros);
    float *units = xcalloc(outputs, sizeof *units);
    for (size_t o = 0; o < outputs; o++)
        units[o] = input * layer->scale[o];
    quant_onnx_join(bias, op->name, ".bias");
    put_dequantized(graph, weight->name, QUANT_ONNX_INT8, weight->shape, weight->rank,
                    layer->weight, layer->scale, zeros);
    put_dequantized(graph, bias, QUANT_ONNX_INT32, &outputs, 1, layer->bias, units, NULL);
    free(units);
    free(zeros);
}

/* Tensor `name` to uint8 and back: NAME_quantized, NAME_dequantized; what others read is put in
 * `read`. */
static void put_pair(quant_onnx_graph_t *graph, quant_onnx_text_t read, const char *name,
                     quant_affine_t affine)
{
    quant_onnx_text_t scale, zero, quantized;
    const uint8_t zero_point = (uint8_t)affine.zero;
    quant_onnx_join(scale, name, "_scale");
    quant_onnx_join(zero, name, "_zero_point");
    quant_onnx_join(quantized, name, "_quantized");
    quant_onnx_join(read, name, "_dequantized");
    quant_onnx_tensor(graph, scale, QUANT_ONNX_FLOAT, NULL, 0, &affine.scale);
    quant_onnx_tensor(graph, zero, QUANT_ONNX_UINT8, NULL, 0, &zero_point);
    quant_onnx_node(graph, "QuantizeLinear", quantized, (const char *const[]){name, scale, zero},
                    NULL);
    quant_onnx_node(graph, "DequantizeLinear", read, (const char *const[]){quantized, scale, zero},
                    NULL);
}

static err_t put_op(export_t *export, size_t i)
{
    err_t err = ERR_OK;
    const quant_integer_t *model = export->model;
    const nn_net_t *net = model->net;
    const nn_op_t *op = &net->ops[i];
    const char *inputs[QUANT_ONNX_INPUTS] = {export->names[op->in[0]], NULL, NULL};
    quant_onnx_text_t name, bias;
    if (op->kind == NN_OP_RELU || op->kind == NN_OP_RELU6 || op->kind == NN_OP_DROPOUT) {
        memcpy(export->names[op->out], export->names[op->in[0]], sizeof name);
        return ERR_OK;
    }
    if (op->in[1] != NN_NONE)
        inputs[1] = export->names[op->in[1]];
    if (op->weight != NN_NONE) {
        const nn_entry_t *weight = &net->entries[op->weight];
        put_layer(&export->graph, bias, op, weight, &model->layers[i],
                  model->tensors[op->in[0]].scale);
        inputs[1] = weight->name;
        inputs[2] = bias;
    }
    quant_onnx_name(name, net, op->out);
    TRY(quant_onnx_op(&export->graph, net, op, name, inputs));
    if (i + 1 < net->op_count)
        put_pair(&export->graph, export->names[op->out], name, model->tensors[op->out]);
out:
    return err;
}

err_t quant_onnx_write_integer(const char *path, const quant_integer_t *model)
{
    err_t err = ERR_OK;
    const nn_net_t *net = model->net;
    export_t export = {.model = model};
    if (net->ops[net->op_count - 1].kind != NN_OP_DENSE)
        FAIL(ERR_CONFIG, "an integer model that does not end with a dense layer");
    export.names = xcalloc(net->tensor_count, sizeof *export.names);
    put_pair(&export.graph, export.names[0], QUANT_ONNX_INPUT, model->tensors[0]);
    for (size_t i = 0; i < net->op_count; i++)
        TRY(put_op(&export, i));
    TRY(quant_onnx_commit(path, &export.graph, net, &model->meta));
out:
    quant_onnx_graph_free(&export.graph);
    free(export.names);
    return err;
}
