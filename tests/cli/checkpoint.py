"""PyTorch checkpoints for the tests of their reader, written opcode by opcode, without PyTorch: whole ones
as torch.save writes them, and hostile ones. No library beyond Python's own."""
import io
import struct
import zipfile

FOLDER = "archive/"
MARK, STOP, TUPLE, REDUCE, BUILD, SETITEMS = b"(", b".", b"t", b"R", b"b", b"u"
OS_SYSTEM = b"cos\nsystem\n"


def text(value):
    value = value.encode()
    return b"X" + struct.pack("<I", len(value)) + value


def number(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -2**31 <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def numbers(values):
    return MARK + b"".join(number(v) for v in values) + TUPLE


def name(module, what):
    return b"c" + module.encode() + b"\n" + what.encode() + b"\n"


ORDERED_DICT = name("collections", "OrderedDict") + b")" + REDUCE


def strides(shape):
    result = []
    for i in range(len(shape)):
        step = 1
        for side in shape[i + 1:]:
            step *= side
        result.append(step)
    return result


def tensor(key, kind, elements, offset, shape, stride, metadata=b""):
    """torch._utils._rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict()[, metadata])"""
    storage = MARK + text("storage") + name("torch", kind + "Storage") + text(key) + text("cpu") \
        + number(elements) + TUPLE + b"Q"
    return name("torch._utils", "_rebuild_tensor_v2") + MARK + storage + number(offset) \
        + numbers(shape) + numbers(stride) + b"\x89" + ORDERED_DICT + metadata + TUPLE + REDUCE


def transposed(values, rows, columns):
    return [values[r * columns + c] for c in range(columns) for r in range(rows)]


class Checkpoint:
    """A state_dict as its pickle and its storages; `damage` is done on the way."""

    def __init__(self, tensors, damage):
        self.storages = {}
        self.items = []
        weights = [i for i, (_, shape, _) in enumerate(tensors) if len(shape) == 2]
        for i, (label, shape, values) in enumerate(tensors):
            hit = i == weights[-1]  # one tensor has it, the last matrix
            self.add(label, shape, values, damage if hit else None, damage)
        if damage == "nan":
            key = str(len(tensors) - 1)
            self.storages[key] = struct.pack("<f", float("nan")) + self.storages[key][4:]

    def add(self, label, shape, values, hit, damage):
        key, kind, code = str(len(self.items)), "Float", "f"
        offset, stride, elements = 0, strides(shape), len(values)
        if label.endswith("num_batches_tracked"):
            kind, code = "Long", "q"
            if damage == "counter":
                values = [2**53 + 1]
        elif damage == "half":
            kind, code = "Half", "e"
        elif damage == "double":
            kind, code = "Double", "d"
        if damage == "no-classes" and label.startswith("fc3."):
            shape, values, stride, elements = [0] + shape[1:], [], strides([0] + shape[1:]), 0
        if hit in ("strided", "outside-stride"):  # as weight.t() of a transposed one, behind 5 others
            values = [9.0] * 5 + transposed(values, *shape)
            offset, stride, elements = 5, [1, shape[0]], len(values)
        self.storages[key] = struct.pack(f"<{len(values)}{code}", *values)
        if hit == "outside-stride":
            stride = [1, shape[0] + 1]
        elif hit == "outside-offset":
            offset = 1
        elif hit == "overflow-stride":
            stride = [2**62, 2**62]
        elif hit == "overflow-shape":
            shape, stride = [2**40, 2**40], [0, 0]
        elif hit == "negative-stride":
            offset, stride = elements - 1, [-shape[1], -1]
        elif hit == "negative-offset":
            offset = -1
        elif hit == "negative-shape":
            shape = [-shape[0], shape[1]]
        elif hit == "expanded":  # 2^40 elements out of one
            shape, stride = [2**20, 2**20], [0, 0]
        elif hit == "shape":
            shape = shape[::-1]
            stride = strides(shape)
        elif hit == "elements":
            elements += 1
        elif hit == "storage-missing":
            self.storages.pop(key)
        elif hit == "key":
            key = "../0"
        elif hit == "integers":
            kind, code = "Int", "i"
        elif hit == "bfloat16":
            kind = "BFloat16"
        metadata = {"negated": b"}" + text("neg") + b"\x88s", "metadata-none": b"N",
                    "metadata-empty": b"}", "metadata-odd": b"\x88"}.get(hit, b"")
        value = tensor(key, kind, elements, offset, shape, stride, metadata)
        if hit == "parameter":
            value = name("torch._utils", "_rebuild_parameter") + MARK + value + b"\x88" \
                + ORDERED_DICT + TUPLE + REDUCE
        elif hit == "storage-called":
            value = name("torch", "FloatStorage") + MARK + TUPLE + REDUCE
        elif hit == "no-tensor":
            value = number(3)
        if hit == "control":
            label = "\x1b[2J" + label
        if hit != "missing":
            self.items.append((label, value))
        if hit == "twice":
            self.items.append((label, value))
        if hit == "extra":
            self.items.append(("more." + label, value))

    def pickle(self, damage):
        prefix = "module." if damage == "wrapped" else ""
        body = ORDERED_DICT + MARK + b"".join(text(prefix + k) + v for k, v in self.items) + SETITEMS
        body += b"}" + text("_metadata") + ORDERED_DICT + b"s" + BUILD  # as PyTorch does
        if damage == "wrapped":
            body = b"}" + MARK + text("epoch") + number(3) + text("state_dict") + body \
                + text("loss") + b"G" + struct.pack(">d", 0.5) + text("big") + b"\x8a\x09" + b"\1" * 9 \
                + text("args") + b"N" + SETITEMS
        elif damage in ("training", "state-twice"):  # as in PyTorch's example of ImageNet
            again = text("state_dict") + body if damage == "state-twice" else b""
            body = b"}" + MARK + text("epoch") + number(3) + text("arch") + text("cnn") \
                + text("state_dict") + body + again + text("best_acc1") \
                + tensor("0", "Float", 1, 0, [], []) + text("optimizer") + b"}" + SETITEMS
        return b"\x80\x02" + HOSTILE_PICKLES.get(damage, lambda whole: whole)(body) + STOP


def call(callee, argument):
    return callee + MARK + text(argument) + TUPLE + REDUCE


# What stands in place of, or around, a good pickle's body.
HOSTILE_PICKLES = {
    "system": lambda body: call(OS_SYSTEM, "touch hacked"),
    "system-inside": lambda body: body[:-1] + BUILD + call(OS_SYSTEM, "touch hacked") + b"0",
    "eval": lambda body: call(name("builtins", "eval"), "1"),
    "getattr": lambda body: call(name("__builtin__", "getattr"), "1"),
    "load": lambda body: call(name("torch", "load"), "/etc/passwd"),
    "control-global": lambda body: b"c\x1b[2Jos\nsystem\n",
    "module-pickled": lambda body: name("__main__", "Net") + b")\x81}b",
    "stack-global": lambda body: text("os") + text("system") + b"\x93",
    "inst": lambda body: MARK + b"ios\nsystem\n",
    "object": lambda body: MARK + ORDERED_DICT + b"o",
    "newobj": lambda body: name("collections", "OrderedDict") + b")\x81",
    "extension": lambda body: b"\x82\x01",
    "build-called": lambda body: name("collections", "OrderedDict") + b"}" + BUILD,
    "call-result": lambda body: ORDERED_DICT + b")" + REDUCE,
    "persistent": lambda body: text("module") + b"Q",
    "underflow": lambda body: b"))" + b"RR",
    "no-mark": lambda body: b"}" + SETITEMS,
    "below-mark": lambda body: b"}" + MARK + b"NNs",
    "memo-bomb": lambda body: b"}r\xff\xff\xff\xff",
    "memo-missing": lambda body: b"h\x07",
    "nested": lambda body: b")" + b"\x85" * 200000,
    "holds-itself": lambda body: b"]q\0h\0a",
    "laughs": lambda body: b"}" + text("a") + b")" + b"".join(
        b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(100)) + b"s",
    "many-values": lambda body: MARK + b"N" * (1 << 20) + TUPLE,
    "long-text": lambda body: b"X\xff\xff\xff\x7fabc",
    "no-newline": lambda body: b"c" + b"a" * 100,
    "left-over": lambda body: b"N" + body,
    "tail": lambda body: body + STOP + b"N",
    "cut": lambda body: body[:1000],
    "list": lambda body: b"]",
    "empty": lambda body: b"}",
}


def pickle_of(tensors, damage):
    return Checkpoint(tensors, damage).pickle(damage)


def patch_directory(whole, entry, change):
    """Changes the central directory's line of an entry."""
    at = whole.rindex(b"PK\1\2", 0, whole.rindex(entry.encode()))
    line = bytearray(whole[at:at + 46])
    change(line)
    return whole[:at] + bytes(line) + whole[at + 46:]


def set_u16(at, value):
    return lambda line: struct.pack_into("<H", line, at, value)


def set_u32(at, *values):
    return lambda line: struct.pack_into(f"<{len(values)}I", line, at, *values)


def zip64_end(whole, entries):
    """A zip64 end of the directory that claims `entries`."""
    end = whole.rindex(b"PK\5\6")
    size, start = struct.unpack("<II", whole[end + 12:end + 20])
    end64 = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, entries, entries, size, start)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, end, 1)
    old = bytearray(whole[end:])
    struct.pack_into("<HHII", old, 8, 0xffff, 0xffff, 0xffffffff, 0xffffffff)
    return whole[:end] + end64 + locator + bytes(old)


