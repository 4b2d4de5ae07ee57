#!/usr/bin/env python3
"""Writes half.txt: float32 bits and the float16 bits that numpy rounds them to, in hexadecimal.

    tests/golden/make_half.py > tests/golden/half.txt     (numpy 1.24, Debian 12)
"""
import numpy

named = [0.0, -0.0, 1.0, -2.0, 0.1, 65504.0, 65519.996, 65520.0, -65520.0, 70000.0, 3e38,
         2.0**-14, 2.0**-24, 2.0**-25, 2.0**-26, -(2.0**-25), 1.5 * 2.0**-24, 2.5 * 2.0**-24,
         3.5 * 2.0**-24, 2.0**-14 - 2.0**-25, 2.0**-14 - 2.0**-26, 1e-40, 1e-45]
named += [1 + k * 2.0**-11 for k in range(1, 12)]          # ties and what lies between, at 1
named += [1 + k * 2.0**-11 + 2.0**-23 for k in range(12)]  # just above a tie
named += [1 + k * 2.0**-11 - 2.0**-23 for k in range(1, 12)]  # just below
random = numpy.random.default_rng(1)
drawn = random.standard_normal(300) * 2.0 ** random.integers(-28, 18, 300)
x = numpy.concatenate([numpy.array(named), drawn]).astype(numpy.float32)
with numpy.errstate(over="ignore"):
    half = x.astype(numpy.float16)
for a, b in zip(x.view(numpy.uint32), half.view(numpy.uint16)):
    print(f"{a:08x} {b:04x}")
