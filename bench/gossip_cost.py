#!/usr/bin/env python3
"""What exchanging costs a round of training: five processes that train mobilenet_v2 on 2,000
CIFAR-10 pictures each on this machine, as one federation with an exchange every round, and as five
that train alone, in turn, A B A B.

    bench/gossip_cost.py --data CIFAR10_DIR [--pairs 4] [--rounds 3] [--set gossip.codec=int8]
                         [--json FILE]

On fewer cores than peers a round's wall time holds waiting for others who train on the same core,
which is no cost of gossip, so CPU seconds are counted: of all threads of all five, from the end of
each one's first round to that of its last, from /proc. Both kinds train the same pictures in the
same number of steps, write the same checkpoints and test nothing. A peer alone encodes, digests and
sketches its model too, though nobody hears it: of those only the training thread counts. Two
figures:

    ratio      CPU seconds of a round of all threads with exchange over those of the training
               threads without, pair by pair
    by thread  CPU seconds of all threads but the one that trains (sockets, chunks, digests,
               decoding, mixing) over the same. Training's own speed, which goes up and down by
               more than gossip costs, is not in it, nor is what gossip costs the training thread:
               caches, and models handed over.

A peer trains with one thread: with train.threads its workers would count as gossip. As it is, all
takes pairs x 2 x peers x rounds x pictures, 240,000 pictures of training: some 45 CPU minutes at 90
pictures a second."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import study
import versus

TICKS = os.sysconf("SC_CLK_TCK")
POLL_S = 0.02


def cpu_seconds(stat):
    """utime + stime of a stat file of /proc."""
    fields = pathlib.Path(stat).read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Peer:
    """A `hearsay node` process, its CPU time noted at the end of each round."""

    def __init__(self, args, config, name, folder):
        self.run = folder / "run"
        self.rows, self.notes = self.run / name / "metrics.jsonl", []
        self.errors = open(folder / f"{name}.log", "w+")
        command = [args.hearsay, "node", config, "--name", name, "--run", self.run, "--quiet"]
        for word in args.set:
            command += ["--set", word]
        self.process = subprocess.Popen([str(w) for w in command], env=versus.environment(1),
                                        stdout=self.errors, stderr=self.errors,
                                        preexec_fn=versus.die_with_parent)

    def rounds(self):
        """Notes (all threads', the training thread's) seconds for each new line of metrics."""
        if self.rows.exists():
            lines = self.rows.read_bytes().count(b"\n")
            if lines > len(self.notes):
                at = f"/proc/{self.process.pid}"
                note = (cpu_seconds(f"{at}/stat"),
                        cpu_seconds(f"{at}/task/{self.process.pid}/stat"))
                self.notes += [note] * (lines - len(self.notes))
        if self.process.poll() is not None:
            self.errors.seek(0)
            raise RuntimeError(f"a peer ended early, status {self.process.returncode}:\n"
                               f"{self.errors.read()[-2000:]}")
        return len(self.notes)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()


def configuration(args, root, peers, port):
    return {"federation": "cost", "rounds": args.rounds + 1,  # the last one is never waited for
            "peers": {"count": peers, "base_port": port},
            "model": {"name": "mobilenet_v2", "strides": args.strides, "input": 32,
                      "width": args.width},
            "data": {"source": "cifar10", "root": str(root), "local_test_fraction": 0},
            "train": {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "batch": 32},
            "evaluate": {"peer": "none"}, "gossip": {"deadline": "none"},
            "quantize": {"precisions": []}}


def configurations(args, work, folder, together):
    """(file, peer's name, its folder) of each process: of one federation, or of one each."""
    count = args.peers if together else 1
    for i in range(1 if together else args.peers):
        own = folder / f"federation{i}"
        own.mkdir()
        root = study.cut(args.data, work / f"pictures{count}-{i}", args.pictures * count, 5,
                         i * args.pictures)
        file = own / "config.yaml"
        file.write_text(json.dumps(configuration(args, root, count, args.base_port + 3 * i)))
        for k in range(count):
            yield file, f"p{k + 1}", own


def block(args, work, together):
    """CPU seconds of a round, of all peers together: (all threads, all but those that train)."""
    peers = []
    with tempfile.TemporaryDirectory(dir=work) as folder:
        try:
            for file, name, own in list(configurations(args, work, pathlib.Path(folder), together)):
                peers.append(Peer(args, file, name, own))
            while min([p.rounds() for p in peers]) < args.rounds:
                time.sleep(POLL_S)
        finally:
            for peer in peers:
                peer.close()
    of = args.rounds - 1
    whole = sum(p.notes[of][0] - p.notes[0][0] for p in peers) / of
    return whole, whole - sum(p.notes[of][1] - p.notes[0][1] for p in peers) / of


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hearsay", type=pathlib.Path, default=versus.HEARSAY)
    parser.add_argument("--data", required=True, help="folder of CIFAR-10's binary version")
    parser.add_argument("--peers", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=2000, help="of a peer; 2000")
    parser.add_argument("--rounds", type=int, default=3, help="the first is not counted; 3")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--strides", choices=["small", "imagenet"], default="small")
    parser.add_argument("--base-port", type=int, default=7600)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json")
    args = parser.parse_args()
    if args.rounds < 2 or args.pairs < 1:
        parser.error("--rounds: at least 2, --pairs: at least 1")
    found = []
    with tempfile.TemporaryDirectory() as work:
        for i in range(args.pairs):
            a, b = (block(args, pathlib.Path(work), together) for together in (True, False))
            alone = b[0] - b[1]
            found.append({"with": a[0], "without": alone, "ratio": a[0] / alone,
                          "by_thread": a[1] / alone, "idle_gossip_without": b[1]})
            print(f"pair {i + 1}: {a[0]:.2f} CPU seconds a round with exchange, {a[1]:.2f} of them "
                  f"not in training threads; {alone:.2f} without", flush=True)
    for key, title, less in [("ratio", "a round costs more by", 1),
                             ("by_thread", "by what other threads do", 0)]:
        values = [100 * (f[key] - less) for f in found]
        print(f"{title}: {study.cell(values, '+.2f')} % ({min(values):+.2f} .. {max(values):+.2f})")
    versus.write_json(args.json, {"machine": versus.cpu(), "peers": args.peers, "set": args.set,
                                  "pictures": args.pictures, "rounds": args.rounds,
                                  "width": args.width, "strides": args.strides, "pairs": found})


if __name__ == "__main__":
    sys.exit(main())