def flip(whole, entry):
    """One bit of an entry's data."""
    at = whole.index(entry.encode()) + len(entry)
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:]


PKL, FIRST = FOLDER + "data.pkl", FOLDER + "data/0"
HOSTILE_ZIPS = {
    "truncated": lambda whole: whole[:len(whole) // 2],
    "truncated-end": lambda whole: whole[:-10],
    "comment": lambda whole: whole[:-2] + b"\4\0more",
    "encrypted": lambda whole: patch_directory(whole, FIRST, set_u16(8, 1)),
    "size-lies": lambda whole: patch_directory(whole, FIRST, set_u32(20, 0x7fffffff, 0x7fffffff)),
    "size-small": lambda whole: patch_directory(whole, FIRST, set_u32(20, 4, 4)),
    "offset-lies": lambda whole: patch_directory(whole, FIRST, set_u32(42, 0x7fffffff)),
    "entries-lie": lambda whole: zip64_end(whole, 1 << 40),
    "entries-few": lambda whole: zip64_end(whole, 3),
    "crc": lambda whole: flip(whole, FIRST),
    "crc-pickle": lambda whole: flip(whole, PKL),
    "many-ends": lambda whole: whole + (b"PK\5\6" + b"\0" * 18) * 20,
}


def write_zip(path, pickle, storages, damage):
    out = io.BytesIO()
    folder = {"absolute": "/etc/", "up": "../", "backslash": "archive\\..\\",
              "folder-time": "2026-11-21T10:30/", "folder-control": "\x1b[2J/", "dot": "./",
              "folder-backslash": "a\\..\\b/"}.get(damage, FOLDER)
    entries = [(folder + "data.pkl", pickle)]
    entries += [(f"{folder}data/{key}", data) for key, data in storages.items()]
    entries.append((folder + "version", b"3\n"))
    extra = {"duplicate": entries[0], "outside": ("other/file", b""), "root": ("file", b""),
             "two": ("second/data.pkl", pickle), "script": (folder + "constants.pkl", b"."),
             "big-endian": (folder + "byteorder", b"big"), "up-inside": (folder + "../x", b""),
             "folder-control": ("\x1b[3J", b""), "colon-inside": (folder + "a:b", b""),
             "little-endian": (folder + "byteorder", b"little")}.get(damage)
    if damage == "no-pickle":
        entries = entries[1:]
    if damage == "many-entries":
        entries += [(f"{folder}more/{i}", b"") for i in range(4096)]
    if damage == "bomb":  # 64 MB of zeros in 64 kB
        entries[1] = (entries[1][0], bytes(1 << 26))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for entry, data in entries + ([extra] if extra else []):
            info = zipfile.ZipInfo(entry)
            info.filename = entry  # as it stands
            info.compress_type = zipfile.ZIP_DEFLATED if damage in ("deflated", "bomb") else 0
            archive.writestr(info, data)
    whole = HOSTILE_ZIPS.get(damage, lambda same: same)(out.getvalue())
    with open(path, "wb") as file:
        file.write(whole)


def write(path, tensors, damage="none"):
    checkpoint = Checkpoint(tensors, damage)
    pickle = checkpoint.pickle(damage)
    if damage == "protocol":
        pickle = b"\x80\x04" + pickle[2:]
    if damage == "old":  # what torch.save wrote before 1.6 begins with
        with open(path, "wb") as file:
            file.write(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + pickle)
        return
    import warnings
    warnings.simplefilter("ignore")  # zipfile tells of duplicates
    write_zip(path, pickle, checkpoint.storages, damage)
