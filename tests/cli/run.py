#!/usr/bin/env python3
"""Command-line tests: what the program is told beside what it must answer.

    run.py HEARSAY [FILE.cli ...] [--only WORDS] [--list] [--update]

A FILE.cli holds cases. A line that is not indented begins one: its title. Below it, indented by two:

    $ hearsay data split c.yaml        a command, for sh; `>` goes on with the command
    shown on standard output           its output, to the letter
    ! hearsay: c.yaml:1:1: ...         a line of standard error
    [2]                                its exit status when that is not 0

Every case has an empty folder of its own, eight ports from $PORT on, and on its PATH `hearsay` and
`craft` (craft.py: models, pictures and data sets, whole or damaged). In what they print the folder's
name becomes DIR and a port PORT+N; lines of the log are left out. Lines that begin with `#` are
comments. --update writes what the program answers into the files: read the diff.
"""
import argparse
import concurrent.futures
import difflib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT_S = 60
PORTS = 8  # of a case; ports from 20000 on are below those that the system hands out
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d\.\d\d\d (error|warn|info) ")


class Step:
    def __init__(self, command):
        self.command = command
        self.expected = []  # lines as they stand in the file, without the indent
        self.got = []


class Case:
    def __init__(self, file, line, title):
        self.file, self.line, self.title = file, line, title
        self.steps = []
        self.port = 0


def parse(path):
    """A file as its cases, and as (line, step or None) for --update."""
    cases, layout = [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("  $ "):
            if not cases:
                sys.exit(f"{path}:{number}: a command ahead of the first title")
            cases[-1].steps.append(Step(line[4:]))
            layout.append((line, cases[-1].steps[-1]))
        elif line.startswith("  > "):
            cases[-1].steps[-1].command += "\n" + line[4:]
            layout.append((line, cases[-1].steps[-1]))
        elif line.startswith("  "):
            cases[-1].steps[-1].expected.append(line[2:])
        else:
            if line and not line.startswith("#"):
                cases.append(Case(path, number, line))
            layout.append((line, None))
    for case in cases:
        if not case.steps:
            sys.exit(f"{path}:{case.line}: a case without a command: {case.title}")
    return cases, layout


def run_step(step, folder, port, environment):
    process = subprocess.Popen(["sh", "-c", step.command], cwd=folder, env=environment,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        status = f"no end after {TIMEOUT_S} s"
    lines = []
    for text, mark in ((out, ""), (err, "! ")):
        text = text.decode(errors="replace").replace(str(folder), "DIR")
        for k in range(PORTS):
            text = re.sub(rf"\b{port + k}\b", f"PORT+{k}", text)
        lines += [(mark + line).rstrip() for line in text.splitlines()
                  if not LOG_LINE.match(line)]
    if status != 0:
        lines.append(f"[{status}]")
    step.got = lines


def run_case(case, bin_folder):
    with tempfile.TemporaryDirectory(prefix="hearsay-cli-") as name:
        folder = pathlib.Path(name).resolve()
        environment = dict(os.environ, PATH=f"{bin_folder}:{os.environ['PATH']}", HOME=str(folder),
                           LC_ALL="C", NO_COLOR="1", PORT=str(case.port))
        environment.pop("HEARSAY_LOG", None)
        for step in case.steps:
            run_step(step, folder, case.port, environment)
    return all(step.got == step.expected for step in case.steps)


def explain(case):
    print(f"{case.file.name}:{case.line}: {case.title}")
    for step in case.steps:
        if step.got != step.expected:
            print(f"  $ {step.command}")
            for line in difflib.unified_diff(step.expected, step.got, "expected", "got", lineterm="",
                                             n=2):
                print(f"    {line}")


def update(path, layout):
    lines, last = [], None
    for line, step in layout + [("", None)]:
        if last is not None and step is not last:
            lines += ["  " + got for got in last.got]
        lines.append(line)
        last = step
    path.write_text("\n".join(lines).rstrip("\n") + "\n")


def make_bin(folder, hearsay):
    os.symlink(hearsay, folder / "hearsay")
    craft = folder / "craft"
    craft.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{HERE / "craft.py"}" "$@"\n')
    craft.chmod(0o755)


def main():
    parser = argparse.ArgumentParser(description="Runs the command-line tests.")
    parser.add_argument("hearsay", type=pathlib.Path)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    parser.add_argument("--only", metavar="WORDS", help="cases whose title holds these words")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    files = args.files or sorted(HERE.glob("*.cli"))
    parsed = {file: parse(file) for file in files}
    cases = [case for file in files for case in parsed[file][0]
             if not args.only or args.only in case.title]
    first = os.getpid() * 997  # two runs at a time take other ports
    for i, case in enumerate(cases):
        case.port = 20000 + (first + i) % 1500 * PORTS
    if args.list:
        print("\n".join(f"{case.file.name}: {case.title}" for case in cases))
        return 0
    if not cases:
        sys.exit(f"no case with {args.only!r} in its title; see --list")
    with tempfile.TemporaryDirectory(prefix="hearsay-bin-") as name:
        make_bin(pathlib.Path(name), args.hearsay.resolve(strict=True))
        with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            passed = list(pool.map(lambda case: run_case(case, name), cases))
    if args.update and not args.only:
        for file in files:
            update(file, parsed[file][1])
        return 0
    for case, good in zip(cases, passed):
        if not good:
            explain(case)
    print(f"{sum(passed)} of {len(cases)} cases passed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
