"""Second-largest eigenvalue modulus of the sample-weighted Metropolis-Hastings matrix on rings of
eight, for tests/gossip/test_mixing.c. Run: python3 tests/golden/gossip_ring.py > tests/golden/gossip_ring.txt"""
import numpy as np

for samples in ([100] * 8, [50, 600, 400, 50, 100, 600, 600, 80]):
    n = np.array(samples, float)
    peers = len(n)
    near = [((i - 1) % peers, (i + 1) % peers) for i in range(peers)]
    S = np.array([n[i] + n[list(near[i])].sum() for i in range(peers)])
    W = np.zeros((peers, peers))
    for i in range(peers):
        for j in near[i]:
            W[i, j] = n[j] / max(S[i], S[j])
        W[i, i] = 1 - W[i].sum()
    assert np.allclose(n @ W, n)
    modulus = np.sort(np.abs(np.linalg.eigvals(W)))[-2]
    print(*samples, f"{modulus:.12f}")
