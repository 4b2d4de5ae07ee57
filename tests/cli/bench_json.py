#!/usr/bin/env python3
"""hearsay bench --json has the keys that readers of it need, its numbers are possible, and no step
after the first allocates. Nothing is said of speed.

usage: bench_json.py HEARSAY
"""
import json
import subprocess
import sys

KEYS = {"bench", "model", "width", "strides", "input", "classes", "precision", "batch",
        "threads", "seed", "cpu", "cpu_level", "steps", "step_median_s", "step_min_s", "step_max_s", "images_per_s",
        "operations", "gflops", "peak_memory_bytes", "allocations_after_first_step"}
TRAIN_KEYS = KEYS | {"optimizer"}
LAYERS_KEYS = {"ceilings", "layers", "pack_s"}
WAY_KEYS = {"operations", "bytes", "seconds", "gflops", "gb_s", "share", "ceiling"}


def bench(hearsay, *arguments):
    command = [hearsay, "bench", *arguments, "--json"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    print(" ".join(command), out.decode().strip())
    return json.loads(out)


def check(answer, keys, steps):
    assert set(answer) == keys, set(answer) ^ keys
    assert answer["allocations_after_first_step"] == 0
    assert answer["steps"] == steps
    assert 0 < answer["step_min_s"] <= answer["step_median_s"] <= answer["step_max_s"]
    assert abs(answer["images_per_s"] * answer["step_median_s"] / answer["batch"] - 1) < 1e-6
    assert answer["peak_memory_bytes"] > 1 << 20


def check_layers(answer, ways):
    total = 0
    for layer in answer["layers"]:
        assert {"name", "kind", "from", "to", *ways} == set(layer), layer
        for way in ways:
            assert set(layer[way]) == WAY_KEYS, layer
            assert layer[way]["bytes"] > 0 and layer[way]["seconds"] >= 0
            total += layer[way]["operations"]
    assert abs(total / answer["operations"] - 1) < 1e-6, "layers and the whole differ"
    assert all(ceiling > 0 for ceiling in answer["ceilings"].values())


def main():
    hearsay = sys.argv[1]
    small = ["--batch", "4", "--repeats", "3"]
    cnn = ["--model", "cnn", "--input", "32", "--width", "0.25"]
    mobile = ["--model", "mobilenet_v2", "--strides", "small", "--width", "0.25"]
    for threads in "1", "2":
        for net in cnn, mobile:
            check(bench(hearsay, "train", *net, *small, "--threads", threads), TRAIN_KEYS, 3)
            for precision in "fp32", "int8":
                answer = bench(hearsay, "infer", *net, *small, "--threads", threads, "--precision",
                               precision)
                check(answer, KEYS, 3)
                assert answer["precision"] == precision
    answer = bench(hearsay, "train", *mobile, *small, "--optimizer", "adam", "--layers")
    check(answer, TRAIN_KEYS | LAYERS_KEYS | {"loss_s", "optimize_s"}, 3)
    check_layers(answer, ["forward", "backward"])
    answer = bench(hearsay, "infer", *cnn, *small, "--layers")
    check(answer, KEYS | LAYERS_KEYS, 3)
    check_layers(answer, ["forward"])
    # Convolutions and dense layers of the 64-pixel cnn, by hand: 2 x (60x60x32 x 25x3 +
    # 26x26x64 x 25x32 + 11x11x96 x 9x64 + 2400x128 + 128x128 + 128x10) a picture; training does
    # it three times, but for the gradient of the pictures.
    first, rest = 60 * 60 * 32 * 75, (26 * 26 * 64 * 800 + 11 * 11 * 96 * 576 + 2400 * 128 +
                                      128 * 128 + 128 * 10)
    one = ["--model", "cnn", "--batch", "2", "--repeats", "1"]
    assert bench(hearsay, "infer", *one)["operations"] == 2 * 2 * (first + rest)
    assert bench(hearsay, "train", *one)["operations"] == 2 * 2 * (2 * first + 3 * rest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
