#!/usr/bin/env python3
"""What quantization-aware training wins back where rounding after training loses: the consensus of a run
on class folders, at fewer bits of weight or with one weight scale a layer, by `hearsay quantize`.

    bench/quantization_aware.py HEARSAY RUN [--train N] [--epochs N] [--threads N] [--json FILE]

RUN is a run folder with config.yaml and consensus.safetensors (data.source: folder). All are tested on
the run's common test set; calibration and training take the same N pictures of the peers' training parts,
which the test has none of. The line of 8 bits shows what training on wins by itself."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

SETTINGS = [("8 bits", []), ("4 bits", ["--weight-bits", "4"]),
            ("4 bits, a scale a layer", ["--weight-bits", "4", "--per-tensor"]),
            ("3 bits", ["--weight-bits", "3"])]


def link(folder, root, names):
    for name in names:
        os.makedirs(os.path.join(folder, os.path.dirname(name)), exist_ok=True)
        os.symlink(os.path.join(root, name), os.path.join(folder, name))


def split(hearsay, run, work, count):
    """Folders of links: the test set, and `count` training pictures drawn from all peers' parts."""
    config = os.path.join(run, "config.yaml")
    parts = json.loads(subprocess.run([hearsay, "data", "split", config, "--json"], check=True,
                                      stdout=subprocess.PIPE).stdout)
    root = next(line.split(":", 1)[1].strip().strip('"') for line in open(config)
                if line.strip().startswith("root:"))
    train = sorted(name for peer in parts["peers"] for name in peer["train"])
    train = random.Random(1).sample(train, min(count, len(train)))
    link(os.path.join(work, "test"), root, parts["test"])
    link(os.path.join(work, "train"), root, train)
    return len(parts["test"]), len(train)


def measure(args, work, options):
    """Accuracies in per cent by name."""
    command = [args.hearsay, "quantize", os.path.join(args.run, "consensus.safetensors"),
               "--data", f"folder:{work}/test", "--calibration-data", f"folder:{work}/train",
               "--precisions", "int8", "--qat-epochs", str(args.epochs), "--seconds", "0",
               "--threads", str(args.threads), "--out", f"{work}/out", "--json"] + options
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return {r["name"]: 100 * r["accuracy"] for r in json.loads(text)["results"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hearsay")
    parser.add_argument("run")
    parser.add_argument("--train", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as work:
        test, train = split(args.hearsay, args.run, work, args.train)
        print(f"{test} pictures to test on, {train} to train on, {args.epochs} epochs\n"
              f"{'weights':<24} {'float32':>9} {'rounded':>9} {'trained':>9}")
        for name, options in SETTINGS:
            got = measure(args, work, options)
            after = got["int8-per-tensor" if "--per-tensor" in options else "int8"]
            rows.append({"weights": name, "float32": got["fp32"], "rounded": after,
                         "trained": got["int8-qat"]})
            print(f"{name:<24} {got['fp32']:>7.2f} % {after:>7.2f} % {got['int8-qat']:>7.2f} %",
                  flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"test": test, "train": train, "epochs": args.epochs, "rows": rows}, file, indent=2)
            file.write("\n")
    lost = [r for r in rows[1:] if r["float32"] - r["rounded"] > 1]
    kept = [r for r in lost if r["float32"] - r["trained"] <= 0.5 * (r["float32"] - r["rounded"])]
    print(f"{len(lost)} lose more than a point; of {len(kept)} training wins back half of that or more")
    return 0 if len(kept) == len(lost) else 1


if __name__ == "__main__":
    sys.exit(main())
