#!/usr/bin/env python3
"""Inference in float32 and in int8: hearsay and ONNX Runtime in turn, same weights, batch and
threads.

The network is drawn and exported by PyTorch as ONNX, for ONNX Runtime (all graph optimisations,
BatchNorm folded, threads that spin, fixed batch), and as safetensors, for hearsay. For int8,
`hearsay quantize` converts it and `hearsay export` writes it as ONNX (QDQ); hearsay's int8 runs
against ONNX Runtime's, in the setting that a trial finds fastest, and against its float32. Logits of
both on the same pictures must agree before anything is timed: in int8 those of ONNX Runtime's exact
setting (session.x64quantprecision=1) to the last bits. Its other settings saturate on x86 CPUs
without VNNI, so that the fastest exact one is raced as well where it is not the fastest of all; how
far each one's logits are off is in the JSON, beside its speed in the trial.

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
# Of the logits, relative to the largest of them where that is above 1.
TOLERANCE = 1e-3
TOLERANCE_INT8 = 1e-6
CALIBRATION = "synthetic:1:200"  # what int8 is calibrated on
SETTINGS = {"default": [], "NCHW": ["--level", "extended"], "exact": ["--exact"],
            "exact, NCHW": ["--exact", "--level", "extended"]}


def export(net, folder):
    """Writes the network in both formats; returns the files' name without ending."""
    words = net.split(":")
    stem = os.path.join(folder, net.replace(":", "-"))
    options = ["--model", words[0], "--input", words[-1]]
    options += ["--strides", words[1]] if len(words) == 3 else []
    subprocess.run([sys.executable, "-W", "ignore", versus.HERE / "rival_onnxruntime.py", "export",
                    stem, *options], check=True, env=versus.environment(1))
    return stem


def make_pictures(options, folder):
    """SPEC of pictures whose classes are called 0 to 9, as the network's are."""
    pictures = os.path.join(folder, "pictures")
    subprocess.run([options.hearsay, "data", "make", CALIBRATION, "--out", pictures], check=True,
                   stdout=subprocess.PIPE)
    for number, name in enumerate(sorted(os.listdir(pictures))):
        os.rename(os.path.join(pictures, name), os.path.join(pictures, str(number)))
    return "folder:" + pictures


def quantize(options, stem, pictures):
    """Writes the network in int8, in both formats; returns the files' name without ending."""
    out = stem + "-quantized"
    subprocess.run([options.hearsay, "quantize", stem + ".safetensors", "--data", pictures,
                    "--precisions", "int8", "--out", out], check=True, stdout=subprocess.PIPE)
    stem = os.path.join(out, "model-int8")
    subprocess.run([options.hearsay, "export", stem + ".safetensors", "--onnx", stem + ".onnx"],
                   check=True, stdout=subprocess.PIPE)
    return stem


def start(stem, batch, threads, setting="default"):
    return versus.Rival([sys.executable, versus.HERE / "rival_onnxruntime.py", "run",
                         stem + ".onnx", "--batch", batch, "--threads", threads, "--wait",
                         *SETTINGS[setting]], threads)


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


def hearsay_command(options, stem, batch, threads):
    return [options.hearsay, "bench", "infer", stem + ".safetensors", "--batch", batch, "--threads",
            threads]


def result_of(case, rival, theirs, ours):
    result = {**case, "onnxruntime": rival.ready["version"], **versus.compare(theirs, ours),
              "rival_blocks": theirs, "hearsay_blocks": ours}
    print(title(result), "done", flush=True)
    return result


def race_float(options, net, stem, batch, threads):
    rival = start(stem, batch, threads)
    try:
        difference = compare_logits(rival, options, stem, batch)
        if not difference <= TOLERANCE:
            sys.exit(f"{net}, N = {batch}: logits differ by {difference:.2e}: nothing to compare")
        theirs, ours = versus.pairs(rival, hearsay_command(options, stem, batch, threads),
                                    options.pairs, options.seconds)
    finally:
        rival.close()
    case = {"net": net, "precision": "fp32", "batch": batch, "threads": threads, "against": "fp32",
            "setting": "default", "logits_difference": difference}
    return [result_of(case, rival, theirs, ours)]


