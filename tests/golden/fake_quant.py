#!/usr/bin/env python3
"""Makes tests/golden/nn_fake_quant.safetensors with PyTorch (1.13 was used): run
`python3 tests/golden/fake_quant.py` in the repository. Activations rounded to uint8 and weights to int8
by channel as quantization-aware training does, forward and backward. Inputs come from nn_golden.py's
formula, so the file holds results only."""
import numpy as np
import torch

import nn_golden
from nn_golden import formula, parameter

# The tests read the same tables.
CASES = [("relu6", 6 / 255, 0), ("signed", 0.0123, 97), ("narrow", 0.003, 200), ("negative", 0.02, 255)]
WEIGHTS, BITS = (7, 45), [8, 4, 2]


def activations(out):
    for name, scale, zero in CASES:
        x = parameter(1, 3001, scale=8)
        y = torch.fake_quantize_per_tensor_affine(x, float(np.float32(scale)), zero, 0, 255)
        y.backward(torch.from_numpy(formula(4, 3001)))
        out[name + ".y"], out[name + ".dx"] = y.detach().numpy(), x.grad.numpy()


def weights(out):
    for bits in BITS:
        levels = 2 ** (bits - 1) - 1
        w = parameter(2, *WEIGHTS, scale=0.3)
        scale = w.detach().abs().amax(1) / levels
        zero = torch.zeros(WEIGHTS[0], dtype=torch.int32)
        q = torch.fake_quantize_per_channel_affine(w, scale, zero, 0, -levels, levels)
        q.backward(torch.from_numpy(formula(5, *WEIGHTS)))
        out[f"weights{bits}"], out[f"weights{bits}.d"] = q.detach().numpy(), w.grad.numpy()


if __name__ == "__main__":
    tensors = {}
    activations(tensors)
    weights(tensors)
    nn_golden.save("nn_fake_quant.safetensors", tensors)
