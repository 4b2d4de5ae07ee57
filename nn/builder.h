/* nn/builder.h: what an architecture's builder appends operations with. Each call appends one
 * operation and its entries and returns the tensor it writes. A builder that asks for what cannot
 * be (a window larger than its input) leaves `failed` set: the caller of the builder reports it. */
#pragma once
#include "nn/net.h"

typedef struct {
    nn_net_t *net;
    size_t op_capacity, tensor_capacity, entry_capacity;
    bool failed; /* some operation did not fit its input */
} nn_builder_t;

typedef struct {
    const char *name;
    size_t input_min, input_max; /* pixels: the least that works, the most that is allowed */
    const char *strides;         /* "imagenet|small", the first is the default; NULL: no choice */
    bool dropout;                /* takes arch.dropout */
    nn_init_t init;
    void (*build)(nn_builder_t *builder, const nn_arch_t *arch);
} nn_architecture_t;

/* NULL-terminated; a new architecture is a file with a builder and a line in net.c. */
extern const nn_architecture_t nn_architecture_cnn, nn_architecture_mobilenet_v2;

/* channels x width, rounded, at least 1. */
size_t nn_build_channels(size_t channels, double width);

int nn_build_conv2d(nn_builder_t *builder, const char *name, int in, size_t out_channels,
                    size_t kernel, size_t stride, size_t pad, size_t groups, bool bias);
int nn_build_batch_norm(nn_builder_t *builder, const char *name, int in);
/* RELU, RELU6, GLOBAL_AVG_POOL, FLATTEN */
int nn_build_simple(nn_builder_t *builder, nn_op_kind_t kind, int in);
int nn_build_max_pool(nn_builder_t *builder, int in, size_t kernel, size_t stride);
int nn_build_add(nn_builder_t *builder, int in, int in2);
int nn_build_dropout(nn_builder_t *builder, int in, float probability);
int nn_build_dense(nn_builder_t *builder, const char *name, int in, size_t outputs);
