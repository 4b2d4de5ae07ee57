#!/usr/bin/env python3
"""One PyTorch process that trains on random pictures and reports its speed: the rival of
bench/versus_pytorch.py, and of use alone:

    bench/rival_pytorch.py --model mobilenet_v2 --strides small --input 32 --seconds 5

With --wait it reads a number of seconds a line from standard input and answers each with a line of
JSON, keeping everything warm in between. Runs on PyTorch 1.13 and on current ones.
"""
import argparse
import json
import sys

import torch
import torch.nn.functional as F

import rival

BATCHES = 4  # different ones, so that no gradient dies away


def make_optimizer(name, model):
    """Fused where this PyTorch has that on CPUs: its quickest."""
    kinds = {"sgd": (torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9}),
             "adam": (torch.optim.Adam, {"lr": 1e-4})}
    kind, settings = kinds[name]
    try:
        return kind(model.parameters(), fused=True, **settings)
    except (TypeError, RuntimeError):
        return kind(model.parameters(), **settings)


class Trainer:
    def __init__(self, options):
        torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        self.model = rival.make_net(options).to(memory_format=layout).train()
        self.optimizer = make_optimizer(options.optimizer, self.model)
        self.forward = torch.compile(self.model) if options.compile else self.model
        shape = (options.batch, 3, options.input, options.input)
        self.images = [torch.randn(shape).contiguous(memory_format=layout)
                       for _ in range(BATCHES)]
        self.labels = [torch.randint(options.classes, (options.batch,)) for _ in range(BATCHES)]
        self.batch = options.batch
        self.steps = 0

    def step(self):
        which = self.steps % BATCHES
        loss = F.cross_entropy(self.forward(self.images[which]), self.labels[which])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.steps += 1

    def measure(self, seconds):
        return {**rival.measure(self.step, self.batch, seconds), "torch": torch.__version__}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    rival.add_network_options(parser)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true", help="NHWC in memory")
    parser.add_argument("--compile", action="store_true", help="torch.compile (needs g++)")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the clock starts")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--wait", action="store_true", help="measure when told by standard input")
    return parser.parse_args()


def main():
    options = parse()
    start_memory = rival.peak_memory()  # PyTorch itself
    trainer = Trainer(options)
    for _ in range(options.warmup):
        trainer.step()
    if not options.wait:
        print(json.dumps(trainer.measure(options.seconds)))
        return 0
    rival.answer({"torch": torch.__version__, "start_memory_bytes": start_memory},
                 lambda words: trainer.measure(float(words[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
