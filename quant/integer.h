/* quant/integer.h: a model that computes in integers, as data: the folded list of operations
 * (quant/fold.h) with a scale and a zero point for every tensor, and int8 weights with int32 biases
 * for every convolution and dense layer. Calibration makes one, files hold one, the integer engine
 * runs one, ONNX export writes one.
 *
 * Activations are uint8, affine: real = scale * (q - zero), q and zero in 0 .. 255. Weights are
 * int8, symmetric, a scale per output channel, q in -127 .. 127. Biases are int32 in units of
 * (scale of the input) * (scale of the channel). Sums are int32 and do not overflow
 * (quant_integer_check). Padding is the input's zero point. rne is round to nearest, ties to even;
 * f32 marks each rounding to float32; no other fused multiply-add than the fma written:
 *   input        q = clamp(rne(x / s) + z, 0, 255)
 *   CONV2D,      acc = bias + sum w (q_x - z_x),  M_c = f32(f32(s_x s_w,c) / s_y),
 *   hidden DENSE q_y = clamp(rne(f32(f32(acc) M_c)) + z_y, 0, 255)
 *   last DENSE   logit = f32(f32(acc) f32(s_x s_w,c)): float32
 *   ADD          ra = f32(s_a / s_y), rb = f32(s_b / s_y),
 *                f = f32(z_y - fma(ra, z_a, f32(rb z_b))),
 *                q_y = clamp(rne(fma(q_a, ra, fma(q_b, rb, f))), 0, 255)
 *   GLOBAL_AVG_POOL
 *                q_y = clamp(rne(f32(f32(sum q_x - n z_x) f32(s_x / f32(s_y n)))) + z_y, 0, 255)
 *   MAX_POOL     the largest q; FLATTEN, DROPOUT: q as it is
 *   RELU, RELU6  nothing to do: the layer ahead writes in their tensor's scale with zero point 0,
 *                whose range ends at 6 or below
 * ONNX Runtime 1.31 on x86 gives the same bits, without VNNI with session.x64quantprecision=1, as
 * its default kernels saturate there: tests/interop/interop_onnx.py. */
#pragma once
#include "nn/model_file.h"

/* Real = scale * (q - zero). */
typedef struct {
    float scale;  /* > 0, normal; 0 for the logits, which are float32 */
    int32_t zero; /* 0 .. 255 */
} quant_affine_t;

/* Weights of a CONV2D or DENSE operation. */
typedef struct {
    int8_t *weight; /* (count) as the entry of the folded net: OIHW, (O,I) */
    float *scale;   /* (O), > 0, normal */
    int32_t *bias;  /* (O) */
} quant_layer_t;

typedef struct {
    nn_model_meta_t meta;    /* precision "int8"; owned */
    nn_net_t *net;           /* folded (quant_fold_net), owned */
    quant_affine_t *tensors; /* (net->tensor_count), owned: of the convolution ahead of a RELU or
                                RELU6 what that one's output has; of MAX_POOL, FLATTEN and DROPOUT
                                what their input has */
    quant_layer_t *layers;   /* (net->op_count), owned; NULLs where there are no weights */
} quant_integer_t;

/* Memory for a model on `net` (folded, taken over) with everything 0. `meta` is copied. */
void quant_integer_new(quant_integer_t *model, nn_net_t *net, const nn_model_meta_t *meta);
void quant_integer_free(quant_integer_t *model);
/* ERR_FORMAT, naming tensor or layer, when something of the above does not hold: scales that are
 * not normal numbers above 0, zero points out of range, tensors that must share parameters and do
 * not, a RELU's zero point other than 0, a RELU6's range beyond 6, weights of -128, a channel whose
 * |bias| + sum |w| 255 exceeds 2^31 - 1, or a multiplier with which something before its clamp
 * could exceed 2^30 (so that it fits int32); ERR_CONFIG for a list that cannot compute in integers
 * (quant_check_list). What passes can be run by the engine without a check more. */
err_t quant_integer_check(const quant_integer_t *model);

/* safetensors; docs/formats.md. Loading checks everything and trusts nothing. */
err_t quant_integer_save(const char *path, const quant_integer_t *model);
err_t quant_integer_load(quant_integer_t *model, const char *path);

/* One picture by the plain list, one operation after another, in C: engines are tested against it.
 *   out logits (classes)
 *   out q      (tensor_count) pointers: where not NULL, room for that tensor's uint8 (H,W,C),
 *              FLATTEN's in PyTorch's order (C,H,W); `q` may be NULL
 *   in  x      (H,W,3) float32, normalised */
void quant_integer_reference(float *logits, uint8_t *const *q, const quant_integer_t *model,
                             const float *x);
