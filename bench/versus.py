"""Two programs in turn, A B A B: what bench/versus_pytorch.py and bench/versus_onnxruntime.py share.

The rival is a process that is kept warm and stopped (SIGSTOP) while hearsay has the machine;
hearsay is started anew for each block. A ratio is hearsay's pictures a second over the rival's,
medians over a block; paired ratios come from neighbouring blocks.
"""
import ctypes
import json
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
HEARSAY = HERE.parent / "build" / "release" / "node" / "hearsay"


def die_with_parent():
    """A stopped process would never see that its questions have ended."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def environment(threads):
    return dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))


class Rival:
    """A worker of rival_*.py with --wait: a line in, a line of JSON out. Stopped in between."""

    def __init__(self, command, threads):
        self.errors = tempfile.TemporaryFile("w+")  # a pipe could fill up with warnings
        self.process = subprocess.Popen([str(word) for word in command], env=environment(threads),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True,
                                        preexec_fn=die_with_parent)
        self.ready = self.answer()
        self.process.send_signal(signal.SIGSTOP)

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            message = self.errors.read().strip().splitlines()
            raise RuntimeError(message[-1] if message else "the rival ended without a word")
        return json.loads(line)

    def ask(self, line):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.answer()
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def measure(self, seconds):
        return self.ask(str(seconds))

    def close(self):
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def hearsay(command):
    """One block of `hearsay bench ...`."""
    out = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(out)


def in_turn(rivals, command, count, seconds):
    """Blocks of all in turn: a list of answers for each rival, and hearsay's."""
    theirs, ours = [[] for _ in rivals], []
    for _ in range(count):
        for rival, answers in zip(rivals, theirs):
            answers.append(rival.measure(seconds))
        ours.append(hearsay(list(command) + ["--seconds", seconds, "--json"]))
    return theirs, ours


def pairs(rival, command, count, seconds):
    """Blocks of both in turn: lists of the rival's answers and hearsay's."""
    (theirs,), ours = in_turn([rival], command, count, seconds)
    return theirs, ours


def compare(theirs, ours):
    a = [block["images_per_s"] for block in theirs]
    b = [block["images_per_s"] for block in ours]
    ratios = [y / x for x, y in zip(a, b)]
    return {"rival_images_per_s": statistics.median(a),
            "hearsay_images_per_s": statistics.median(b),
            "ratio": statistics.median(b) / statistics.median(a),
            "ratio_min": min(ratios), "ratio_max": max(ratios), "ratios": ratios,
            "rival_peak_memory_bytes": max(block["peak_memory_bytes"] for block in theirs),
            "hearsay_peak_memory_bytes": max(block["peak_memory_bytes"] for block in ours),
            "hearsay_cpu_level": ours[0]["cpu_level"]}


def cpu():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.machine(),
            "cores": len(os.sched_getaffinity(0))}


HEADER = (f"{'':44} {'rival':>9} {'hearsay':>9}  {'ratio, least to most':>22}  "
          f"{'peak memory, MB':>21}")


def row(title, c):
    spread = f"{c['ratio']:.2f}  ({c['ratio_min']:.2f} .. {c['ratio_max']:.2f})"
    memory = (f"{c['rival_peak_memory_bytes'] / 1e6:.0f} / "
              f"{c['hearsay_peak_memory_bytes'] / 1e6:.0f}"
              f" = {c['rival_peak_memory_bytes'] / c['hearsay_peak_memory_bytes']:.1f}")
    return (f"{title:44} {c['rival_images_per_s']:9.1f} {c['hearsay_images_per_s']:9.1f}  "
            f"{spread:>22}  {memory:>21}")


def add_options(parser, seconds):
    parser.add_argument("--hearsay", default=HEARSAY, help="the program; build/release's")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pairs", type=int, default=5, help="blocks of each; 5")
    parser.add_argument("--seconds", type=float, default=seconds, help=f"of a block; {seconds}")
    parser.add_argument("--json", help="file for all that was measured")


def write_json(path, results):
    if path:
        with open(path, "w") as file:
            json.dump(results, file, indent=1)
            file.write("\n")
