#!/usr/bin/env python3
"""What `hearsay export` writes, in ONNX's checker and in ONNX Runtime: interop_onnx.py INTEROP_ONNX HEARSAY.
  FP32, FP16  hearsay's logits to 1e-4, and no Cast left at run time
  INT8        everything fused to integers, and then the same uint8 values at every layer and the same
              logits to 1e-6 as quant_integer_reference and as the engine at each of this CPU's levels;
              not optimized, computed in floats, about the same logits
Both networks and both strides, ten pictures each. Integer models are calibrated ones, and ones of random
weights and scales, half of them powers of 2, where many values to round are ties.

ONNX Runtime's kernels for uint8 times int8 saturate on x86 CPUs without VNNI (vpmaddubsw): the session
option session.x64quantprecision=1 makes them exact there, and does nothing elsewhere.
Exit status 77: skipped.

interop_onnx.py INTEROP_ONNX HEARSAY SPEC MODEL... checks these files, of any precision, on ten pictures that
lie evenly in SPEC."""
import collections
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime
    from safetensors import safe_open
    from safetensors.numpy import load_file
except ImportError as problem:
    print(f"SKIPPED: {problem}. To run it: tools/test, or .venv/bin/pip install --no-deps with the packages "
          "that it names")
    sys.exit(77)

if tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) < (1, 30):
    print(f"SKIPPED: ONNX Runtime {onnxruntime.__version__}: 1.30 and later is known to be right")
    sys.exit(77)

NETS = [("cnn", "-", 64), ("mobilenet_v2", "small", 32), ("mobilenet_v2", "imagenet", 64)]
LEVELS = ["c", "avx2", "avxvnni", "avx512", "vnni", "amx"]
PICTURES = 10
Levels = onnxruntime.GraphOptimizationLevel
FUSED = {"cnn": {"QLinearConv": 3, "QGemm": 3},
         "mobilenet_v2": {"QLinearConv": 52, "QLinearAdd": 10, "QLinearGlobalAveragePool": 1, "QGemm": 1}}
# What may stand beside them: nothing that computes in floats.
BESIDE = {"QuantizeLinear", "MaxPool", "NhwcMaxPool", "Flatten", "Transpose"}


def run(*command, **variables):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, env=dict(os.environ, **variables))
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stderr}")
    return done.stdout


def session(path, level=Levels.ORT_ENABLE_ALL, save=None):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # a saved graph is for this machine: known
    options.add_session_config_entry("session.x64quantprecision", "1")
    if save:
        options.optimized_model_filepath = save
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def pictures(sample):
    return np.ascontiguousarray(sample["x"].transpose(0, 3, 1, 2))


def check_file(path, arch, precision):
    """The checker, and what a reader finds in the file."""
    name, strides, side, classes = arch
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 7 and [(o.domain, o.version) for o in model.opset_import] == [("", 13)], model
    graph = model.graph
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in [*graph.input, *graph.output]}
    assert shapes == {"input": ["N", 3, side, side], "logits": ["N", classes]}, shapes
    said = {p.key: p.value for p in model.metadata_props}
    assert said["architecture"] == name and said["precision"] == precision, said
    assert said["strides"] == strides.replace("-", "") and said["input"] == str(side), said
    assert len(json.loads(said["class_names"])) == classes, said
    return model


def check_metadata(path):
    said = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert json.loads(said["class_names"]) == [str(i) for i in range(10)], said
    assert said["mean"] == said["std"] == "0.5,0.5,0.5", said
    assert said["federation"] == "interop" and said["round"] == "3", said


def export(hearsay, model, arch, precision):
    """MODEL's ONNX file, which is the same every time."""
    path, again = model + ".onnx", model + ".again"
    run(hearsay, "export", model, "--onnx", path)
    run(hearsay, "export", model, "--onnx", again)
    assert filecmp.cmp(path, again, shallow=False), f"{path}: two exports of one model differ"
    return path, check_file(path, arch, precision)


def check_float(program, hearsay, model, arch, precision, *spec):
    path, _ = export(hearsay, model, arch, precision)
    sample = model + ".sample"
    run(program, "run", model, PICTURES, sample, *spec)
    ours = load_file(sample)
    optimized = model + ".optimized"
    runner = session(path, save=optimized)
    theirs = runner.run(None, {"input": pictures(ours)})[0]
    off = np.abs(theirs - ours["logits"].reshape(theirs.shape)).max()
    ops = collections.Counter(node.op_type for node in onnx.load(optimized).graph.node)
    assert "Cast" not in ops and "DequantizeLinear" not in ops, ops
    one = runner.run(None, {"input": pictures(ours)[:1]})[0]
    assert one.shape == (1, arch[3]), one.shape
    print(f"{' '.join(map(str, arch))} {precision}: logits up to {np.abs(theirs).max():.3g}, largest difference "
          f"{off:.3g}, {os.path.getsize(path)} bytes")
    if not off < 1e-4:
        sys.exit(f"{path}: {off} is not below 1e-4")


