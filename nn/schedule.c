#include "nn/schedule.h"

#include <math.h>

/* PyTorch's CosineAnnealingLR in closed form (Loshchilov and Hutter 2017, without restarts). */
static double cosine(const nn_schedule_t *s, double now, double epochs)
{
    double left = epochs - s->warmup_epochs;
    double done = left > 0 ? fmin(1.0, fmax(0.0, (now - s->warmup_epochs) / left)) : 1.0;
    return s->lr_min + (s->lr - s->lr_min) * 0.5 * (1.0 + cos(acos(-1.0) * done));
}

static double stepped(const nn_schedule_t *s, uint64_t epoch)
{
    uint64_t times = s->every_epochs ? epoch / s->every_epochs : 0;
    for (size_t i = 0; i < s->milestone_count; i++)
        times += epoch >= s->milestones[i];
    return s->lr * pow(s->gamma, (double)times);
}

double nn_schedule_lr(const nn_schedule_t *s, uint64_t epoch, double epochs, size_t step,
                      size_t steps)
{
    double now = (double)epoch + (double)step / (double)steps, lr = s->lr;
    if (s->kind == NN_SCHEDULE_STEP)
        lr = stepped(s, epoch);
    else if (s->kind == NN_SCHEDULE_COSINE)
        lr = cosine(s, now, epochs);
    /* The first step has one part of the full rate, the last of the warm-up has all of it. */
    double warm = (now + 1.0 / (double)steps) / s->warmup_epochs;
    return s->warmup_epochs > 0 && warm < 1.0 ? lr * warm : lr;
}
