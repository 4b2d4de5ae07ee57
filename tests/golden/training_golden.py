#!/usr/bin/env python3
"""Makes tests/golden/nn_training.safetensors with PyTorch (1.13 was used): run
`python3 tests/golden/training_golden.py` in the repository. 12 steps of SGD with Nesterov momentum,
the loss with label smoothing, and learning rates of torch.optim.lr_scheduler, step by step."""
import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import (ChainedScheduler, CosineAnnealingLR, LinearLR, MultiStepLR,
                                      SequentialLR, StepLR)

from nn_golden import formula, parameter, save

EPOCHS, STEPS, LR = 10, 7, 0.1  # the test has the same


def nesterov(out):
    for name, decay in ("nesterov", 0.0), ("nesterov_decay", 0.05):
        w = parameter(1, 50)
        optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=decay, nesterov=True)
        steps = []
        for step in range(12):
            w.grad = torch.from_numpy(formula(10 + step, 50))
            optimizer.step()
            steps.append(w.detach().numpy().copy())
        out[name] = np.stack(steps)


def smoothing(out):
    for name, amount in ("smoothing_01", 0.1), ("smoothing_05", 0.5):
        z = parameter(1, 6, 10, scale=8).detach().double().requires_grad_()
        loss = F.cross_entropy(z, torch.tensor([3, 0, 9, 5, 5, 1]), label_smoothing=amount)
        loss.backward()
        out[name + ".loss"], out[name + ".dz"] = loss.detach().numpy(), z.grad.numpy()


def rates(make):
    optimizer = torch.optim.SGD([parameter(1, 1)], lr=LR)
    scheduler, lrs = make(optimizer), []
    for _ in range(EPOCHS * STEPS):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(lrs)


def warm(optimizer, steps):
    """(k + 1) / steps of the rate at step k."""
    return LinearLR(optimizer, 1 / steps, 1.0, steps - 1)


def schedules(out):
    total = EPOCHS * STEPS
    out["lr.milestones"] = rates(lambda o: MultiStepLR(o, [3 * STEPS, 8 * STEPS], 0.2))
    out["lr.every"] = rates(lambda o: StepLR(o, 4 * STEPS, 0.5))
    out["lr.cosine"] = rates(lambda o: CosineAnnealingLR(o, total, 0.001))
    out["lr.cosine_warm"] = rates(lambda o: SequentialLR(
        o, [warm(o, 2 * STEPS), CosineAnnealingLR(o, total - 2 * STEPS, 0.0)], [2 * STEPS]))
    out["lr.milestones_warm"] = rates(lambda o: ChainedScheduler(
        [warm(o, 5 * STEPS), MultiStepLR(o, [3 * STEPS, 8 * STEPS], 0.2)]))
    out["lr.constant_warm"] = rates(lambda o: warm(o, 3 * STEPS))


if __name__ == "__main__":
    results = {}
    nesterov(results)
    smoothing(results)
    schedules(results)
    save("nn_training.safetensors", results)
