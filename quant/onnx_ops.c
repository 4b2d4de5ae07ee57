#include "quant/onnx_ops.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

/* Numbers of fields, from onnx.proto. */
enum { MODEL_IR = 1, MODEL_PRODUCER = 2, MODEL_GRAPH = 7, MODEL_OPSET = 8, MODEL_METADATA = 14 };
enum { GRAPH_NAME = 2, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { OPSET_DOMAIN = 1, OPSET_VERSION = 2, ENTRY_KEY = 1, ENTRY_VALUE = 2 };

void quant_onnx_join(quant_onnx_text_t out, const char *text, const char *suffix)
{
    int length = snprintf(out, QUANT_ONNX_NAME_MAX, "%s%s", text, suffix);
    CHECK(length >= 0 && length < QUANT_ONNX_NAME_MAX);
}

/* "max_pool" for operations that have no name of their own. */
static const char *kind_name(nn_op_kind_t kind)
{
    switch (kind) {
    case NN_OP_CONV2D:
        return "conv2d";
    case NN_OP_BATCH_NORM:
        return "batch_norm";
    case NN_OP_RELU:
        return "relu";
    case NN_OP_RELU6:
        return "relu6";
    case NN_OP_MAX_POOL:
        return "max_pool";
    case NN_OP_GLOBAL_AVG_POOL:
        return "global_avg_pool";
    case NN_OP_ADD:
        return "add";
    case NN_OP_FLATTEN:
        return "flatten";
    case NN_OP_DROPOUT:
        return "dropout";
    case NN_OP_DENSE:
        return "dense";
    case NN_OP_FAKE_QUANT:
        return "fake_quant";
    }
    return "operation";
}

/* What inference ends with: the last operation that is no dropout. */
static size_t last_op(const nn_net_t *net)
{
    size_t last = net->op_count - 1;
    while (last > 0 && net->ops[last].kind == NN_OP_DROPOUT)
        last--;
    return last;
}

void quant_onnx_name(quant_onnx_text_t out, const nn_net_t *net, int tensor)
{
    size_t i = 0;
    quant_onnx_join(out, QUANT_ONNX_INPUT, "");
    while (i < net->op_count && net->ops[i].out != tensor)
        i++;
    if (i == net->op_count)
        return;
    if (i == last_op(net))
        quant_onnx_join(out, QUANT_ONNX_LOGITS, "");
    else if (*net->ops[i].name)
        quant_onnx_join(out, net->ops[i].name, "");
    else
        snprintf(out, QUANT_ONNX_NAME_MAX, "%s_%zu", kind_name(net->ops[i].kind), i);
}

static void put_window(quant_proto_t *attributes, const nn_op_t *op)
{
    const int64_t kernel = (int64_t)op->kernel, stride = (int64_t)op->stride;
    quant_onnx_ints(attributes, "kernel_shape", (const int64_t[]){kernel, kernel}, 2);
    quant_onnx_ints(attributes, "strides", (const int64_t[]){stride, stride}, 2);
}

static void put_conv(quant_onnx_graph_t *graph, const nn_op_t *op, const char *output,
                     const char *const inputs[QUANT_ONNX_INPUTS])
{
    quant_proto_t attributes = {0};
    const int64_t pad = (int64_t)op->pad;
    put_window(&attributes, op);
    quant_onnx_ints(&attributes, "pads", (const int64_t[]){pad, pad, pad, pad}, 4);
    quant_onnx_int(&attributes, "group", (int64_t)op->groups);
    quant_onnx_node(graph, "Conv", output, inputs, &attributes);
}

/* ReLU6: from 0 to 6, constants of the node's own. */
static void put_clip(quant_onnx_graph_t *graph, const char *output, const char *input)
{
    const float low = 0.0f, high = 6.0f;
    quant_onnx_text_t min, max;
    quant_onnx_join(min, output, "_min");
    quant_onnx_join(max, output, "_max");
    quant_onnx_tensor(graph, min, QUANT_ONNX_FLOAT, NULL, 0, &low);
    quant_onnx_tensor(graph, max, QUANT_ONNX_FLOAT, NULL, 0, &high);
    quant_onnx_node(graph, "Clip", output, (const char *const[]){input, min, max}, NULL);
}

err_t quant_onnx_op(quant_onnx_graph_t *graph, const nn_net_t *net, const nn_op_t *op,
                    const char *output, const char *const inputs[QUANT_ONNX_INPUTS])
{
    err_t err = ERR_OK;
    quant_proto_t attributes = {0};
    const nn_shape_t *in = &net->tensors[op->in[0]];
    switch (op->kind) {
    case NN_OP_CONV2D:
        put_conv(graph, op, output, inputs);
        break;
    case NN_OP_RELU:
        quant_onnx_node(graph, "Relu", output, inputs, NULL);
        break;
    case NN_OP_RELU6:
        put_clip(graph, output, inputs[0]);
        break;
    case NN_OP_MAX_POOL:
        put_window(&attributes, op);
        quant_onnx_node(graph, "MaxPool", output, inputs, &attributes);
        break;
    case NN_OP_GLOBAL_AVG_POOL:
        quant_onnx_node(graph, "GlobalAveragePool", output, inputs, NULL);
        break;
    case NN_OP_ADD:
        quant_onnx_node(graph, "Add", output, inputs, NULL);
        break;
    case NN_OP_FLATTEN:
        quant_onnx_int(&attributes, "axis", 1);
        quant_onnx_node(graph, "Flatten", output, inputs, &attributes);
        break;
    case NN_OP_DENSE:
        if (in->height != 1 || in->width != 1)
            FAIL(ERR_CONFIG, "dense layer \"%s\" reads %zux%zu pixels: ONNX wants them flat",
                 op->name, in->height, in->width);
        quant_onnx_int(&attributes, "transB", 1);
        quant_onnx_node(graph, "Gemm", output, inputs, &attributes);
        break;
    case NN_OP_BATCH_NORM:
    case NN_OP_DROPOUT:
    case NN_OP_FAKE_QUANT:
        FAIL(ERR_CONFIG, "operation %s \"%s\" is none of inference", kind_name(op->kind), op->name);
    }
out:
    return err;
}

static void put_metadata(void *to, const char *key, const char *value)
{
    quant_proto_t entry = {0};
    quant_proto_text(&entry, ENTRY_KEY, key);
    quant_proto_text(&entry, ENTRY_VALUE, value);
    quant_proto_message(to, MODEL_METADATA, &entry);
}

/* The GraphProto. */
static void put_graph(quant_proto_t *out, quant_onnx_graph_t *graph, const nn_net_t *net)
{
    quant_proto_t input = {0}, logits = {0};
    const nn_shape_t *picture = &net->tensors[0];
    const size_t dims[] = {picture->channels, picture->height, picture->width};
    quant_onnx_value(&input, QUANT_ONNX_INPUT, dims, 3);
    quant_onnx_value(&logits, QUANT_ONNX_LOGITS, &net->arch.classes, 1);
    quant_proto_append(out, &graph->nodes);
    quant_proto_text(out, GRAPH_NAME, net->arch.name);
    quant_proto_append(out, &graph->initializers);
    quant_proto_message(out, GRAPH_INPUT, &input);
    quant_proto_message(out, GRAPH_OUTPUT, &logits);
}

err_t quant_onnx_commit(const char *path, quant_onnx_graph_t *graph, const nn_net_t *net,
                        const nn_model_meta_t *meta)
{
    err_t err = ERR_OK;
    quant_proto_t model = {0}, part = {0}, metadata = {0};
    TRY(nn_model_meta_each(meta, put_metadata, &metadata));
    quant_proto_int(&model, MODEL_IR, QUANT_ONNX_IR);
    quant_proto_text(&model, MODEL_PRODUCER, "hearsay");
    put_graph(&part, graph, net);
    quant_proto_message(&model, MODEL_GRAPH, &part);
    quant_proto_text(&part, OPSET_DOMAIN, ""); /* ONNX's own */
    quant_proto_int(&part, OPSET_VERSION, QUANT_ONNX_OPSET);
    quant_proto_message(&model, MODEL_OPSET, &part);
    quant_proto_append(&model, &metadata);
    TRY(file_write(path, model.data, model.size));
out:
    quant_proto_free(&metadata);
    quant_proto_free(&model);
    quant_onnx_graph_free(graph);
    return err;
}
