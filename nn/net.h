/* nn/net.h: a network as an immutable flat list of operations over numbered tensors, and the table
 * of its state. Builders make one; training, evaluation, folding, quantization and export walk it;
 * none of them knows an architecture by name. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"

enum { NN_CLASSES_MAX = 1000, NN_NAME_MAX = 96 };

typedef enum {
    NN_OP_CONV2D,
    NN_OP_BATCH_NORM,
    NN_OP_RELU,
    NN_OP_RELU6,
    NN_OP_MAX_POOL,
    NN_OP_GLOBAL_AVG_POOL,
    NN_OP_ADD,
    NN_OP_FLATTEN, /* (H,W,C) to a vector in PyTorch's order (C,H,W): the dense layer permutes */
    NN_OP_DROPOUT,
    NN_OP_DENSE,
    NN_OP_FAKE_QUANT /* rounded to what uint8 can say; no builder makes it, quant/qat.c does */
} nn_op_kind_t;

/* Shape of one picture's activations, NHWC inside: height and width are 1 after a flatten. */
typedef struct {
    size_t height, width, channels;
} nn_shape_t;

enum { NN_NONE = -1 };

typedef struct {
    nn_op_kind_t kind;
    char name[NN_NAME_MAX]; /* PyTorch's module name, "features.1.conv.0.0", "" for functions */
    int in[2];              /* tensors read; in[1] is NN_NONE but for ADD */
    int out;                /* tensor written, each tensor by one operation */
    size_t kernel, stride, pad, groups;     /* CONV2D; kernel and stride also of MAX_POOL */
    float dropout;                          /* DROPOUT: probability */
    float epsilon, momentum;                /* BATCH_NORM: 1e-5, 0.1 */
    float scale, zero;                      /* FAKE_QUANT: a normal number above 0; 0 to 255 */
    int weight, bias;                       /* entries, or NN_NONE */
    int running_mean, running_var, counter; /* entries of BATCH_NORM, else NN_NONE */
} nn_op_t;

typedef enum {
    NN_KIND_WEIGHT,
    NN_KIND_BIAS,
    NN_KIND_BN_WEIGHT,
    NN_KIND_BN_BIAS,
    NN_KIND_RUNNING_MEAN,
    NN_KIND_RUNNING_VAR,
    NN_KIND_COUNTER /* num_batches_tracked, int64: never averaged */
} nn_kind_t;

typedef struct {
    char name[NN_NAME_MAX]; /* PyTorch's state_dict name, "conv1.weight" */
    nn_kind_t kind;
    size_t rank;     /* 0 for counters */
    size_t shape[4]; /* PyTorch's layout: OIHW, (O,I), (C) */
    size_t count;    /* elements */
    size_t offset;   /* into the float buffer, or into the counters */
    int op;          /* the operation it belongs to: pairs a mean with its variance */
} nn_entry_t;

/* What a builder needs, and what a model file's metadata says. */
typedef struct {
    char name[32];    /* "cnn", "mobilenet_v2" */
    double width;     /* channel multiplier, in (0, 4] */
    char strides[16]; /* "imagenet" or "small" for mobilenet_v2 ("": imagenet), "" for cnn */
    size_t input;     /* height and width of the picture, in pixels */
    size_t classes;   /* 2 .. NN_CLASSES_MAX */
    double dropout;   /* in [0, 1), ahead of mobilenet_v2's classifier; cnn has none: 0 */
} nn_arch_t;

/* How the first weights are drawn. */
typedef enum {
    NN_INIT_UNIFORM, /* PyTorch's default */
    NN_INIT_NORMAL   /* torchvision's for its mobile networks */
} nn_init_t;

typedef struct {
    nn_arch_t arch; /* as resolved: what an architecture does not have is "" or 0 */
    nn_init_t init;
    nn_op_t *ops; /* (op_count), in an order in which they can run */
    size_t op_count;
    nn_shape_t *tensors; /* (tensor_count); tensor 0 is the input, the last op writes the logits */
    size_t tensor_count;
    nn_entry_t *entries; /* (entry_count), PyTorch's order */
    size_t entry_count;
    size_t float_count; /* elements of the float buffer: all float entries, in entry order, dense */
    size_t counter_count;
    size_t trainable_count; /* weights, biases, bn_weights, bn_biases */
} nn_net_t;

/* Builds the list. ERR_CONFIG: unknown architecture (with the nearest known), input too small for
 * it (with the least that works), width, strides, dropout or classes out of range. The caller
 * destroys. */
err_t nn_net_new(nn_net_t **net, const nn_arch_t *arch);
void nn_net_destroy(nn_net_t **net);
/* Entry index by name, NN_NONE if there is none. */
int nn_net_find(const nn_net_t *net, const char *name);

/* The state of one model: what is trained, gossiped, saved. */
typedef struct {
    const nn_net_t *net; /* not owned; outlives the state */
    float *values;       /* (float_count), 64-byte-aligned, owned: every float entry, dense */
    int64_t *counters;   /* (counter_count), owned */
} nn_state_t;

err_t nn_state_init(nn_state_t *state, const nn_net_t *net);
void nn_state_free(nn_state_t *state);
void nn_state_copy(nn_state_t *to, const nn_state_t *from);
/* The first model, drawn from the seed by net->init: BatchNorm 1 and 0, running 0 and 1, counters
 * 0, and of conv and dense
 *   UNIFORM: weights and biases U(-1/sqrt(fan_in), 1/sqrt(fan_in)) (kaiming_uniform, a = sqrt 5);
 *   NORMAL: conv weights N(0, 2/fan_out) (kaiming_normal, fan_out), dense weights N(0, 0.01^2),
 *   biases 0. */
void nn_state_draw(nn_state_t *state, uint64_t seed);
/* SHA-256 over the float buffer, little-endian, as 64 hex digits + zero. */
void nn_state_digest(char hex[65], const nn_state_t *state);
