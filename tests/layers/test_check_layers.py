#!/usr/bin/env python3
"""check_layers.py finds each kind of violation when it is planted, and nothing in a sound tree."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.dont_write_bytecode = True
import check_layers

SOUND = {
    "base/err.c": '#include "base/err.h"\n#include <stdio.h>\n',
    "data/image_jpeg.c": '#include <jpeglib.h>\n#include "base/err.h"\n#include "data/image.h"\n',
    "nn/gemm.c": '#include <cblas.h>\n#include "data/batch.h"\n',
    "quant/quant.c": '#include "nn/net.h"\n#include "data/batch.h"\n',
    "gossip/wire.c": '#include <msgpack.h>\n#include <zmq.h>\n#include "base/hash.h"\n',
    "node/main.c": '#include "gossip/step.h"\n#include "quant/quant.h"\n',
}


class CheckLayers(unittest.TestCase):
    def problems(self, changes):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            for path, text in {**SOUND, **changes}.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            return check_layers.check(root)

    def test_a_sound_tree_passes(self):
        self.assertEqual(self.problems({}), [])

    def test_a_folder_that_includes_upwards_is_found(self):
        for path, header in (
            ("base/x.c", "data/source.h"),
            ("data/x.h", "nn/net.h"),
            ("nn/x.c", "gossip/step.h"),
            ("quant/x.c", "node/config.h"),
            ("gossip/x.c", "nn/net.h"),
            ("gossip/sub/x.c", "data/source.h"),
            ("nn/y.c", "tests/support/harness.h"),
        ):
            folder = path.split("/")[0]
            self.assertEqual(
                self.problems({path: f'\n#include "{header}"\n'}),
                [f'{path}:2: {folder}/ may not include "{header}": see the include table in docs/tour.md'],
            )

    def test_an_include_without_its_folder_is_found(self):
        for header in ("err.h", "../base/err.h"):
            self.assertEqual(
                self.problems({"nn/x.c": f'#include "{header}"\n'}),
                [f'nn/x.c:1: "{header}": write the folder: "nn/..."'],
            )

    def test_sockets_outside_gossip_are_found(self):
        for line, name in (("#include <zmq.h>", "zmq.h"), ('#  include "czmq.h"', "czmq.h")):
            self.assertEqual(
                self.problems({"node/x.c": line + "\n"}),
                [f"node/x.c:1: only gossip/ may include {name}"],
            )

    def test_a_second_room_of_a_library_is_found(self):
        for path, header, first in (
            ("nn/x.c", "cblas.h", "nn/gemm.c"),
            ("gossip/x.c", "msgpack.h", "gossip/wire.c"),
            ("data/x.c", "jpeglib.h", "data/image_jpeg.c"),
        ):
            self.assertEqual(
                self.problems({path: f"#include <lib/{header}>\n"}),
                [f"{header}: exactly one file may include it, found: {', '.join(sorted((first, path)))}"],
            )

    def test_a_part_of_msgpack_counts_as_msgpack(self):
        self.assertEqual(
            self.problems({"node/x.c": "#include <msgpack/unpack.h>\n"}),
            ["msgpack.h: exactly one file may include it, found: gossip/wire.c, node/x.c"],
        )

    def test_a_library_that_nobody_includes_is_found(self):
        self.assertEqual(
            self.problems({"nn/gemm.c": ""}),
            ["cblas.h: exactly one file may include it, found: none"],
        )

    def test_a_missing_folder_is_found(self):
        with tempfile.TemporaryDirectory() as name:
            self.assertIn("base/: no C file there", check_layers.check(pathlib.Path(name)))


if __name__ == "__main__":
    unittest.main()
