#!/usr/bin/env python3
"""Training speed and memory: hearsay and PyTorch in turn, same net, batch and threads, float32.

PyTorch runs in its best setting: channels_last or not, torch.compile or not (oneDNN is on in all),
under every --python given; each setting is tried first for --probe-seconds, the quickest is raced.

    /usr/bin/python3 -m venv build/venv-bench
    build/venv-bench/bin/pip install torch numpy
    cmake --preset release && cmake --build --preset release
    build/venv-bench/bin/python bench/versus_pytorch.py --python /usr/bin/python3

--python adds another PyTorch beside that of the interpreter which runs this, here Debian's
(python3-torch). torch.compile needs g++. --quick is a smoke test. Pictures a second are medians of
steps; the ratio is that of the medians over all blocks, the spread that of neighbouring blocks.
"""
import argparse
import sys

import versus

NETS = ["cnn:64", "mobilenet_v2:small:32", "mobilenet_v2:imagenet:32", "mobilenet_v2:imagenet:64"]
SETTINGS = [[], ["--channels-last"], ["--compile"], ["--channels-last", "--compile"]]


def parse_net(text):
    """cnn:64 or mobilenet_v2:STRIDES:INPUT as options that hearsay bench and the rival share."""
    words = text.split(":")
    options = ["--model", words[0], "--input", words[-1]]
    return options + (["--strides", words[1]] if len(words) == 3 else [])


def probe(options, net, threads):
    """Every setting under every Python: what it reaches, the quickest first."""
    found = []
    for python in options.python:
        for setting in SETTINGS[:2] if options.no_compile else SETTINGS:
            name = " ".join(setting) or "(none)"
            entry = {"python": python, "setting": setting}
            try:
                rival = start(options, net, threads, entry)
                try:
                    entry.update(rival.measure(options.probe_seconds))
                finally:
                    rival.close()
                print(f"    {entry['torch']:16} {name:28} {entry['images_per_s']:8.1f} pictures/s",
                      flush=True)
            except RuntimeError as error:
                entry["error"] = str(error)
                print(f"    {python} {name}: {error}", flush=True)
            found.append(entry)
    found.sort(key=lambda entry: -entry.get("images_per_s", 0))
    if "error" in found[0]:
        sys.exit("no PyTorch runs at all: give --python one that has it")
    return found


def shared(options, net, threads):
    return [*parse_net(net), "--batch", options.batch, "--threads", threads, "--optimizer",
            options.optimizer]


def start(options, net, threads, entry):
    return versus.Rival([entry["python"], versus.HERE / "rival_pytorch.py",
                         *shared(options, net, threads), *entry["setting"], "--wait"], threads)


def race(options, net, threads):
    print(f"{net}, {threads} thread{'s' if threads > 1 else ''}: settings of PyTorch", flush=True)
    probes = probe(options, net, threads)
    best = probes[0]
    rival = start(options, net, threads, best)
    try:
        command = [options.hearsay, "bench", "train", *shared(options, net, threads)]
        theirs, ours = versus.pairs(rival, command, options.pairs, options.seconds)
    finally:
        rival.close()
    return {"net": net, "threads": threads, "batch": options.batch, "optimizer": options.optimizer,
            "torch": best["torch"], "setting": best["setting"], "probes": probes,
            "rival_start_memory_bytes": rival.ready["start_memory_bytes"],
            **versus.compare(theirs, ours), "rival_blocks": theirs, "hearsay_blocks": ours}


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    versus.add_options(parser, 4.0)
    parser.add_argument("--python", action="append", default=[sys.executable],
                        help="another interpreter with PyTorch; may be given again")
    parser.add_argument("--net", nargs="+", default=NETS, help=" ".join(NETS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--probe-seconds", type=float, default=3.0)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--quick", action="store_true",
                        help="two short pairs without torch.compile: does it work at all")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.seconds, options.probe_seconds = 2, 1.0, 0.5
        options.no_compile = True
    return options


def main():
    options = parse()
    machine = versus.cpu()
    results = [race(options, net, threads) for threads in options.threads for net in options.net]
    print(f"\nTraining, float32, batch {options.batch}, {options.optimizer}; pictures a second; "
          f"{machine['cpu']}, {machine['cores']} cores, "
          f"hearsay's level {results[0]['hearsay_cpu_level']}\n{versus.HEADER}")
    for r in results:
        title = f"{r['net']}, {r['threads']} thread{'s' if r['threads'] > 1 else ''}"
        print(versus.row(title, r))
        print(f"    PyTorch {r['torch']} {' '.join(r['setting'])}".rstrip() +
              f"; {r['rival_start_memory_bytes'] / 1e6:.0f} MB of its memory before the net is made")
    versus.write_json(options.json, {**machine, "results": results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
