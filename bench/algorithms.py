#!/usr/bin/env python3
"""Algorithms and codecs beside one another where peers' data differ: CIFAR-10 at 32x32, the cnn, 16
peers on a ring, Dirichlet 0.1 and 1.0, in `hearsay simulate`.

    bench/algorithms.py --data CIFAR10_DIR [--only dpsgd,qg-dsgdm] [--alpha 0.1] [--hours H]
                        [--jobs 2] [--estimate] [--json FILE]

Each algorithm runs at its own best of three learning rates, all with momentum 0.9 and a cosine
schedule: the three run with the first seed, and the best of them with the others. So the first seed
chose the rate and is among the three that are averaged. Differences to dpsgd are paired by seed:
same split, first model and pictures.

    qg-dsgdm  its momentum follows the mixed model; the others keep their local one over exchanges
    choco     sends differences, as int8: without a codec it would be dpsgd
    int8      dpsgd, models as int8
    topk      dpsgd, the largest differences; 27 % of the weights, a byte each, and a bit for the
              place of every weight are 10 % of fp32's bytes

Peers weigh alike (gossip.weights: equal): their numbers of pictures differ up to 46 times at 0.1,
and a pass is a pass of each peer's own pictures, so what a peer has more of counts in its steps
already; W of the ring shrinks distances by 0.949 an exchange. async: a peer with fewer pictures
goes through its rounds faster, as it would. Bytes and distance (to the farther neighbour, before
mixing, mean of the peers) are those at the end of training, bytes with announcements and all;
behind it come some exchanges of the consensus, in fp32 for all.

Results are kept: interrupted, or with --hours, the script goes on where it was when it is called
again. A run whose training diverged counts as a guess, and is counted."""
import argparse
import sys

import study

ALGORITHMS = {
    "dpsgd": {"algorithm": "dpsgd"},
    "qg-dsgdm": {"algorithm": "qg-dsgdm"},
    "push-sum": {"algorithm": "push-sum"},
    "async": {"algorithm": "async"},
    "choco": {"algorithm": "choco", "codec": "int8"},
    "int8": {"algorithm": "dpsgd", "codec": "int8"},
    "topk": {"algorithm": "dpsgd", "codec": "topk", "keep": 0.27},
}
# Around what SGD with momentum 0.9 and batches of 32 bears; 0.003 was the worst for all at 0.1 and
# gave way to 0.1. A best one at an end of its grid is marked: then --lr says others.
RATES = {name: [0.01, 0.03, 0.1] for name in ALGORITHMS}
RATES["qg-dsgdm"] = [0.03, 0.1, 0.3]  # its momentum grows over rounds, so its steps are shorter


def case(args, name, alpha, lr, seed):
    config = study.configuration(
        args, seed, lr, peers={"count": args.peers}, data={"partition": f"dirichlet({alpha})"},
        gossip=dict(ALGORITHMS[name], topology="ring"), train={"schedule": "cosine"},
        consensus={"distance": 0.005, "rounds_max": 300})
    return f"{name}, alpha {alpha}, lr {lr:g}, seed {seed}", config


def best_rate(args, runs, name, alpha):
    """The rate that was best at the first seed; None before all have run."""
    found = {lr: runs.kept(case(args, name, alpha, lr, args.seeds[0])[1])
             for lr in args.rates[name]}
    if not all(found.values()):
        return None
    return max(found, key=lambda lr: study.accuracy(found[lr]))


def of_peers(found, key):
    """The mean over peers and over those of `found` that came to their end."""
    values = [p[key] for f in found for p in f.get("peers", []) if p[key] is not None]
    return study.mean(values) if values else float("nan")


