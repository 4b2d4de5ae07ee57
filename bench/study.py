"""What the studies of this folder share, algorithms.py, async_accuracy.py and attacks.py: simulated
runs whose results are kept, what they will take, and means over seeds.

The result of a run is a small file in the study's folder, named by the digest of the run's
configuration. A study that was interrupted goes on where it was; a run is never done twice.
"""
import concurrent.futures
import ctypes
import hashlib
import json
import math
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import time

import versus

ROOT = versus.HERE.parent
LIBC = ctypes.CDLL(None)
RECORD, PICTURES, TESTS = 3073, 50000, 10000  # CIFAR-10: bytes of a picture, how many there are
BEYOND = 20  # a run that takes so many times what it should is stopped
MS_PER_SAMPLE = 0.5  # virtual: about what the cnn takes at 32x32, one thread
OTHER = 1.2  # CPU time of a run over that of training alone, before a run has shown it


def add_options(parser, name, pictures, epochs, epoch_rounds):
    parser.add_argument("--hearsay", type=pathlib.Path, default=versus.HEARSAY,
                        help="the program; build/release's")
    parser.add_argument("--data", required=True,
                        help="folder of CIFAR-10's binary version, or synthetic")
    parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "build" / "studies" / name,
                        help=f"where results are kept; build/studies/{name}")
    parser.add_argument("--pictures", type=int, default=pictures,
                        help=f"to train on, of all peers; {pictures}")
    parser.add_argument("--test", type=int, default=TESTS, help=f"to test on; {TESTS}")
    parser.add_argument("--epochs", type=int, default=epochs, help=f"passes over them; {epochs}")
    parser.add_argument("--epoch-rounds", type=int, default=epoch_rounds,
                        help=f"rounds, so exchanges, of a pass; {epoch_rounds}")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="of every run's configuration; may be given again")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, a thread each; 2")
    parser.add_argument("--hours", type=float, default=math.inf,
                        help="begin no run that would end later than this; call again to go on")
    parser.add_argument("--estimate", action="store_true", help="say what it will take and end")
    parser.add_argument("--json", help="file for all that was measured")


