#!/usr/bin/env python3
"""Makes tests/golden/nn_layers.safetensors and nn_cnn.safetensors with PyTorch (1.13 was used):
run `python3 tests/golden/nn_golden.py` in the repository. Inputs and weights come from a formula
that tests/nn/support.h repeats, so the files hold results only."""
import json
import os
import struct

import numpy as np
import torch
import torch.nn.functional as F

from torch_nets import Cnn

HERE = os.path.dirname(os.path.abspath(__file__))
torch.set_num_threads(1)


def formula(stream, *shape):
    """Uniform in [-1, 1): splitmix64 of (stream, index), its top 24 bits."""
    n = int(np.prod(shape)) if shape else 1
    with np.errstate(over="ignore"):
        z = np.uint64(stream << 32) + np.arange(n, dtype=np.uint64)
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    return (np.float32(2) * u - np.float32(1)).reshape(shape)


def save(name, tensors):
    header, data = {}, b""
    for key, value in tensors.items():
        value = np.ascontiguousarray(value, dtype=np.float32)
        header[key] = {"dtype": "F32", "shape": list(value.shape),
                       "data_offsets": [len(data), len(data) + value.nbytes]}
        data += value.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def nhwc(t):
    return t.detach().permute(0, 2, 3, 1).numpy() if t.dim() == 4 else t.detach().numpy()


def picture(stream, n, h, w, c):
    """A tensor whose NHWC memory is the formula's."""
    x = torch.from_numpy(formula(stream, n, h, w, c)).permute(0, 3, 1, 2).contiguous()
    return x.requires_grad_()


def parameter(stream, *shape, scale=1.0):
    return torch.from_numpy(formula(stream, *shape) * np.float32(scale)).requires_grad_()


def back(out, name, y, stream, inputs):
    """Records y and the gradients of sum(y * formula), the formula running over y's NHWC memory."""
    weight = formula(stream, *nhwc(y).shape)
    weight = torch.from_numpy(weight)
    y.backward(weight.permute(0, 3, 1, 2) if y.dim() == 4 else weight)
    out[name + ".y"] = nhwc(y)
    for key, t in inputs.items():
        out[f"{name}.{key}"] = nhwc(t.grad) if key == "dx" else t.grad.numpy()


# name, N, H, W, C, O, kernel, stride, pad, groups: the test reads the same table
CONVS = [("conv5", 3, 13, 11, 3, 8, 5, 1, 0, 1), ("conv3", 2, 9, 10, 17, 20, 3, 1, 0, 1),
         ("conv_pad", 2, 7, 6, 5, 33, 3, 1, 1, 1), ("conv_stride", 2, 10, 9, 4, 6, 3, 2, 1, 1),
         ("conv1", 2, 5, 7, 19, 70, 1, 1, 0, 1), ("depthwise", 2, 8, 7, 12, 12, 3, 2, 1, 12),
         ("grouped", 2, 7, 7, 6, 9, 3, 1, 1, 3)]


def layers():
    out = {}
    for name, N, H, W, C, O, K, S, P, G in CONVS:
        x, w = picture(1, N, H, W, C), parameter(2, O, C // G, K, K)
        b = parameter(3, O)
        back(out, name, F.conv2d(x, w, b, S, P, 1, G), 4, {"dx": x, "dw": w, "db": b})
    # BatchNorm in training with what follows it; sizes odd on purpose
    for name, act, pool in [("bn", None, False), ("bn_relu", F.relu, False),
                            ("bn_relu6", F.relu6, False), ("bn_relu_pool", F.relu, True),
                            ("bn_relu6_pool", F.relu6, True), ("bn_pool", None, True)]:
        x = picture(1, 4, 7, 9, 19)
        gamma, beta = parameter(2, 19, scale=4), parameter(3, 19)
        mean, var = torch.zeros(19), torch.ones(19)
        y = F.batch_norm(x, mean, var, gamma, beta, True, 0.1, 1e-5)
        y = act(y) if act else y
        y = F.max_pool2d(y, 2) if pool else y
        back(out, name, y, 4, {"dx": x, "dgamma": gamma, "dbeta": beta})
        out[name + ".mean"], out[name + ".var"] = mean.numpy(), var.numpy()
    x = picture(1, 2, 9, 8, 5)
    back(out, "max_pool", F.max_pool2d(x, 3, 2), 4, {"dx": x})
    x = picture(1, 2, 5, 6, 7)
    back(out, "avg_pool", F.adaptive_avg_pool2d(x, 1), 4, {"dx": x})
    x, w, b = parameter(1, 7, 37), parameter(2, 13, 37), parameter(3, 13)
    back(out, "dense", F.linear(x, w, b), 4, {"dx": x, "dw": w, "db": b})
    # After a flatten: x is NHWC memory, the weights PyTorch's
    x, w, b = picture(1, 3, 4, 5, 6), parameter(2, 11, 120), parameter(3, 11)
    back(out, "flatten_dense", F.linear(torch.flatten(x, 1), w, b), 4, {"dx": x, "dw": w, "db": b})
    z = parameter(1, 6, 10, scale=8)
    loss = F.cross_entropy(z, torch.tensor([3, 0, 9, 5, 5, 1]))
    loss.backward()
    out["cross_entropy.loss"], out["cross_entropy.dz"] = loss.detach().numpy(), z.grad.numpy()
    # Optimizers: 4 steps on 50 numbers with gradients from the formula
    for name, make in [
            ("adam", lambda p: torch.optim.Adam(p, lr=0.01)),
            ("adam_decay", lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1)),
            ("sgd", lambda p: torch.optim.SGD(p, lr=0.1)),
            ("sgd_momentum", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05))]:
        w = parameter(1, 50)
        optimizer = make([w])
        for step in range(4):
            w.grad = torch.from_numpy(formula(10 + step, 50))
            optimizer.step()
        out["optimizer." + name] = w.detach().numpy()
    save("nn_layers.safetensors", out)


def cnn():
    net, out, batch = Cnn(), {}, 16
    fan_in = 1
    for index, (name, t) in enumerate(net.state_dict().items()):
        if name.startswith("bn"):
            continue
        if name.endswith("weight"):
            fan_in = t[0].numel()
        bound = np.float32(1 / np.sqrt(fan_in))
        t.copy_(torch.from_numpy(bound * formula(index, *t.shape)))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    losses = []
    for step in range(5):
        x = picture(1000 + step, batch, 64, 64, 3).detach()
        labels = torch.tensor([(i * 7 + step) % 10 for i in range(batch)])
        logits = net(x)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            out["logits"] = logits.detach().numpy()
            for name, p in net.named_parameters():
                if p.numel() <= 3000:
                    out["gradient." + name] = p.grad.numpy().copy()
                out["norm." + name] = p.grad.norm().numpy()
        optimizer.step()
        losses.append(loss.item())
    out["losses"] = np.array(losses, dtype=np.float32)
    for name, t in net.state_dict().items():
        if "running" in name:
            out[name] = t.numpy()
    net.eval()
    with torch.no_grad():
        out["eval_logits"] = net(picture(2000, 3, 64, 64, 3)).numpy()
    save("nn_cnn.safetensors", out)


if __name__ == "__main__":
    layers()
    cnn()
