#!/usr/bin/env python3
"""Inputs for the command-line tests, whole or damaged in one place. No library beyond Python's own.

    craft model FILE [DAMAGE]      a cnn for 28x28 pictures of two classes, a and b
    craft pth FILE [DAMAGE]        the same as a PyTorch checkpoint, whole or hostile (checkpoint.py)
    craft seeds DIR                small checkpoints for the fuzzer to begin from
    craft jpeg FILE [SIDE]         a gray JPEG of SIDE x SIDE pixels
    craft cifar DIR [DAMAGE]       CIFAR-10's binary files with ten pictures each
    craft hold-port PORT           listens there until it is killed; prints a line when it does
"""
import array
import json
import os
import socket
import struct
import sys

import checkpoint


def cnn_entries(channels=(32, 64, 96)):
    """PyTorch's state_dict of the cnn for 28 pixels: (name, shape), in its order."""
    entries = []
    for i, (out, into, kernel) in enumerate(zip(channels, (3, *channels), (5, 5, 3)), 1):
        entries += [(f"conv{i}.weight", [out, into, kernel, kernel]), (f"conv{i}.bias", [out])]
        entries += [(f"bn{i}.{part}", [out]) for part in
                    ("weight", "bias", "running_mean", "running_var")]
        entries.append((f"bn{i}.num_batches_tracked", []))
    for i, (out, into) in enumerate([(128, channels[2]), (128, 128), (2, 128)], 1):
        entries += [(f"fc{i}.weight", [out, into]), (f"fc{i}.bias", [out])]
    return entries


METADATA = {
    "format": "hearsay-model-1", "architecture": "cnn", "width": "1", "strides": "",
    "input": "28", "classes": "2", "class_names": '["a","b"]', "mean": "0.5,0.5,0.5",
    "std": "0.5,0.5,0.5", "federation": "test", "round": "1", "precision": "fp32",
}


