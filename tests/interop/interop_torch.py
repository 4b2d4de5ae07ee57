#!/usr/bin/env python3
"""A hearsay model in PyTorch and back: interop_torch.py INTEROP_MODEL. Exit status 77: skipped."""
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file
    from safetensors import safe_open
except ImportError as problem:
    print(f"SKIPPED: {problem}. To run it: /usr/bin/python3 -m venv --system-site-packages .venv "
          "&& .venv/bin/pip install --no-deps safetensors (torch and numpy: apt install "
          "python3-torch python3-numpy)")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden"))
from torch_nets import Cnn


def hearsay(program, command, path):
    run = subprocess.run([program, command, path], check=True, stdout=subprocess.PIPE, text=True)
    return np.array([float(line) for line in run.stdout.split()], dtype=np.float32).reshape(4, 10)


def logits(net):
    i = np.arange(4 * 64 * 64 * 3, dtype=np.int64)
    x = ((i * 7919 + 13) % 2048).astype(np.float32) / 1024 - 1
    x = torch.from_numpy(x.reshape(4, 64, 64, 3)).permute(0, 3, 1, 2).contiguous()
    net.eval()
    with torch.no_grad():
        return net(x).numpy()


def check(what, a, b):
    off = np.abs(a - b).max()
    print(f"{what}: largest difference of the logits {off:.3g}")
    if not off < 1e-4:
        sys.exit(f"{what}: {off} is not below 1e-4")


def main():
    torch.set_num_threads(1)
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "hearsay.safetensors")
        ours = hearsay(program, "save", path)
        net = Cnn()
        net.load_state_dict(load_file(path), strict=True)
        assert net.bn1.num_batches_tracked.item() == 3
        check("hearsay to PyTorch", ours, logits(net))
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        assert metadata["format"] == "hearsay-model-1", metadata
        assert len(json.loads(metadata["class_names"])) == 10

        torch.manual_seed(3)
        net = Cnn()
        net.train()
        for _ in range(2):  # statistics of its own
            net(torch.randn(8, 3, 64, 64))
        path = os.path.join(folder, "torch.safetensors")
        save_file(net.state_dict(), path, metadata)
        check("PyTorch to hearsay", hearsay(program, "logits", path), logits(net))


if __name__ == "__main__":
    main()
