/* MobileNetV2 (Sandler et al. 2018) as torchvision builds it: its names, shapes, order and rounding
 * of channels. `strides` says where the picture shrinks: "imagenet" as torchvision does, 32 times
 * in all; "small" for pictures of 32 pixels, 8 times. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/builder.h"

/* torchvision's _make_divisible(channels x width, 8): the nearest multiple of 8, but never less
 * than nine tenths. */
static size_t divisible(size_t channels, double width)
{
    double scaled = (double)channels * width;
    double rounded = fmax(8.0, floor((scaled + 4.0) / 8.0) * 8.0);
    return (size_t)(rounded < 0.9 * scaled ? rounded + 8.0 : rounded);
}

/* Convolution, BatchNorm and, with `clamp`, ReLU6. `name` is what torchvision's Sequential is
 * called; its members are `first` and the number after it. */
static int conv_norm(nn_builder_t *b, int in, const char *name, size_t first, size_t channels,
                     size_t kernel, size_t stride, size_t groups, bool clamp)
{
    char member[NN_NAME_MAX];
    snprintf(member, sizeof member, "%s.%zu", name, first);
    int t = nn_build_conv2d(b, member, in, channels, kernel, stride, kernel / 2, groups, false);
    snprintf(member, sizeof member, "%s.%zu", name, first + 1);
    t = nn_build_batch_norm(b, member, t);
    return clamp ? nn_build_simple(b, NN_OP_RELU6, t) : t;
}

/* An inverted residual block: widen `expand` times, filter each channel, narrow; the sum with the
 * input where shapes allow it. */
static int block(nn_builder_t *b, int in, size_t number, size_t channels, size_t stride,
                 size_t expand)
{
    char conv[32], part[40];
    size_t inputs = b->net->tensors[in].channels, hidden = inputs * expand, member = 0;
    int t = in;
    snprintf(conv, sizeof conv, "features.%zu.conv", number);
    if (expand != 1) {
        snprintf(part, sizeof part, "%s.%zu", conv, member++);
        t = conv_norm(b, t, part, 0, hidden, 1, 1, 1, true);
    }
    snprintf(part, sizeof part, "%s.%zu", conv, member++);
    t = conv_norm(b, t, part, 0, hidden, 3, stride, hidden, true);
    t = conv_norm(b, t, conv, member, channels, 1, 1, 1, false);
    return stride == 1 && inputs == channels ? nn_build_add(b, in, t) : t;
}

static void build(nn_builder_t *b, const nn_arch_t *arch)
{
    static const struct {
        size_t expand, channels, blocks, stride, stride_small;
    } stages[] = {{1, 16, 1, 1, 1}, {6, 24, 2, 2, 1},  {6, 32, 3, 2, 2}, {6, 64, 4, 2, 2},
                  {6, 96, 3, 1, 1}, {6, 160, 3, 2, 2}, {6, 320, 1, 1, 1}};
    const bool small = !strcmp(arch->strides, "small");
    char name[32];
    size_t number = 0;
    int t = conv_norm(b, 0, "features.0", 0, divisible(32, arch->width), 3, small ? 1 : 2, 1, true);
    for (size_t s = 0; s < sizeof stages / sizeof stages[0]; s++) {
        size_t channels = divisible(stages[s].channels, arch->width);
        for (size_t i = 0; i < stages[s].blocks; i++) {
            size_t stride = small ? stages[s].stride_small : stages[s].stride;
            t = block(b, t, ++number, channels, i == 0 ? stride : 1, stages[s].expand);
        }
    }
    snprintf(name, sizeof name, "features.%zu", number + 1);
    t = conv_norm(b, t, name, 0, divisible(1280, fmax(1.0, arch->width)), 1, 1, 1, true);
    t = nn_build_simple(b, NN_OP_GLOBAL_AVG_POOL, t);
    t = nn_build_simple(b, NN_OP_FLATTEN, t);
    t = nn_build_dropout(b, t, (float)arch->dropout);
    nn_build_dense(b, "classifier.1", t, arch->classes);
}

/* 224 pixels are ImageNet's; below 32 nothing would be left to shrink. */
const nn_architecture_t nn_architecture_mobilenet_v2 = {.name = "mobilenet_v2",
                                                        .input_min = 32,
                                                        .input_max = 224,
                                                        .strides = "imagenet|small",
                                                        .dropout = true,
                                                        .init = NN_INIT_NORMAL,
                                                        .build = build};