def model(path, damage="none"):
    header, data = {"__metadata__": dict(METADATA)}, bytearray()
    for name, shape in cnn_entries():
        count = 1
        for side in shape:
            count *= side
        begin = len(data)
        if name.endswith("num_batches_tracked"):
            dtype, part = "I64", struct.pack("<q", 1)
        elif name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn3.weight")):
            dtype, part = "F32", array.array("f", [1.0] * count).tobytes()
        else:
            dtype = "F32"
            part = array.array("f", [(i * 7919 % 1000 - 500) / 5000 for i in range(count)]).tobytes()
        data += part
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, len(data)]}
    metadata, fc3 = header["__metadata__"], header["fc3.bias"]
    last = fc3["data_offsets"][0]
    if damage == "nan":
        data[last:last + 4] = struct.pack("<f", float("nan"))
    elif damage == "huge":
        weights = header["fc3.weight"]["data_offsets"][0]
        data[weights:weights + 4 * 128] = struct.pack("<f", 3e38) * 128
    elif damage == "control":
        metadata["class_names"] = json.dumps(["\x1b[2Ja", "b"])
    elif damage == "variance":
        at = header["bn2.running_var"]["data_offsets"][0]
        data[at:at + 4] = struct.pack("<f", -1.0)
    elif damage == "shape":
        header["conv1.weight"]["shape"] = [3, 32, 5, 5]
    elif damage == "dtype":
        header["fc3.bias"]["dtype"] = "I32"
    elif damage == "missing":
        del header["fc3.bias"]
        data = data[:last]
    elif damage == "extra":
        header["fc4.bias"] = {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}
        data += b"\0\0\0\0"
    elif damage == "overlap":
        header["fc3.bias"]["data_offsets"] = [last - 8, last]
        data = data[:last]
    elif damage == "hole":
        header["fc3.bias"]["data_offsets"] = [last + 8, last + 16]
        data += b"\0" * 8
    elif damage == "tail":
        data += b"more"
    elif damage == "architecture":
        metadata["architecture"] = "cnm"
    elif damage == "classes":
        metadata["classes"] = "3"
    elif damage == "metadata":
        del header["__metadata__"]
    elif damage == "std":
        metadata["std"] = "0.5,0,0.5"
    elif damage == "precision":
        metadata["precision"] = "fp13"
    elif damage in ("statistics", "channel"):
        for name, entry in header.items():
            begin, end = entry.get("data_offsets", (0, 0))
            if damage == "statistics" and name.endswith(("running_mean", "num_batches_tracked")):
                data[begin:end] = bytes(end - begin)  # as a model that never saw a picture
            elif damage == "channel" and name in ("conv2.weight", "conv2.bias", "bn2.bias"):
                data[begin:begin + (end - begin) // 64] = bytes((end - begin) // 64)  # the first
    elif damage != "none":
        sys.exit(f"craft model: no damage {damage}")
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def values(name, shape):
    """A tensor's numbers: those of `model`."""
    count = 1
    for side in shape:
        count *= side
    if name.endswith("num_batches_tracked"):
        return [1]
    if name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn3.weight")):
        return [1.0] * count
    return [(i * 7919 % 1000 - 500) / 5000 for i in range(count)]


def pth(path, damage="none"):
    checkpoint.write(path, [(name, shape, values(name, shape)) for name, shape in cnn_entries()],
                     damage)


def seeds(folder):
    """The first byte tells fuzz_torch_file what the rest is: a file, or its data.pkl alone."""
    os.makedirs(folder, exist_ok=True)
    small = [("w", [2, 3], [0.5] * 6), ("n.num_batches_tracked", [], [1])]
    for damage in ("none", "wrapped", "strided", "half", "parameter"):
        name = f"{folder}/{damage}"
        checkpoint.write(name, small, damage)
        with open(name, "rb") as file:
            whole = file.read()
        with open(name, "wb") as file:
            file.write(b"\0" + whole)
        with open(name + ".pickle", "wb") as file:
            file.write(b"\1" + checkpoint.pickle_of(small, damage))
    name = f"{folder}/cnn"  # of width 0.03: imported as a whole
    checkpoint.write(name, [(label, shape, values(label, shape)) for label, shape in cnn_entries((1, 2, 3))],
                     "half")
    with open(name, "rb") as file:
        whole = file.read()
    with open(name, "wb") as file:
        file.write(b"\0" + whole)


def jpeg(path, side="16"):
    """Baseline, one component, flat 8x8 blocks. Quantization 8: a DC coefficient is mean - 128."""
    side = int(side)
    bits, before = "", 0
    for block in range((side // 8) ** 2):
        value = block * 37 % 200 - 100
        difference, before = value - before, value
        size = abs(difference).bit_length()
        bits += f"{size:04b}"  # DC: nine codes of four bits, for categories 0 to 8
        if size:
            bits += f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}"
        bits += "0"  # AC: the only code, of one bit: end of block
    bits += "1" * (-len(bits) % 8)
    scan = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")

    def segment(marker, body):
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    frame = struct.pack(">BHHBBBB", 8, side, side, 1, 1, 0x11, 0)
    with open(path, "wb") as file:
        file.write(b"\xff\xd8" + segment(0xDB, b"\0" + b"\x08" * 64) + segment(0xC0, frame)
                   + segment(0xC4, b"\x00" + bytes([0, 0, 0, 9]) + bytes(12) + bytes(range(9)))
                   + segment(0xC4, b"\x10" + bytes([1]) + bytes(15) + b"\0")
                   + segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + scan + b"\xff\xd9")


def cifar(folder, damage="none"):
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/batches.meta.txt", "w") as file:
        file.write("\n".join("airplane automobile bird cat deer dog frog horse ship truck".split()))
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    for number, name in enumerate(names):
        data = bytearray()
        for label in range(10):
            data += bytes([label]) + bytes((number * 40 + label * 20) % 256 for _ in range(3072))
        if damage == "label" and number == 2:
            data[3073 * 4] = 10
        if damage == "truncated" and number == 2:
            data = data[:-100]
        with open(f"{folder}/{name}", "wb") as file:
            file.write(data)


def hold_port(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(port)))
    listener.listen()
    print("held", flush=True)
    sys.stdin.close()
    while True:
        listener.accept()


if __name__ == "__main__":
    tools = {"model": model, "jpeg": jpeg, "cifar": cifar, "pth": pth, "seeds": seeds, "hold-port": hold_port}
    if len(sys.argv) < 2 or sys.argv[1] not in tools:
        sys.exit(__doc__)
    tools[sys.argv[1]](*sys.argv[2:])
