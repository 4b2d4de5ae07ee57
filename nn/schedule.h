/* nn/schedule.h: the learning rate over a whole run, a pure function of where in the run a step is:
 * a peer that resumes or joins late needs nothing but the round. Time is counted in epochs from the
 * beginning of the run, parts of an epoch by the step. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef enum { NN_SCHEDULE_CONSTANT, NN_SCHEDULE_STEP, NN_SCHEDULE_COSINE } nn_schedule_kind_t;

enum { NN_MILESTONES_MAX = 16 };

typedef struct {
    nn_schedule_kind_t kind;
    double lr;            /* the full one */
    double warmup_epochs; /* rises linearly to the full one over them; may be a part of an epoch */
    /* STEP: times gamma at each milestone, and every `every_epochs` (0: never) */
    uint32_t milestones[NN_MILESTONES_MAX]; /* epochs, rising */
    size_t milestone_count;
    uint32_t every_epochs;
    double gamma;
    double lr_min; /* COSINE: reached at the end of the run */
} nn_schedule_t;

/* The rate of step `step` of `steps` in epoch `epoch` of `epochs`, which may end within one,
 * counted from 0. With steps as small as an optimizer's these are torch.optim.lr_scheduler's
 * MultiStepLR, StepLR, LinearLR and CosineAnnealingLR, the last over what the warm-up leaves of the
 * run. An epoch behind the last (`rounds` was lowered) is taken for the last. */
double nn_schedule_lr(const nn_schedule_t *schedule, uint64_t epoch, double epochs, size_t step,
                      size_t steps);
