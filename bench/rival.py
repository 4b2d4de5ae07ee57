"""What the rivals of this folder, rival_pytorch.py and rival_onnxruntime.py, share: the network they
are asked for, how their steps are timed and how they answer bench/versus.py.
"""
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/golden"))


def add_network_options(parser):
    parser.add_argument("--model", choices=["cnn", "mobilenet_v2"], default="mobilenet_v2")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--strides", choices=["imagenet", "small"], default="imagenet")
    parser.add_argument("--input", type=int, default=32)
    parser.add_argument("--classes", type=int, default=10)


def make_net(options):
    """The network of add_network_options in PyTorch."""
    import torch_nets  # here, for ONNX Runtime runs without PyTorch in its memory

    return torch_nets.make(options.model, options.classes, options.width, options.strides)


def peak_memory():
    """VmHWM of this process in bytes."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0


def measure(step, batch, seconds):
    """Times step(), which handles `batch` pictures, for that long and at least once."""
    times, begin = [], time.perf_counter()
    while not times or time.perf_counter() - begin < seconds:
        at = time.perf_counter()
        step()
        times.append(time.perf_counter() - at)
    total = time.perf_counter() - begin
    return {"steps": len(times), "step_median_s": statistics.median(times),
            "step_min_s": min(times), "step_max_s": max(times),
            "images_per_s": batch / statistics.median(times),
            "images_per_s_mean": batch * len(times) / total,
            "peak_memory_bytes": peak_memory()}


def answer(ready, ask):
    """--wait: says `ready`, then answers each line of standard input with ask(its words)."""
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        print(json.dumps(ask(line.split())), flush=True)
