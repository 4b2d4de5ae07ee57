#!/bin/sh
# The race on EuroSAT: hearsay's ten processes against server-style FedAvg in PyTorch, one after the
# other on this machine, on the same split, each testing the global set once a round.
#
#   bench/eurosat.sh DATA_ROOT HEARSAY [ROUNDS]
#     DATA_ROOT   EuroSAT's RGB folder: AnnualCrop, Forest, ...
#     HEARSAY     the program, build/release/node/hearsay say
#     ROUNDS      10 when not given
# PYTHON  the interpreter with PyTorch, /usr/bin/python3 when not set
# FEDAVG  further arguments for fedavg_pytorch.py, --channels-last say
# OUT     folder for logs and results, a fresh one below /tmp when not set
#
# Wall seconds are counted from each program's start to its end: loading, testing, and for hearsay
# the consensus phase and the quantization that the configuration asks for.
set -eu

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    echo "usage: $0 DATA_ROOT HEARSAY [ROUNDS]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$1
hearsay=$2
rounds=${3:-10}
python=${PYTHON:-/usr/bin/python3}
out=${OUT:-$(mktemp -d "${TMPDIR:-/tmp}/eurosat.XXXXXX")}
config=$here/../configs/eurosat-cnn.yaml
threads=$(nproc)
mkdir -p "$out"

"$hearsay" data split "$config" --set "data.root=$root" --json >"$out/split.json"

now() { "$python" -c 'import time; print(time.monotonic())'; }

echo "== hearsay (log: $out/hearsay.log)"
begin=$(now)
"$hearsay" up "$config" --set "data.root=$root" --set "rounds=$rounds" --run "$out/run" --plain \
    >"$out/hearsay.log" 2>&1 || { tail -n 20 "$out/hearsay.log" >&2; exit 1; }
end=$(now)

echo "== PyTorch"
"$python" "$here/fedavg_pytorch.py" --split "$out/split.json" --root "$root" --rounds "$rounds" \
    --threads "$threads" --json "$out/fedavg.json" ${FEDAVG:-}

"$python" - "$out" "$begin" "$end" <<'PYTHON'
import json
import sys

out, begin, end = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
with open(f"{out}/run/summary.json") as file:
    summary = json.load(file)
with open(f"{out}/fedavg.json") as file:
    fedavg = json.load(file)

# The peer that measures the common test set: the first whose metrics hold a test accuracy.
curve = []
for peer in summary["peers"]:
    with open(f"{out}/run/{peer['name']}/metrics.jsonl") as file:
        curve = [json.loads(line) for line in file]
    if any(line["test_accuracy"] is not None for line in curve):
        break
hearsay_by_round = {line["round"]: line for line in curve}
fedavg_by_round = {line["round"]: line for line in fedavg["rounds"]}


def cell(line, seconds):
    if line is None or line["test_accuracy"] is None:
        return f"{'-':>9} {'-':>8} {'-':>9}"
    return f"{100 * line['test_accuracy']:7.2f} % {line['test_loss']:8.4f} {line[seconds]:7.1f} s"


print(f"\n{'':>5}  {'hearsay, ' + str(len(summary['peers'])) + ' processes':^28}"
      f"  {'PyTorch ' + fedavg['torch'] + ', ' + str(fedavg['threads']) + ' threads':^28}")
print(f"round  {'accuracy':>9} {'loss':>8} {'time':>9}  {'accuracy':>9} {'loss':>8} {'time':>9}")
for number in sorted(set(hearsay_by_round) | set(fedavg_by_round)):
    print(f"{number:5d}  {cell(hearsay_by_round.get(number), 'time_s')}"
          f"  {cell(fedavg_by_round.get(number), 'total_s')}")

consensus, wall = summary["consensus"], end - begin
last = fedavg["rounds"][-1]
print(f"\nlast   hearsay's consensus {100 * consensus['test_accuracy']:.2f} %,"
      f" FedAvg {100 * last['test_accuracy']:.2f} %:"
      f" {100 * (consensus['test_accuracy'] - last['test_accuracy']):+.2f} points")
print(f"wall   hearsay {wall:.1f} s, FedAvg {fedavg['wall_s']:.1f} s (training {fedavg['train_s']:.1f} s):"
      f" ratio {wall / fedavg['wall_s']:.3f}")
with open(f"{out}/race.json", "w") as file:
    json.dump({"hearsay": {"rounds": curve, "consensus": consensus, "wall_s": wall},
               "fedavg": fedavg, "ratio": wall / fedavg["wall_s"]}, file, indent=1)
    file.write("\n")
print(f"files  {out}/race.json")
PYTHON
