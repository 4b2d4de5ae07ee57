#!/usr/bin/env python3
"""torchvision's mobilenet_v2 from PyTorch into hearsay: interop_import.py INTEROP_MODEL HEARSAY.
Its state_dict (1,000 classes, and other widths and strides) as .pth and as safetensors goes through `hearsay
import`, and the logits must be PyTorch's to 1e-4. Debian's PyTorch has no torchvision: the module here has its
names, shapes and order (tests/golden/torch_nets.py, mobilenet_v2_keys.txt). Exit status 77: skipped."""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import torch.nn as nn
except ImportError as problem:
    print(f"SKIPPED: {problem}. To run it: apt install python3-torch python3-numpy")
    sys.exit(77)
try:
    from safetensors.torch import save_file
except ImportError:
    save_file = None

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden")
sys.path.insert(0, GOLDEN)
from torch_nets import MobileNetV2

KEYS = os.path.join(GOLDEN, "mobilenet_v2_keys.txt")
PICTURES = 4


def trained(seed, side, *how):
    """Weights with statistics of their own: activations of the size that training leaves."""
    torch.manual_seed(seed)
    net = MobileNetV2(*how)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    nn.init.normal_(net.classifier[1].weight, 0, 0.3)  # logits of 10 and more: 1e-4 is strict
    net.train()
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(16, 3, side, side))
    return net.eval()


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.returncode}\n{done.stderr}")
    return done.stdout


def pytorch_logits(net, side):
    i = np.arange(PICTURES * side * side * 3, dtype=np.int64)
    x = ((i * 7919 + 13) % 2048).astype(np.float32) / 1024 - 1
    x = torch.from_numpy(x.reshape(PICTURES, side, side, 3)).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        return net(x).numpy()


def check(program, hearsay, folder, what, net, file, side, *options):
    model = os.path.join(folder, "model.safetensors")
    said = run(hearsay, "import", file, model, "--input", str(side), *options)
    ours = np.array([float(line) for line in run(program, "logits", model).split()], dtype=np.float32)
    theirs = pytorch_logits(net, side)
    off = np.abs(ours.reshape(theirs.shape) - theirs).max()
    print(f"{what}: logits up to {np.abs(theirs).max():.3g}, largest difference {off:.3g}; {said.splitlines()[0].split(': ')[1]}")
    if not off < 1e-4:
        sys.exit(f"{what}: {off} is not below 1e-4")


def check_keys(net):
    """The module is torchvision's: every name, type and shape, in order."""
    names = {torch.float32: "F32", torch.int64: "I64"}
    ours = [f"{k} {names[v.dtype]} {list(v.shape)}" for k, v in net.state_dict().items()]
    with open(KEYS) as file:
        theirs = [line.strip() for line in file if line.strip()]
    theirs = [line.replace("[10,", "[1000,").replace("[10]", "[1000]") if line.startswith("classifier.1.")
              else line for line in theirs]
    assert ours == theirs, next(pair for pair in zip(ours, theirs) if pair[0] != pair[1])


def main():
    torch.set_num_threads(1)
    program, hearsay = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file.pth")
        net = trained(3, 64, 1000)
        check_keys(net)
        torch.save(net.state_dict(), path)
        check(program, hearsay, folder, "1,000 classes, .pth", net, path, 224)
        torch.save({"epoch": 1, "state_dict": nn.DataParallel(net).state_dict()}, path)
        check(program, hearsay, folder, "1,000 classes, wrapped, 96 pixels", net, path, 96)
        if save_file:
            path = os.path.join(folder, "file.safetensors")
            save_file(net.state_dict(), path)
            check(program, hearsay, folder, "1,000 classes, safetensors", net, path, 224)
        else:
            print("SKIPPED in part: no Python package safetensors in .venv")
        path = os.path.join(folder, "small.pt")
        for width in (0.35, 1.4):
            net = trained(4, 32, 7, width, "small")
            torch.save(net.state_dict(), path)
            check(program, hearsay, folder, f"width {width}, strides small", net, path, 32,
                  "--strides", "small")
        torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)
        refused = subprocess.run([hearsay, "import", path, os.path.join(folder, "m")],
                                 stderr=subprocess.PIPE, text=True)
        assert refused.returncode == 1 and "written by PyTorch before 1.6" in refused.stderr, refused
        print(refused.stderr.strip())


if __name__ == "__main__":
    main()
