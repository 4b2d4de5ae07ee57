#!/usr/bin/env python3
"""Server-style federated averaging in PyTorch: the rival that bench/eurosat.sh races hearsay against.

The federation of configs/eurosat-cnn.yaml with a server in the middle: every round each client
starts from the server's model, trains it on its own pictures with an Adam of its own, and the
server takes the mean of what comes back, weighted by the clients' numbers of pictures: all float
entries, BatchNorm's statistics included; num_batches_tracked stays what it was. Clients take turns
on all threads, which on a CPU is the quickest way to run them.

    hearsay data split configs/eurosat-cnn.yaml --set data.root=DIR --json > split.json
    bench/fedavg_pytorch.py --split split.json --root DIR --json fedavg.json

Runs on PyTorch 1.13 (Debian 12: python3-torch, python3-pil) and on current ones.
"""
import time

START = time.perf_counter()  # the clock of wall_s: a user waits for the imports as well

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy
import torch
import torch.nn.functional as F
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/golden"))
from torch_nets import Cnn

SIDE = 64  # pixels


def read_picture(path):
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
        if picture.size != (SIDE, SIDE):
            picture = picture.resize((SIDE, SIDE), Image.BILINEAR)
        return numpy.asarray(picture)


class Loader:
    """Pictures of the split as uint8 tensors (n, 3, 64, 64) and labels (n)."""

    def __init__(self, root, classes, threads, memory_format):
        self.root = root
        self.classes = {name: i for i, name in enumerate(classes)}
        self.pool = ThreadPoolExecutor(threads)  # PIL decodes without Python's lock
        self.memory_format = memory_format

    def load(self, names):
        # "Forest/Forest_12.jpg", with or without the root ahead of it
        parts = [name.split("/")[-2:] for name in names]
        labels = torch.tensor([self.classes[part[0]] for part in parts])
        pixels = numpy.empty((len(names), SIDE, SIDE, 3), numpy.uint8)

        def fill(span):
            for i in span:
                pixels[i] = read_picture(os.path.join(self.root, *parts[i]))

        step = 256
        spans = [range(at, min(at + step, len(names))) for at in range(0, len(names), step)]
        for _ in self.pool.map(fill, spans):
            pass
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return images.contiguous(memory_format=self.memory_format), labels


def normalised(images):
    """(x/255 - 0.5) / 0.5"""
    return images.float().mul_(1 / 127.5).sub_(1)


def train(model, images, labels, options, generator):
    """One client's part of one round."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    for _ in range(options.epochs):
        for chosen in torch.randperm(len(labels), generator=generator).split(options.batch):
            loss = F.cross_entropy(model(normalised(images[chosen])), labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()


@torch.no_grad()
def evaluate(model, images, labels, batch=128):
    model.eval()
    loss, right = 0.0, 0
    for x, y in zip(images.split(batch), labels.split(batch)):
        logits = model(normalised(x))
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        right += (logits.argmax(1) == y).sum().item()
    return right / len(labels), loss / len(labels)


@torch.no_grad()
def average(state, client_states, weights):
    """Writes the weighted mean of the clients' float entries into the server's `state`."""
    total = sum(weights)
    for name, entry in state.items():
        if entry.is_floating_point():
            entry.zero_()
            for client, weight in zip(client_states, weights):
                entry.add_(client[name], alpha=weight / total)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--split", required=True, help="what `hearsay data split --json` wrote")
    parser.add_argument("--root", required=True, help="folder of class folders")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=2, help="local epochs a round")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels-last", action="store_true", help="NHWC in memory")
    parser.add_argument("--json", help="file for the results")
    return parser.parse_args()


def main():
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    with open(options.split) as file:
        split = json.load(file)

    loader = Loader(options.root, split["classes"], options.threads, layout)
    clients = [loader.load(peer["train"]) for peer in split["peers"]]
    test = loader.load(split["test"])
    weights = [len(labels) for _, labels in clients]
    load_s = time.perf_counter() - START
    print(f"{len(clients)} clients, {sum(weights)} pictures to train on, {len(test[1])} to test on, "
          f"PyTorch {torch.__version__}, {options.threads} threads, ready after {load_s:.1f} s",
          flush=True)

    model = Cnn(len(split["classes"])).to(memory_format=layout)
    server = {name: entry.clone() for name, entry in model.state_dict().items()}
    rounds, train_s = [], 0.0
    for number in range(1, options.rounds + 1):
        begin = time.perf_counter()
        states = []
        for i, (images, labels) in enumerate(clients):
            model.load_state_dict(server)
            generator = torch.Generator().manual_seed(
                (options.seed * 1_000_003 + number) * 1_009 + i)
            train(model, images, labels, options, generator)
            states.append({name: entry.clone() for name, entry in model.state_dict().items()})
        average(server, states, weights)
        round_s = time.perf_counter() - begin
        train_s += round_s
        model.load_state_dict(server)
        accuracy, loss = evaluate(model, *test)
        total_s = time.perf_counter() - START
        rounds.append({"round": number, "test_accuracy": accuracy, "test_loss": loss,
                       "train_s": round_s, "total_s": total_s})
        print(f"round {number:3d}  test accuracy {100 * accuracy:6.2f} %  loss {loss:.4f}  "
              f"training {round_s:7.1f} s  total {total_s:7.1f} s", flush=True)

    wall_s = time.perf_counter() - START
    print(f"wall {wall_s:.1f} s, of it loading {load_s:.1f} s, training {train_s:.1f} s")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rounds": rounds, "wall_s": wall_s, "load_s": load_s, "train_s": train_s,
                       "threads": options.threads, "channels_last": options.channels_last,
                       "torch": torch.__version__, "seed": options.seed}, file, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
