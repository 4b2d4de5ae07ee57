/* The small network of design.md: three 5x5/3x3 convolutions with BatchNorm, ReLU and 2x2 pooling,
 * then three dense layers. `width` scales the convolutions' channels; fc1 follows the input. */
#include "nn/builder.h"

static int block(nn_builder_t *b, int in, const char *conv, const char *norm, size_t channels,
                 size_t kernel)
{
    int t = nn_build_conv2d(b, conv, in, channels, kernel, 1, 0, 1, true);
    t = nn_build_batch_norm(b, norm, t);
    t = nn_build_simple(b, NN_OP_RELU, t);
    return nn_build_max_pool(b, t, 2, 2);
}

static void build(nn_builder_t *b, const nn_arch_t *arch)
{
    int t = block(b, 0, "conv1", "bn1", nn_build_channels(32, arch->width), 5);
    t = block(b, t, "conv2", "bn2", nn_build_channels(64, arch->width), 5);
    t = block(b, t, "conv3", "bn3", nn_build_channels(96, arch->width), 3);
    t = nn_build_simple(b, NN_OP_FLATTEN, t);
    t = nn_build_dense(b, "fc1", t, 128);
    t = nn_build_simple(b, NN_OP_RELU, t);
    t = nn_build_dense(b, "fc2", t, 128);
    t = nn_build_simple(b, NN_OP_RELU, t);
    nn_build_dense(b, "fc3", t, arch->classes);
}

/* 28 pixels: 24 after conv1, 12, 8 after conv2, 4, 2 after conv3, 1. */
const nn_architecture_t nn_architecture_cnn = {
    .name = "cnn", .input_min = 28, .input_max = 1024, .init = NN_INIT_UNIFORM, .build = build};
