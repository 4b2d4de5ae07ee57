#!/usr/bin/env python3
"""Makes tests/golden/nn_mobilenet.safetensors with PyTorch (1.13 was used): run
`python3 tests/golden/mobilenet_golden.py` in the repository; `--full FILE` makes the same of the
whole width, for tests/interop. Inputs and weights come from a formula that tests/nn/support.h
repeats. A gradient of a million numbers is kept as a count sketch (Charikar, Chen, Farach-Colton
2002): each element, with a sign of its own, is added to one of 32 sums. That is linear, so the
sketch of the difference of two gradients has, but for some per cent, the norm of that difference.

What each case holds, all from float64 (KIND is a kind of weights, see set_weights; STEPS is smooth
or steady):
  NAME.arch              width, small strides or not, input, batch, classes
  NAME.KIND.sketch       (entries,32) of the first step's gradients, and of the running statistics
                         behind it in their rows; counters have no row
  NAME.KIND.norm         (entries) norms of the same
  NAME.KIND.logits       of the first step
  NAME.STEPS.losses      of 12 steps of SGD at 0.01
  NAME.STEPS.eval        logits behind the 12 steps, with running statistics
  NAME.STEPS.losses_error, NAME.STEPS.eval_error
                         what PyTorch's float32 is off by (losses: the most up to each step)
  NAME.KIND.error        (entries) norms of what PyTorch's own float32 is off by, root mean
                         square of four: with and without oneDNN, channels first and last"""
import argparse
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from nn_golden import HERE, formula, save
from torch_nets import MobileNetV2

BUCKETS, STEPS = 32, 12
# Exactly on ReLU6's kinks, beside them, and beyond: what channels 8 to 16 of 20 put out
KINKS = np.array([-1, 0, np.nextafter(np.float32(0), np.float32(1)), 1e-3,
                  np.nextafter(np.float32(6), np.float32(0)), 6,
                  np.nextafter(np.float32(6), np.float32(7)), 7, -0.0], dtype=np.float32)


def sketch(row, values):
    """The count sketch of a tensor: the hash is splitmix64 of (row, index)."""
    flat = values.detach().to(torch.float64).reshape(-1).numpy()
    with np.errstate(over="ignore"):
        z = np.uint64(row << 32) + np.arange(flat.size, dtype=np.uint64)
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    sign = 1.0 - 2.0 * (z & np.uint64(1)).astype(np.float64)
    bucket = ((z >> np.uint64(8)) % np.uint64(BUCKETS)).astype(np.int64)
    return np.bincount(bucket, weights=sign * flat, minlength=BUCKETS)


def clamped(net):
    """Names of the BatchNorms ahead of a ReLU6."""
    names = set()
    for name, module in net.named_modules():
        if isinstance(module, nn.Sequential) and any(isinstance(m, nn.ReLU6) for m in module):
            names.add(name + ".1")
    return names


def set_weights(net, kind):
    """smooth: gamma 0.4 and beta 3 ahead of each ReLU6; depthwise filters around 0.5 in the middle,
    because where a filter's sum is near zero little but rounding is left of those threes. kinks:
    there, of 20 channels, nine put out a constant. steady: gamma 0.08 and beta 0.5 ahead of the
    last, because with 1280 features around 3 SGD at 0.01 swings so that float32 follows float64 for
    a few steps only. ordinary: torchvision's initial weights, uniform
    of the same variance."""
    ahead = clamped(net)
    for index, (name, t) in enumerate(net.state_dict().items()):
        if name.endswith("num_batches_tracked") or "running" in name:
            continue
        noise = formula(index, *t.shape)
        if t.dim() > 1:
            if kind != "ordinary":
                bound = 1 / np.sqrt(t[0].numel())
            elif t.dim() == 4:
                bound = np.sqrt(6 / (t.shape[0] * t.shape[2] * t.shape[3]))
            else:
                bound = np.sqrt(3) * 0.01
            value = np.float32(bound) * noise
            if kind != "ordinary" and t.dim() == 4 and t.shape[1] == 1:
                value *= np.float32(0.5)
                value[:, :, 1, 1] += np.float32(0.5)
        elif name.rsplit(".", 1)[0] in ahead and kind != "ordinary":
            weight = name.endswith("weight")
            value = np.full(t.shape, 0.4 if weight else 3, dtype=np.float32)
            if kind == "steady" and name.startswith("features.18."):
                value = np.full(t.shape, 0.08 if weight else 0.5, dtype=np.float32)
            if kind == "kinks":
                for c in range(t.numel()):
                    if 8 <= c % 20 < 8 + len(KINKS):
                        value[c] = 0 if weight else KINKS[c % 20 - 8]
        else:
            value = np.full(t.shape, name.endswith("weight") and "classifier" not in name,
                            dtype=np.float32)
        t.copy_(torch.from_numpy(value))