def expose(graph):
    """Makes every uint8 tensor of an optimized graph an output: {our name: (its name, stands as NHWC)}.
    ONNX Runtime names what it makes from a node NODE_token_NUMBER."""
    found, last = {}, {}
    for node in graph.node:
        attributes = {a.name: a.i for a in node.attribute}
        taken = node.input[0]
        nhwc = last.get(taken, False)  # of what is neither: as its input stands
        if node.op_type == "Transpose":
            nhwc = list(next(a.ints for a in node.attribute if a.name == "perm")) == [0, 2, 3, 1]
        elif node.op_type in ("QLinearConv", "QLinearGlobalAveragePool"):
            nhwc = bool(attributes.get("channels_last", 0))
        for output in node.output:
            last[output] = nhwc
        name = re.sub(r"_token_\d+$", "", node.name)
        if node.op_type == "QuantizeLinear":
            name = node.output[0].removesuffix("_quantized")
        if node.op_type != "Transpose" and node.output[0] != "logits":
            found[name] = (node.output[0], nhwc)
    del graph.output[1:]
    graph.output.extend(onnx.ValueInfoProto(name=at) for at, _ in found.values())
    return found


def compare_layers(optimized, ours, x):
    """Runs an optimized graph as it stands; how many tensors were the same."""
    model = onnx.load(optimized)
    found = expose(model.graph)
    onnx.save(model, optimized)
    names = [name for name in ours if name not in ("x", "logits")]
    missing = [name for name in names if name not in found]
    assert not missing, f"{optimized}: not found in the optimized graph: {missing}"
    values = session(optimized, Levels.ORT_DISABLE_ALL).run([found[name][0] for name in names], {"input": x})
    for name, theirs in zip(names, values):
        reference = ours[name]  # (n,H,W,C)
        if theirs.ndim == 4 and not found[name][1]:
            theirs = theirs.transpose(0, 2, 3, 1)
        theirs = theirs.reshape(reference.shape)
        assert theirs.dtype == np.uint8, (name, theirs.dtype)
        off = np.count_nonzero(theirs != reference)
        if off:
            sys.exit(f"{optimized}: {name}: {off} of {reference.size} values differ, by at most "
                     f"{np.abs(theirs.astype(int) - reference).max()}")
    return len(names)


def check_integer(program, hearsay, model, arch, what, *spec):
    path, made = export(hearsay, model, arch, "int8")
    assert not {"Relu", "Clip"} & {node.op_type for node in made.graph.node}
    sample = model + ".sample"
    run(program, "run", model, PICTURES, sample, *spec)
    ours = load_file(sample)
    all_logits = {"reference": ours["logits"]}
    for level in LEVELS:
        used = run(program, "engine", model, PICTURES, sample, *spec, HEARSAY_CPU=level).strip()
        all_logits[used] = load_file(sample)["logits"]
    x, layers, off = pictures(ours), 0, 0.0
    for level in (Levels.ORT_ENABLE_EXTENDED, Levels.ORT_ENABLE_ALL):  # NCHW and NHWC kernels
        optimized = f"{model}.optimized.onnx"
        logits = session(path, level, save=optimized).run(None, {"input": x})[0]
        ops = collections.Counter(node.op_type for node in onnx.load(optimized).graph.node)
        beside = {op: n for op, n in ops.items() if op not in FUSED[arch[0]]}
        assert {op: ops[op] for op in FUSED[arch[0]]} == FUSED[arch[0]] and set(beside) <= BESIDE, ops
        layers = compare_layers(optimized, ours, x)
        for used, theirs in all_logits.items():
            off = max(off, float(np.abs(logits - theirs.reshape(logits.shape)).max()))
            if not off <= 1e-6:
                sys.exit(f"{path}: logits differ by {off} from those of {used}")
    # As it is written, in floats: another order of roundings, the same model.
    floats = session(path, Levels.ORT_DISABLE_ALL).run(None, {"input": x})[0]
    as_floats = float(np.linalg.norm(floats - logits) / np.linalg.norm(logits))
    if not as_floats <= 0.2:
        sys.exit(f"{path}: not optimized, logits differ by {as_floats} of their norm")
    print(f"{' '.join(map(str, arch))} int8, {what}: {layers} tensors the same, logits up to "
          f"{np.abs(logits).max():.3g} differ by {off:.3g} from {', '.join(all_logits)}, "
          f"by {as_floats:.2g} of their norm where not optimized; {dict(ops)}")


def check_given(program, hearsay, spec, models):
    with tempfile.TemporaryDirectory() as folder:
        for number, model in enumerate(models):
            with safe_open(model, "np") as file:
                said = file.metadata()
            arch = (said["architecture"], said["strides"] or "-", int(said["input"]), int(said["classes"]))
            here = shutil.copy(model, os.path.join(folder, str(number)))
            if said["precision"] == "int8":
                check_integer(program, hearsay, here, arch, model, spec)
            else:
                check_float(program, hearsay, here, arch, said["precision"], spec)


def main():
    program, hearsay, *given = sys.argv[1:]
    if given:
        check_given(program, hearsay, given[0], given[1:])
        return
    print(f"ONNX {onnx.__version__}, ONNX Runtime {onnxruntime.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        for arch in NETS:
            stem = os.path.join(folder, "-".join(map(str, arch)))
            run(program, "draw", *arch, 1, stem)
            arch = (*arch, 10)
            run(program, "half", stem, stem + ".half")
            run(program, "calibrate", stem, stem + ".calibrated")
            check_float(program, hearsay, stem, arch, "fp32")
            check_metadata(stem + ".onnx")
            check_float(program, hearsay, stem + ".half", arch, "fp16")
            check_integer(program, hearsay, stem + ".calibrated", arch, "calibrated")
            for seed in (1, 2):
                run(program, "integer", *arch[:3], seed, stem + ".integer")
                check_integer(program, hearsay, stem + ".integer", arch,
                              "random" if seed % 2 else "powers of 2")


if __name__ == "__main__":
    main()
