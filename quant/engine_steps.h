/* quant/engine_steps.h: one step of a plan on some pictures. */
#pragma once
#include "quant/engine_plan.h"

/* A step at work on the lines first .. end-1 that its output has, counted through all pictures at
 * hand (dense layers, logits and means have one line a picture). */
typedef struct {
    const quant_plan_t *plan;
    const quant_step_t *step;
    const uint8_t *x[2]; /* of the first picture at hand; pictures lie one behind another */
    uint8_t *y;
    const float *pictures; /* QUANTIZE */
    float *logits;         /* LOGITS */
    unsigned char *scratch;
} quant_work_t;

/* Lines of one picture. */
size_t quant_step_lines(const quant_step_t *step);
void quant_step_run(const quant_work_t *work, size_t first, size_t end);
