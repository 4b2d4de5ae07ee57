#!/usr/bin/env python3
"""One ONNX Runtime process that runs a network on random pictures and reports its speed: the rival
of bench/versus_onnxruntime.py, and of use alone:

    bench/rival_onnxruntime.py export net --model mobilenet_v2 --strides small --input 32
    bench/rival_onnxruntime.py run net.onnx --batch 16 --seconds 3

`export` draws weights, takes BatchNorm statistics on random pictures and writes them as net.onnx
and, for hearsay, net.safetensors. `run --wait` reads a number of seconds a line from standard input
and answers each with a line of JSON; the other word it knows is `logits IN OUT`: pictures
(N,3,H,W) and logits as .npy files.
"""
import argparse
import json
import sys

import numpy

import rival


def metadata(options, dropout):
    """What a reader of hearsay's model files needs: docs/formats.md."""
    strides = options.strides if options.model == "mobilenet_v2" else ""
    return {"format": "hearsay-model-1", "architecture": options.model,
            "width": repr(options.width), "strides": strides, "dropout": repr(dropout),
            "input": str(options.input), "classes": str(options.classes),
            "class_names": json.dumps([str(c) for c in range(options.classes)]),
            "mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5", "federation": "bench", "round": "0",
            "precision": "fp32"}


def export(options):
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(options.seed)
    net = rival.make_net(options)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over the batches to come
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
        elif isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, 0, 0.1)
    shape = (3, options.input, options.input)
    with torch.no_grad():
        for _ in range(4):
            net(torch.randn(32, *shape))
    net.eval()
    dropout = 0.2 if options.model == "mobilenet_v2" else 0.0
    save_file(net.state_dict(), options.stem + ".safetensors", metadata(options, dropout))
    example = torch.randn(1, *shape)
    axes = {"x": {0: "N"}, "logits": {0: "N"}}
    torch.onnx.export(net, (example,), options.stem + ".onnx", opset_version=17, input_names=["x"],
                      output_names=["logits"], dynamic_axes=axes, dynamo=False)


class Runner:
    """All graph optimisations, threads that spin (the default), input and output bound once. What
    makes a difference for INT8: --level extended keeps NCHW, --exact has x86 CPUs without VNNI
    compute what others do, by kernels that do not saturate."""

    def __init__(self, options):
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        levels = onnxruntime.GraphOptimizationLevel
        settings.graph_optimization_level = (levels.ORT_ENABLE_ALL if options.level == "all"
                                             else levels.ORT_ENABLE_EXTENDED)
        if options.exact:
            settings.add_session_config_entry("session.x64quantprecision", "1")
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.add_free_dimension_override_by_name("N", options.batch)
        self.session = onnxruntime.InferenceSession(options.onnx, settings,
                                                    providers=["CPUExecutionProvider"])
        self.version = onnxruntime.__version__
        self.batch = options.batch
        self.name = self.session.get_inputs()[0].name
        shape = self.session.get_inputs()[0].shape[1:]
        self.x = numpy.random.default_rng(options.seed).standard_normal(
            (options.batch, *shape), numpy.float32)
        self.binding = self.session.io_binding()
        self.input = onnxruntime.OrtValue.ortvalue_from_numpy(self.x)
        self.binding.bind_ortvalue_input(self.name, self.input)
        self.binding.bind_output("logits", "cpu")

    def step(self):
        self.session.run_with_iobinding(self.binding)

    def logits(self, pictures, out):
        numpy.save(out, self.session.run(None, {self.name: numpy.load(pictures)})[0])
        return {"logits": out}

    def measure(self, seconds):
        return {**rival.measure(self.step, self.batch, seconds), "version": self.version}


def run(options):
    runner = Runner(options)
    for _ in range(options.warmup):
        runner.step()
    if not options.wait:
        print(json.dumps(runner.measure(options.seconds)))
        return
    rival.answer({"version": runner.version},
                 lambda words: (runner.logits(*words[1:]) if words[0] == "logits"
                                else runner.measure(float(words[0]))))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("export", help="writes STEM.onnx and STEM.safetensors")
    p.add_argument("stem")
    rival.add_network_options(p)
    p.add_argument("--seed", type=int, default=1)
    p = commands.add_parser("run", help="runs an ONNX file")
    p.add_argument("onnx")
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--level", choices=["all", "extended"], default="all")
    p.add_argument("--exact", action="store_true", help="session.x64quantprecision=1")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--warmup", type=int, default=10, help="runs before the clock starts")
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--wait", action="store_true", help="measure when told by standard input")
    return parser.parse_args()


def main():
    options = parse()
    (export if options.command == "export" else run)(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
