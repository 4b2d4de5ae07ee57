#!/usr/bin/env python3
"""Inference in float32: hearsay and ONNX Runtime in turn, same weights, batch and threads.

The network is drawn and exported by PyTorch as ONNX, for ONNX Runtime (all graph optimisations,
BatchNorm folded, threads that spin, fixed batch), and as safetensors, for hearsay. Logits of both on
the same pictures must agree before anything is timed.

    /usr/bin/python3 -m venv build/venv-bench
    build/venv-bench/bin/pip install torch onnx onnxruntime safetensors numpy
    cmake --preset release && cmake --build --preset release
    build/venv-bench/bin/python bench/versus_onnxruntime.py

--quick is a smoke test.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy
from safetensors.numpy import load_file

import versus

NETS = ["mobilenet_v2:small:32", "mobilenet_v2:imagenet:32"]
TOLERANCE = 1e-3  # of the logits, relative to the largest of them where that is above 1


def export(net, folder):
    """Writes the network in both formats; returns the files' name without ending."""
    words = net.split(":")
    stem = os.path.join(folder, net.replace(":", "-"))
    options = ["--model", words[0], "--input", words[-1]]
    options += ["--strides", words[1]] if len(words) == 3 else []
    subprocess.run([sys.executable, "-W", "ignore", versus.HERE / "rival_onnxruntime.py", "export",
                    stem, *options], check=True, env=versus.environment(1))
    return stem


def compare_logits(rival, options, stem, batch):
    """The largest difference over the largest logit, or over 1."""
    sample, x, logits = (stem + end for end in ("-sample.safetensors", "-x.npy", "-logits.npy"))
    versus.hearsay([options.hearsay, "bench", "infer", stem + ".safetensors", "--batch", batch,
                    "--threads", 1, "--repeats", 1, "--out", sample, "--json"])
    tensors = load_file(sample)
    numpy.save(x, numpy.ascontiguousarray(tensors["x"].transpose(0, 3, 1, 2)))
    rival.ask(f"logits {x} {logits}")
    theirs = numpy.load(logits)
    difference = numpy.abs(theirs - tensors["logits"]).max()
    return float(difference / max(1.0, numpy.abs(theirs).max()))


def race(options, net, stem, batch, threads):
    shared = ["--batch", batch, "--threads", threads]
    rival = versus.Rival([sys.executable, versus.HERE / "rival_onnxruntime.py", "run",
                          stem + ".onnx", *shared, "--wait"], threads)
    try:
        difference = compare_logits(rival, options, stem, batch)
        if not difference <= TOLERANCE:
            sys.exit(f"{net}, N = {batch}: logits differ by {difference:.2e}: nothing to compare")
        command = [options.hearsay, "bench", "infer", stem + ".safetensors", *shared]
        theirs, ours = versus.pairs(rival, command, options.pairs, options.seconds)
    finally:
        rival.close()
    result = {"net": net, "batch": batch, "threads": threads, "onnxruntime": rival.ready["version"],
              "logits_difference": difference, **versus.compare(theirs, ours),
              "rival_blocks": theirs, "hearsay_blocks": ours}
    print(title(result), "done", flush=True)
    return result


def title(r):
    return f"{r['net']}, N = {r['batch']}, {r['threads']} thread{'s' if r['threads'] > 1 else ''}"


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    versus.add_options(parser, 2.0)
    parser.add_argument("--net", nargs="+", default=NETS, help=" ".join(NETS))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--quick", action="store_true", help="two short pairs: does it work at all")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.seconds = 2, 0.5
    return options


def main():
    options = parse()
    machine = versus.cpu()
    with tempfile.TemporaryDirectory(prefix="hearsay-versus-") as folder:
        stems = {net: export(net, folder) for net in options.net}
        results = [race(options, net, stems[net], batch, threads) for threads in options.threads
                   for net in options.net for batch in options.batch]
    print(f"\nInference, float32; pictures a second; ONNX Runtime {results[0]['onnxruntime']}; "
          f"{machine['cpu']}, {machine['cores']} cores, "
          f"hearsay's level {results[0]['hearsay_cpu_level']}; logits differ by "
          f"{max(r['logits_difference'] for r in results):.1e} at most\n{versus.HEADER}")
    for r in results:
        print(versus.row(title(r), r))
    versus.write_json(options.json, {**machine, "results": results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