def make_net(width, small, classes, kind):
    net = MobileNetV2(classes, width, "small" if small else "imagenet", dropout=0.0)
    set_weights(net, kind)
    return net


def batch(step, count, side):
    x = torch.from_numpy(formula(1000 + step, count, side, side, 3)).permute(0, 3, 1, 2)
    return x.contiguous()


def first_step(net, x, labels):
    logits = net(x)
    loss = F.cross_entropy(logits, labels)
    net.zero_grad()
    loss.backward()
    gradients = dict(net.named_parameters())
    rows = []
    for name, t in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        rows.append((gradients[name].grad if name in gradients else t).clone())
    return logits.detach(), rows


def twelve_steps(width, small, side, count, classes, kind, dtype):
    """Losses, and logits of another batch behind the steps."""
    net = make_net(width, small, classes, kind)
    net.to(dtype)
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=0.01), []
    for step in range(STEPS):
        labels = torch.tensor([(i * 7 + step) % classes for i in range(count)])
        loss = F.cross_entropy(net(batch(step, count, side).to(dtype)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    net.eval()
    with torch.no_grad():
        return np.array(losses), net(batch(STEPS, count, side).to(dtype)).double().numpy()


def float32_error(width, small, side, count, classes, kind, labels, rows):
    """What PyTorch's float32 is off by, over its ways to compute a convolution."""
    squares = np.zeros(len(rows))
    for onednn in True, False:
        for layout in torch.contiguous_format, torch.channels_last:
            net = make_net(width, small, classes, kind)
            net.to(memory_format=layout)
            with torch.backends.mkldnn.flags(enabled=onednn):
                x = batch(0, count, side).contiguous(memory_format=layout)
                _, found = first_step(net, x, labels)
            squares += [(a.double() - b).norm().item() ** 2 for a, b in zip(found, rows)]
    return np.sqrt(squares / 4)


def case(out, name, width, small, side, count, steps, classes=10):
    out[name + ".arch"] = np.array([width, small, side, count, classes])
    for kind in "smooth", "kinks", "ordinary":
        if kind == "kinks" and not small:
            continue  # a constant channel of 1x1 pixels has no variance
        net = make_net(width, small, classes, kind)
        net.double()
        labels = torch.tensor([i * 7 % classes for i in range(count)])
        logits, rows = first_step(net, batch(0, count, side).double(), labels)
        key = f"{name}.{kind}"
        out[key + ".logits"] = logits.numpy()
        out[key + ".sketch"] = np.stack([sketch(i, row) for i, row in enumerate(rows)])
        out[key + ".norm"] = np.array([row.norm().item() for row in rows])
        out[key + ".error"] = float32_error(width, small, side, count, classes, kind, labels, rows)
    losses, logits = twelve_steps(width, small, side, count, classes, steps, torch.float64)
    found, found_logits = twelve_steps(width, small, side, count, classes, steps, torch.float32)
    key = f"{name}.{steps}"
    out[key + ".losses"], out[key + ".eval"] = losses, logits
    out[key + ".losses_error"] = np.maximum.accumulate(np.abs(found - losses))
    out[key + ".eval_error"] = np.linalg.norm(found_logits - logits)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", metavar="FILE", help="the whole width, into FILE")
    full = parser.parse_args().full
    out = {}
    if full:
        case(out, "0", 1.0, True, 32, 5, "smooth")
        case(out, "1", 1.0, False, 32, 8, "steady")
        case(out, "2", 1.0, False, 64, 5, "smooth")
    else:
        case(out, "0", 0.5, True, 32, 5, "smooth")
        case(out, "1", 0.5, False, 32, 8, "steady")
        case(out, "2", 0.25, True, 33, 8, "steady")
        case(out, "3", 0.35, False, 45, 5, "smooth")
        case(out, "4", 0.25, False, 64, 8, "steady")
    save(os.path.abspath(full) if full else os.path.join(HERE, "nn_mobilenet.safetensors"), out)


if __name__ == "__main__":
    main()
