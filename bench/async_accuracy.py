#!/usr/bin/env python3
"""Training without rounds in common, one of five peers ten times slower: what that does to the
others' rounds a second, and the consensus beside that of synchronous training on the same pictures.

    bench/async_accuracy.py --data CIFAR10_DIR|synthetic [--slow 10] [--hours H] [--jobs 2]
                            [--estimate] [--json FILE]

Three kinds of `hearsay simulate` a seed: async with the last peer slow, async without, and dpsgd
with it. All hear all, pictures are dealt evenly; others by --set data.partition='dirichlet(1.0)' or
--set gossip.topology=ring. No two peers take equally long: each takes a hundredth longer than the
one before (--spread), or else, on the virtual clock, all would end each round in the same moment,
and every model that is mixed would be a whole round old. All peers go through the same rounds of
their own pictures, the slow one too, so samples are equal; seconds are virtual. Results are kept:
an interrupted script goes on where it was."""
import argparse
import sys

import study

CASES = {"async, one slow": ("async", True), "async": ("async", False),
         "dpsgd, one slow": ("dpsgd", True)}


def case(args, name, seed):
    algorithm, slow = CASES[name]
    peers = [{"name": f"p{i + 1}", "port": 5600 + 3 * i} for i in range(args.peers)]
    for i, peer in enumerate(peers):
        peer["attack"] = f"slow({1 + i * args.spread:g})"
    if slow:
        peers[-1]["attack"] = f"slow({args.slow:g})"
    config = study.configuration(args, seed, args.lr, peers=peers,
                                 gossip={"algorithm": algorithm},
                                 consensus={"distance": 0.005, "rounds_max": 200})
    return f"{name}, seed {seed}", config


def others_rate(found):
    """Rounds a virtual second of the peers that are not slow, until each one's training ended."""
    peers = found["peers"][:-1]
    return study.mean([p["rounds"] / p["time_s"] for p in peers])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    study.add_options(parser, "async", 50000, 5, 60)
    parser.add_argument("--peers", type=int, default=5)
    parser.add_argument("--slow", type=float, default=10, help="how many times slower; 10")
    parser.add_argument("--spread", type=float, default=0.01,
                        help="how much longer than the one before each peer takes; 0.01")
    parser.add_argument("--lr", type=float, default=0.01)
    args = parser.parse_args()
    seeds = [int(s) for s in args.seeds.split(",")]
    runs = study.Study(args)
    cases = [(name, seed) for seed in seeds for name in CASES]
    labelled = [case(args, *c) for c in cases]
    if not runs.announce(labelled):
        return 0
    found = dict(zip(cases, runs.run_all(labelled)))
    if not all(found.values()):
        print("not all runs were made: call again to go on")
        return 1
    bad = [f"{n}, seed {s}: {f['ended']}: {f['why']}" for (n, s), f in found.items()
           if f["ended"] != "done"]
    if bad:
        raise SystemExit("\n".join(bad) + "\nset --lr lower")
    print(f"\n{args.peers} peers, one {args.slow:g} times slower, {args.pictures} pictures, "
          f"{args.epochs * args.epoch_rounds} rounds, {len(seeds)} seeds, ± standard error")
    print(study.table(["", "accuracy, %", "others' rounds a virtual second"], [
        [name, study.cell([study.accuracy(found[name, s]) for s in seeds]),
         study.cell([others_rate(found[name, s]) for s in seeds], ".4f")] for name in CASES]))
    change = [100 * (others_rate(found["async, one slow", s]) / others_rate(found["async", s]) - 1)
              for s in seeds]
    less = [study.accuracy(found["async, one slow", s]) -
            study.accuracy(found["dpsgd, one slow", s]) for s in seeds]
    print(f"others' rounds a second with the slow one against without: "
          f"{study.cell(change, '+.2f')} %\n"
          f"accuracy of async against dpsgd, both with it: {study.cell(less, '+.2f')} points")
    runs.write({"peers": args.peers, "slow": args.slow, "seeds": seeds, "lr": args.lr,
                "change_percent": change, "to_dpsgd": less,
                "runs": [dict(f, case=n, seed=s) for (n, s), f in found.items()]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
