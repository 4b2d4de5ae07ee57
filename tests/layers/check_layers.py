#!/usr/bin/env python3
"""Checks the include table of the house and the rooms of its libraries.

usage: check_layers.py ROOT

Prints every violation as FILE:LINE: what is wrong; exit status 1 if there is any.
"""
import pathlib
import re
import sys

# Folder -> folders whose headers it may include (its own always).
TABLE = {
    "base": set(),
    "data": {"base"},
    "nn": {"base", "data"},
    "quant": {"base", "data", "nn"},
    "gossip": {"base"},
    "node": {"base", "data", "nn", "quant", "gossip"},
}
# Header -> the folders whose files alone may include it.
FOLDER_ONLY = {"zmq.h": {"gossip"}, "czmq.h": {"gossip"}}
# Header -> exactly one file of the house includes it.
ONE_FILE = ("cblas.h", "msgpack.h", "jpeglib.h")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def includes(path):
    """Yields (line number, delimiter, header) of every #include line."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


def check_include(folder, delimiter, header):
    """What is wrong with this include in a file of `folder`, or None."""
    name = header.rsplit("/", 1)[-1]
    if name in FOLDER_ONLY and folder not in FOLDER_ONLY[name]:
        return f"only {', '.join(sorted(FOLDER_ONLY[name]))}/ may include {name}"
    if delimiter == "<":
        return None
    target = header.split("/", 1)[0]
    if header.startswith(".") or "/" not in header:
        return f'"{header}": write the folder: "{folder}/..."'
    if target != folder and target not in TABLE[folder]:
        return f'{folder}/ may not include "{header}": see the include table in docs/tour.md'
    return None


def check(root):
    problems = []
    users = {header: [] for header in ONE_FILE}
    for folder in TABLE:
        files = sorted(f for f in (root / folder).rglob("*") if f.suffix in (".c", ".h"))
        if not files:
            problems.append(f"{folder}/: no C file there")
        for path in files:
            place = path.relative_to(root)
            for number, delimiter, header in includes(path):
                wrong = check_include(folder, delimiter, header)
                if wrong:
                    problems.append(f"{place}:{number}: {wrong}")
                name = "msgpack.h" if header.startswith("msgpack/") else header.rsplit("/", 1)[-1]
                if name in users and str(place) not in users[name]:
                    users[name].append(str(place))
    for header, where in users.items():
        if len(where) != 1:
            found = ", ".join(where) if where else "none"
            problems.append(f"{header}: exactly one file may include it, found: {found}")
    return problems


def main():
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    problems = check(pathlib.Path(sys.argv[1]))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
