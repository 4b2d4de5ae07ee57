/* tests/nn/support.h: what the tests of nn/ share. */
#pragma once
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/builder.h"
#include "nn/safetensors.h"
#include "tests/support/harness.h"

/* The formula of tests/golden/nn_golden.py: uniform in [-1, 1) from (stream, index). */
static inline float formula_at(uint64_t stream, uint64_t index)
{
    uint64_t z = (stream << 32) + index + 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return 2.0f * ((float)(z >> 40) / 16777216.0f) - 1.0f;
}

/* malloc'd, scaled; the caller frees. */
static inline float *formula_new(uint64_t stream, size_t count, float scale)
{
    float *values = aligned_alloc(64, (count * sizeof *values + 127) / 64 * 64);
    for (size_t i = 0; i < count; i++)
        values[i] = formula_at(stream, i) * scale;
    return values;
}

static inline float *zeros_new(size_t count)
{
    float *values = aligned_alloc(64, (count * sizeof *values + 127) / 64 * 64);
    memset(values, 0, count * sizeof *values);
    return values;
}

/* ||found - expected|| <= limit ||expected||, or <= limit when expected is all but zero. */
static inline void check_near(const char *what, const float *found, const float *expected,
                              size_t count, double limit)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)found[i] - (double)expected[i];
        difference += d * d;
        norm += (double)expected[i] * (double)expected[i];
    }
    difference = sqrt(difference), norm = sqrt(norm);
    double bound = limit * (norm > 1e-3 ? norm : 1.0);
    if (!(difference <= bound))
        print_error("%s: off by %g, norm %g, allowed %g\n", what, difference, norm, bound);
    assert_true(difference <= bound);
}

/* A tensor of a golden file, with as many elements as expected. */
static inline const float *golden(const safetensors_t *file, const char *name, size_t count)
{
    const safetensors_tensor_t *t = safetensors_find(file, name);
    if (!t || t->count != count)
        print_error("golden tensor %s: %zu elements, expected %zu\n", name, t ? t->count : 0,
                    count);
    assert_true(t && t->count == count);
    return t->data;
}

/* An empty net of one input, for lists that no architecture has. Builders append to it. */
static inline nn_net_t *empty_net(nn_builder_t *builder, size_t height, size_t width,
                                  size_t channels, size_t classes)
{
    nn_net_t *net = calloc(1, sizeof *net);
    net->tensors = calloc(16, sizeof *net->tensors);
    net->tensors[0] = (nn_shape_t){height, width, channels};
    net->tensor_count = 1;
    net->arch.classes = classes;
    *builder = (nn_builder_t){.net = net, .tensor_capacity = 16};
    return net;
}

static inline nn_net_t *cnn_new(size_t input, double width, size_t classes)
{
    nn_net_t *net = NULL;
    nn_arch_t arch = {.name = "cnn", .width = width, .input = input, .classes = classes};
    assert_ok(nn_net_new(&net, &arch));
    return net;
}