def try_settings(options, net, stem, batch, threads):
    """What each setting gives in a short trial: {setting: images_per_s, logits_difference}."""
    trial = {}
    for setting in SETTINGS:
        rival = start(stem, batch, threads, setting)
        try:
            difference = compare_logits(rival, options, stem, batch)
            speed = max(rival.measure(options.seconds / 2)["images_per_s"] for _ in range(2))
        finally:
            rival.close()
        if setting.startswith("exact") and not difference <= TOLERANCE_INT8:
            sys.exit(f"{net} in int8, N = {batch}: logits differ by {difference:.2e} from ONNX "
                     f"Runtime's ({setting}): nothing to compare")
        trial[setting] = {"images_per_s": speed, "logits_difference": difference}
    return trial


def race_int8(options, net, stem, float_stem, batch, threads):
    trial = try_settings(options, net, stem, batch, threads)
    settings = sorted(trial, key=lambda setting: trial[setting]["images_per_s"], reverse=True)
    exact = next(setting for setting in settings if setting.startswith("exact"))
    against = {"int8": settings[0], "exact": exact, "fp32": "default"}
    if settings[0] == exact:
        del against["exact"]
    rivals = [start(float_stem if kind == "fp32" else stem, batch, threads, setting)
              for kind, setting in against.items()]
    try:
        theirs, ours = versus.in_turn(rivals, hearsay_command(options, stem, batch, threads),
                                      options.pairs, options.seconds)
    finally:
        for rival in rivals:
            rival.close()
    case = {"net": net, "precision": "int8", "batch": batch, "threads": threads, "trial": trial,
            "logits_difference": trial[exact]["logits_difference"]}
    return [result_of({**case, "against": kind, "setting": setting}, rival, answers, ours)
            for (kind, setting), rival, answers in zip(against.items(), rivals, theirs)]


def race(options, net, stems, batch, threads):
    results = []
    if "fp32" in options.precision:
        results += race_float(options, net, stems["fp32"], batch, threads)
    if "int8" in options.precision:
        results += race_int8(options, net, stems["int8"], stems["fp32"], batch, threads)
    return results


def title(r):
    kind = r["precision"] if r["precision"] == r["against"] else f"{r['precision']}/{r['against']}"
    return f"{r['net']} {kind}, N {r['batch']}, t {r['threads']}"


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    versus.add_options(parser, 2.0)
    parser.add_argument("--net", nargs="+", default=NETS, help=" ".join(NETS))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--precision", nargs="+", choices=["fp32", "int8"],
                        default=["fp32", "int8"])
    parser.add_argument("--quick", action="store_true", help="two short pairs: does it work at all")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.seconds = 2, 0.5
    return options


def main():
    options = parse()
    machine = versus.cpu()
    with tempfile.TemporaryDirectory(prefix="hearsay-versus-") as folder:
        results = []
        pictures = make_pictures(options, folder) if "int8" in options.precision else None
        for net in options.net:
            stems = {"fp32": export(net, folder)}
            if pictures:
                stems["int8"] = quantize(options, stems["fp32"], pictures)
            for threads in options.threads:
                for batch in options.batch:
                    results += race(options, net, stems, batch, threads)
    print(f"\nInference; pictures a second; precision of hearsay/of ONNX Runtime, N pictures at once, "
          f"t threads; ONNX Runtime {results[0]['onnxruntime']}, its setting behind; "
          f"{machine['cpu']}, {machine['cores']} cores, hearsay's level "
          f"{results[0]['hearsay_cpu_level']}; logits differ by "
          f"{max(r['logits_difference'] for r in results):.1e} at most\n{versus.HEADER}")
    for r in results:
        print(versus.row(title(r), r), "", r["setting"])
    versus.write_json(options.json, {**machine, "results": results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
