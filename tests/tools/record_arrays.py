"""Writes with NumPy the file of arrays that `hecc audit --data` must read.

    python3 -m venv /tmp/npenv && /tmp/npenv/bin/pip install numpy
    /tmp/npenv/bin/python tests/tools/record_arrays.py audit/tests/fixtures/arrays.npz
"""

import sys

import numpy

numbers = numpy.arange(24)
numpy.savez_compressed(
    sys.argv[1],
    s=(numbers / 8).reshape(4, 2, 3),
    s_next=numpy.asfortranarray((numbers / 8).reshape(4, 2, 3).astype(numpy.float32)),
    a=numpy.array([0, 2, 1, 2]),
    r=numpy.array([-1.5, 0.25, 1e300, -0.0], dtype=">f8"),
    done=numpy.array([False, True, False, True]),
    small=numpy.array([-128, 127], dtype=numpy.int8),
    bytes=numpy.array([[0, 255]], dtype=numpy.uint8),
    matrix=numpy.asfortranarray(numbers[:6].reshape(2, 3).astype(numpy.int16)),
)