def row(args, runs, name, alpha):
    """What is known of an algorithm at an alpha, or None as long as that is not all."""
    lr = best_rate(args, runs, name, alpha)
    if lr is None:
        return None
    found = [runs.kept(case(args, name, alpha, lr, s)[1]) for s in args.seeds]
    if not all(found):
        return None
    values = [study.accuracy(f) for f in found]
    grid = args.rates[name]
    return {"algorithm": name, "alpha": alpha, "lr": lr, "failed": study.failed(found),
            "edge": len(grid) > 1 and lr in (min(grid), max(grid)),
            "grid": {g: study.accuracy(runs.kept(case(args, name, alpha, g, args.seeds[0])[1]))
                     for g in grid},
            "accuracy": values, "distance": of_peers(found, "distance"),
            "bytes": of_peers(found, "bytes"),
            "model_bytes": runs.model_bytes(case(args, name, alpha, lr, args.seeds[0])[1]),
            "ended": [f["ended"] for f in found]}


def report(args, runs):
    results, body = [], []
    for alpha in args.alpha:
        base = row(args, runs, "dpsgd", alpha)
        for name in args.only:
            r = row(args, runs, name, alpha)
            if r is None:
                body.append([alpha, name] + ["not run"] + [""] * 6)
                continue
            results.append(r)
            less = share = model = "dpsgd not run"
            if base:
                r["to_dpsgd"] = [a - b for a, b in zip(r["accuracy"], base["accuracy"])]
                r["share"] = r["bytes"] / base["bytes"]
                less = study.cell(r["to_dpsgd"], "+.2f") if name != "dpsgd" else ""
                share = f"{100 * r['share']:.1f} %"
                model = f"{100 * r['model_bytes'] / base['model_bytes']:.1f} %"
            body.append([alpha, name, f"{r['lr']:g}{' (edge)' if r['edge'] else ''}",
                         study.cell(r["accuracy"]) + r["failed"], less,
                         f"{r['distance']:.3g}", f"{r['bytes'] / 1e6:.2f}", share, model])
    print(f"\n{args.peers} peers on a ring, {args.pictures} pictures, {args.epochs} passes in "
          f"{args.epochs * args.epoch_rounds} rounds, {len(args.seeds)} seeds, ± standard error; "
          f"lr: the best of three at seed {args.seeds[0]}, (edge): of the grid")
    print(study.table(["alpha", "algorithm", "lr", "accuracy, %", "to dpsgd, points", "distance",
                       "MB sent a peer", "of fp32's", "a model alone"], body))
    runs.write({"peers": args.peers, "seeds": args.seeds, "results": results})
    return len(results) == len(args.only) * len(args.alpha)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    study.add_options(parser, "algorithms", 50000, 5, 6)
    parser.add_argument("--only", default=",".join(ALGORITHMS), help="algorithms of the above")
    parser.add_argument("--alpha", default="0.1,1.0")
    parser.add_argument("--peers", type=int, default=16)
    parser.add_argument("--lr", help="learning rates for all, instead of each one's own")
    args = parser.parse_args()
    args.only, args.alpha = args.only.split(","), args.alpha.split(",")
    args.seeds = [int(s) for s in args.seeds.split(",")]
    args.rates = {n: [float(r) for r in args.lr.split(",")] for n in RATES} if args.lr else RATES
    runs = study.Study(args)
    search = [case(args, n, a, lr, args.seeds[0]) for a in args.alpha for n in args.only
              for lr in args.rates[n]]
    if not runs.announce(search, len(args.only) * len(args.alpha) * (len(args.seeds) - 1)):
        return 0
    for alpha in args.alpha:
        runs.run_all([case(args, n, alpha, lr, args.seeds[0]) for n in args.only
                      for lr in args.rates[n]])
        best = {n: best_rate(args, runs, n, alpha) for n in args.only}
        runs.run_all([case(args, n, alpha, best[n], s) for s in args.seeds[1:] for n in args.only
                      if best[n] is not None])
    if report(args, runs):
        return 0
    print("not all runs were made: call again to go on")
    return 1


if __name__ == "__main__":
    sys.exit(main())
