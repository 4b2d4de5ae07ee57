/* quant/engine_plan.h: the list of a quant_integer_t lowered into integer steps: RELU, RELU6,
 * FLATTEN and DROPOUT cost nothing, weights are packed, and steps that follow one another make
 * stages, whose tensors in between stay in cache: a stage takes only so many pictures at once. */
#pragma once
#include "nn/plan.h"
#include "quant/integer.h"
#include "quant/kernels_int8.h"

typedef enum {
    QUANT_STEP_QUANTIZE,  /* the pictures to uint8 */
    QUANT_STEP_PRODUCT,   /* CONV2D of one group, or hidden DENSE */
    QUANT_STEP_LOGITS,    /* last DENSE */
    QUANT_STEP_DEPTHWISE, /* 3x3, padding 1 */
    QUANT_STEP_GROUPED,   /* any other CONV2D */
    QUANT_STEP_ADD,
    QUANT_STEP_MAX_POOL,
    QUANT_STEP_MEAN
} quant_step_kind_t;

typedef struct {
    quant_step_kind_t kind;
    const nn_op_t *op;           /* NULL: QUANTIZE */
    const quant_layer_t *layer;  /* GROUPED */
    int in[2], out;              /* tensors that have a buffer of their own */
    nn_shape_t in_shape, layout; /* of in[0]; DENSE: layout is the shape before a flatten */
    nn_shape_t out_shape;
    quant_affine_t x_at[2], y_at;
    bool pointwise;          /* PRODUCT: pixels are independent of each other */
    quant_product_t product; /* PRODUCT, LOGITS */
    size_t padded;           /* PRODUCT, not pointwise: width of the padded input */
    size_t block;    /* PRODUCT: output pixels (pointwise) or lines whose input is prepared at
                        once; 0: read where it lies */
    size_t prepared; /* bytes of that, ahead of the product's own scratch memory */
    quant_depthwise_t depthwise;
    quant_add_t add;
    float multiplier; /* MEAN */
} quant_step_t;

typedef struct {
    size_t first, end; /* steps */
    size_t pictures;   /* at once, at most */
} quant_stage_t;

/* Where a tensor is. */
typedef struct {
    size_t picture; /* bytes of one */
    size_t offset;  /* of the first, in a part's memory */
    bool inside;    /* of a stage: there is room for the stage's pictures at once */
} quant_place_t;

typedef struct {
    const quant_integer_t *model;
    const quant_kernels_t *kernels;
    quant_step_t *steps; /* (step_count), owned */
    size_t step_count;
    quant_stage_t *stages; /* (stage_count), owned */
    size_t stage_count;
    quant_place_t *places; /* (tensor_count), owned */
    size_t memory;         /* bytes of the tensors of one part */
    size_t scratch;        /* bytes a thread needs besides */
    size_t packed;         /* bytes of packed weights, biases and multipliers */
} quant_plan_t;

/* For parts of up to `pictures`. ERR_CONFIG: an operation that no step can do. The caller frees. */
err_t quant_plan_init(quant_plan_t *plan, const quant_integer_t *model,
                      const quant_kernels_t *kernels, size_t pictures);
void quant_plan_free(quant_plan_t *plan);
/* Packs weights into `memory` (plan->packed bytes, 64-byte-aligned, zeroed) and lets the steps
 * point there. */
void quant_plan_pack(quant_plan_t *plan, unsigned char *memory);
