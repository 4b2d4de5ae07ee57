"""Age-weighted asynchronous gossip in float64, for tests/gossip/test_async.c: five peers of different
speed, ten local rounds each, and what they end their training with.
Run: python3 tests/golden/gossip_async.py > tests/golden/gossip_async.txt"""
import numpy as np

PEERS, WEIGHTS, CHANNELS, ROUNDS = 5, 12, 3, 10
FLOATS = WEIGHTS + 2 * CHANNELS
EDGES = [(i, (i + 1) % PEERS) for i in range(PEERS)] + [(0, 2)]
TRAIN_MS = [200, 230, 310, 470, 1310]
DELAY_MS, STALENESS = 2, 2
rng = np.random.default_rng(2)


def exact(*shape):
    """Numbers that float32 holds to the bit."""
    return rng.integers(-1024, 1025, shape) / 1024


start = exact(FLOATS)
start[WEIGHTS + CHANNELS :] = np.abs(start[WEIGHTS + CHANNELS :]) + 0.5
moves = exact(ROUNDS, PEERS, FLOATS) / 4
moves[..., WEIGHTS + CHANNELS :] = np.abs(moves[..., WEIGHTS + CHANNELS :])

near = [sorted({b for a, b in EDGES if a == i} | {a for a, b in EDGES if b == i}) for i in range(PEERS)]
mean, variance = slice(WEIGHTS, WEIGHTS + CHANNELS), slice(WEIGHTS + CHANNELS, FLOATS)
x = np.tile(start, (PEERS, 1))
age = [1] * PEERS
published = [[] for _ in range(PEERS)]  # (time it arrives, number, model, age)
taken = [dict.fromkeys(range(PEERS), 0) for _ in range(PEERS)]
mixed = left_out = 0
# a peer of the sum of all waits for nobody: round r of peer p is over at r x its time
for now, p, r in sorted((TRAIN_MS[p] * r, p, r) for p in range(PEERS) for r in range(1, ROUNDS + 1)):
    gain, trained = moves[r - 1, p].copy(), x[p] + moves[r - 1, p]
    age[p] += 1
    published[p].append((now + DELAY_MS, r, trained, age[p]))
    models, weights, late = [None], [age[p]], [0]
    for j in near[p]:
        here = [m for m in published[j] if m[0] <= now and m[1] > taken[p][j]]
        if not here:
            continue
        came, taken[p][j], other, other_age = here[-1]
        if other_age + STALENESS < weights[0]:
            left_out += 1
            continue
        models.append(other)
        weights.append(min(other_age, weights[0]) / max(weights[0] - other_age, 1))
        late.append(min((now - came) / TRAIN_MS[p], 1))
        age[p] = max(age[p], other_age)
        mixed += 1
    gain *= np.average(late[1:], weights=weights[1:]) if len(models) > 1 else 0
    gain[WEIGHTS:] = 0
    models[0] = trained - gain
    x[p] = np.average(models, axis=0, weights=weights)
    apart = [(m[mean] - x[p][mean]) ** 2 for m in models]
    x[p][variance] += np.average(apart, axis=0, weights=weights)
    x[p] += gain
assert mixed > 50 and left_out > 3, (mixed, left_out)


def put(values):
    print(*(f"{value:.17g}" for value in np.ravel(values)))


print(PEERS, WEIGHTS, CHANNELS, ROUNDS, len(EDGES), STALENESS, DELAY_MS)
print(*(peer for edge in EDGES for peer in edge))
put(TRAIN_MS)
put(start)
for r in range(ROUNDS):
    put(moves[r])
put(x)
put(age)
