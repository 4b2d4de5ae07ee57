#!/usr/bin/env python3
"""A checkpoint as training scripts leave them, written by PyTorch, and the logits PyTorch has for it:
    torch_checkpoint.py FOLDER     torch_checkpoint.pth, torch_checkpoint.txt (made with PyTorch 1.13)
A small cnn, wrapped and under "state_dict" beside an optimizer's state, in every kind of tensor that the
reader knows: float32, float16, float64, transposed, a part of a larger storage, two in one storage, expanded,
a parameter. Pixels are nn_golden.py's formula, stream 31."""
import sys

import numpy as np
import torch
import torch.nn as nn

from nn_golden import formula
from torch_nets import Cnn


def main(folder):
    torch.manual_seed(5)
    torch.set_num_threads(1)
    net = Cnn(3, (2, 4, 6), 28)  # width 1/16
    optimizer = torch.optim.SGD([net.fc3.bias], 0.1, momentum=0.9)
    net.train()
    for _ in range(3):  # statistics of its own
        optimizer.zero_grad()
        net(torch.randn(8, 3, 28, 28)).square().sum().backward()
        optimizer.step()
    with torch.no_grad():  # what float16 and a common value lose is lost ahead of the logits
        net.fc2.weight.copy_(net.fc2.weight.half().float())
        net.bn3.weight.fill_(0.75)
    state = net.state_dict()
    state["fc2.weight"] = state["fc2.weight"].half()
    state["conv2.weight"] = state["conv2.weight"].double()
    state["fc1.weight"] = state["fc1.weight"].t().contiguous().t()
    state["conv3.weight"] = state["conv3.weight"].contiguous(memory_format=torch.channels_last)
    state["fc3.weight"] = torch.cat([torch.zeros(2, 128), state["fc3.weight"]])[2:]
    both = torch.cat([state["bn1.running_mean"], state["bn1.running_var"]])
    state["bn1.running_mean"], state["bn1.running_var"] = both[:2], both[2:]
    state["bn3.weight"] = torch.tensor([0.75]).expand(6)
    state["fc1.bias"] = nn.Parameter(state["fc1.bias"])
    for name, value in list(state.items()):
        del state[name]
        state["module." + name] = value
    torch.save({"epoch": 3, "best": 0.5, "big": 1 << 70, "names": ["a", "b", "c"], "done": False,
                "state_dict": state, "optimizer": optimizer.state_dict(), "scheduler": None},
               f"{folder}/torch_checkpoint.pth")
    x = torch.from_numpy(formula(31, 4 * 28 * 28 * 3).reshape(4, 28, 28, 3)).permute(0, 3, 1, 2)
    net.eval()
    with torch.no_grad():
        np.savetxt(f"{folder}/torch_checkpoint.txt", net.double()(x.double()).numpy(), fmt="%.9g")


if __name__ == "__main__":
    main(sys.argv[1])