def cut(source, folder, train, test, skip=0):
    """The first pictures of each of CIFAR-10's batch files behind `skip`, as a folder like it."""
    source, folder = pathlib.Path(source).expanduser().resolve(), pathlib.Path(folder)
    if (train, test, skip) == (PICTURES, TESTS, 0):
        return source
    if train % 5 or skip % 5 or not 5 <= train <= PICTURES - skip or not 1 <= test <= TESTS:
        raise SystemExit(f"{train} pictures and {test} to test on: CIFAR-10 has {PICTURES} and "
                         f"{TESTS}, and of its five files as many each are taken")
    if (folder / "batches.meta.txt").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    parts = [(f"data_batch_{i}.bin", skip // 5, train // 5) for i in range(1, 6)]
    for name, first, count in parts + [("test_batch.bin", 0, test)]:
        with open(source / name, "rb") as file:
            file.seek(first * RECORD)
            (folder / name).write_bytes(file.read(count * RECORD))
    shutil.copyfile(source / "batches.meta.txt", folder / "batches.meta.txt")  # the last: whole
    return folder


def configuration(args, seed, lr, **sections):
    """A run's configuration as a dictionary, sections over what is common."""
    if args.data == "synthetic":
        data = {"samples": args.pictures + args.test,
                "test_fraction": args.test / (args.pictures + args.test)}
    else:
        folder = args.runs.resolve() / f"cifar10-{args.pictures}-{args.test}"
        data = {"source": "cifar10", "root": str(cut(args.data, folder, args.pictures, args.test))}
    common = {
        "federation": "study", "seed": seed, "rounds": args.epochs * args.epoch_rounds,
        "model": {"name": "cnn", "input": 32},
        "data": dict(data, local_test_fraction=0),
        "train": {"optimizer": "sgd", "lr": lr, "momentum": 0.9, "batch": 32,
                  "epoch_rounds": args.epoch_rounds, "optimizer_state": "keep"},
        "evaluate": {"test_every": 0},
        "gossip": {"deadline": "none", "weights": "equal"},
        "simulate": {"ms_per_sample": MS_PER_SAMPLE},
        "consensus": {}, "quantize": {"precisions": []}}
    for name, section in sections.items():
        common[name] = dict(common[name], **section) if name in common else section
    return common


def rows(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def result(run, rounds, report):
    """What is kept of a run folder: of each peer that came to the end of the run, how things were
    when its training ended."""
    summary = json.loads((run / "summary.json").read_text())
    peers = []
    for peer in summary["peers"]:
        if not peer["finished"]:
            continue
        last = [r for r in rows(run / peer["name"] / "metrics.jsonl") if r["round"] <= rounds][-1]
        peers.append({"name": peer["name"], "attack": peer["attack"], "samples": peer["samples"],
                      "rounds": last["round"], "time_s": last["time_s"],
                      "distance": last["consensus_distance"], "bytes": last["bytes_sent"],
                      "bytes_all": peer["bytes_sent"]})
    consensus = summary["consensus"]
    return {"ended": "done", "accuracy": consensus["test_accuracy"], "loss": consensus["test_loss"],
            "certified": consensus["distance"], "sha256": consensus["sha256"],
            "exchanges": report["exchanges"], "cpu_s": report["cpu_s"], "peers": peers}


class Study:
    """Runs (label, configuration) pairs, args.jobs at once, and keeps their results."""

    def __init__(self, args):
        self.args, self.folder = args, args.runs
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ends, self.live, self.bench = time.monotonic() + 3600 * args.hours, set(), None
        self.program = hashlib.sha256(args.hearsay.read_bytes()).hexdigest()[:16]

    def path(self, config):
        text = json.dumps([config, self.args.set], sort_keys=True)
        return self.folder / (hashlib.sha256(text.encode()).hexdigest()[:16] + ".json")

    def kept(self, config):
        path = self.path(config)
        return json.loads(path.read_text()) if path.exists() else None

    def value(self, config, key):
        """A key of a configuration, --set over it."""
        given = dict(word.split("=", 1) for word in self.args.set)
        section, name = key.split(".")
        return given.get(key, config[section].get(name))

    def pictures(self, config):
        """What a run trains on, pass by pass."""
        rounds = int(dict(w.split("=", 1) for w in self.args.set).get("rounds", config["rounds"]))
        return self.args.pictures * rounds / int(self.value(config, "train.epoch_rounds"))

    def sets(self):
        return [word for given in self.args.set for word in ("--set", given)]

    def model_bytes(self, config):
        """Of a model as it travels while peers train, by `hearsay doctor`."""
        file = self.folder / "doctor.yaml"
        file.write_text(json.dumps(config, indent=1))
        command = [self.args.hearsay, "doctor", file, "--json"] + self.sets()
        return versus.hearsay(command)["round"]["model_bytes"]

    def bench_rate(self, config):
        """Pictures a CPU second that training alone takes, whatever else the machine does."""
        command = [self.args.hearsay, "bench", "train", "--threads", "1", "--seconds", "3",
                   "--batch", self.value(config, "train.batch"), "--json"]
        for option in ["model.name", "model.width", "model.input", "model.strides"]:
            given = self.value(config, option)
            name = option.split(".")[1].replace("name", "model")
            command += [f"--{name}", given] if given is not None else []
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        steps = versus.hearsay(command)["steps"]
        spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        return steps * float(self.value(config, "train.batch")) / spent

    def seconds(self, config, cases):
        """CPU time of a run: as those took that are done, else training's own and a part more."""
        done = [(self.pictures(c), k["cpu_s"]) for _, c in cases
                for k in [self.kept(c)] if k and k["ended"] == "done"]
        if done:
            return self.pictures(config) * sum(s for _, s in done) / sum(p for p, _ in done)
        self.bench = self.bench or self.bench_rate(config)
        return OTHER * self.pictures(config) / self.bench

    def announce(self, cases, more=0):
        """Says what `cases`, and `more` that depend on them, will take; whether to begin."""
        left = sum(self.kept(c) is None for _, c in cases)
        config = cases[0][1]
        each = self.seconds(config, cases)
        print(f"{len(cases) + more} runs of {self.pictures(config):,.0f} pictures each, "
              f"{len(cases) - left} of the first {len(cases)} kept in {self.folder}\n"
              f"about {each:.1f} CPU seconds a run"
              f"{f' ({self.bench:,.0f} pictures a CPU second to train)' if self.bench else ''}: "
              f"{(left + more) * each / 3600 / self.args.jobs:.2f} hours for at most "
              f"{left + more} runs, {self.args.jobs} at once", flush=True)
        programs = {k["program"] for _, c in cases for k in [self.kept(c)] if k}
        if programs - {self.program}:
            print(f"NOTE: results are kept that another build of hearsay made; remove "
                  f"{self.folder} to measure all anew")
        return not self.args.estimate

    def limits(self, seconds):
        """Of a child: no longer than its parent, nor far beyond what it should take."""
        LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))

    def run(self, config, limit):
        path = self.path(config)
        run, file = path.with_suffix(".run"), path.with_suffix(".yaml")
        shutil.rmtree(run, ignore_errors=True)
        file.write_text(json.dumps(config, indent=1))  # JSON is YAML
        command = [self.args.hearsay, "simulate", file, "--run", run, "--quiet", "--json"]
        command += self.sets()
        begun = time.monotonic()
        process = subprocess.Popen([str(word) for word in command], text=True,
                                   env=versus.environment(1), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, preexec_fn=lambda: self.limits(limit))
        self.live.add(process)
        out, errors = process.communicate()
        self.live.discard(process)
        if process.returncode == 0:
            found = result(run, config["rounds"], json.loads(out))
        elif "diverged" in errors:
            found = {"ended": "diverged"}
        elif "came to the end" in errors or process.returncode == -signal.SIGXCPU:
            found = {"ended": "stopped"}
        else:
            raise RuntimeError(f"{file}: status {process.returncode}\n{errors[-2000:]}")
        found = dict(found, wall_s=time.monotonic() - begun, program=self.program,
                     why=errors.strip()[-300:] if found["ended"] != "done" else "",
                     set=self.args.set, config=config)
        part = path.with_suffix(".tmp")
        part.write_text(json.dumps(found, indent=1))
        os.replace(part, path)
        shutil.rmtree(run, ignore_errors=True)
        file.unlink()
        return found

    def one(self, label, config, cases):
        kept = self.kept(config)
        each = self.seconds(config, cases)
        if kept or time.monotonic() + each > self.ends:
            return kept
        found = self.run(config, int(BEYOND * each) + 60)
        told = f"{100 * found['accuracy']:.2f} %" if found["ended"] == "done" else found["ended"]
        left = sum(self.kept(c) is None for _, c in cases)
        print(f"{label}: {told}, {found['wall_s']:.0f} s; {left} to go", flush=True)
        return found

    def run_all(self, cases):
        """The results in order, None where --hours were over ahead of a run."""
        pool = concurrent.futures.ThreadPoolExecutor(self.args.jobs)
        try:
            waiting = [pool.submit(self.one, label, config, cases) for label, config in cases]
            return [future.result() for future in waiting]
        except BaseException as cause:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(self.live):
                process.kill()
            if isinstance(cause, KeyboardInterrupt):
                raise SystemExit("interrupted: call again to go on") from None
            raise
        finally:
            pool.shutdown()

    def write(self, content):
        if self.args.json:
            versus.write_json(self.args.json, dict(
                content, machine=versus.cpu(), program=self.program, set=self.args.set,
                pictures=self.args.pictures, test=self.args.test, epochs=self.args.epochs,
                epoch_rounds=self.args.epoch_rounds))


def accuracy(found, classes=10):
    """In per cent; of training that diverged or stopped: a guess's."""
    return 100 * found["accuracy"] if found["ended"] == "done" else 100 / classes


def mean(values):
    return sum(values) / len(values)


def error(values):
    """Standard error of the mean; of one value there is none."""
    m, n = mean(values), len(values)
    return math.sqrt(sum((v - m) ** 2 for v in values) / (n - 1) / n) if n > 1 else math.nan


def cell(values, form=".2f"):
    text = f"{mean(values):{form}}"
    return text + f" ± {error(values):.2f}" if len(values) > 1 else text


def failed(found):
    """" (1 of 3 diverged)", or nothing."""
    told = [f"{n} of {len(found)} {how}" for how in ("diverged", "stopped")
            for n in [sum(f["ended"] == how for f in found)] if n]
    return f" ({', '.join(told)})" if told else ""


def table(header, body):
    lines = [header, ["---"] * len(header)] + body
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
