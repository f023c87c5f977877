"""Computes with scikit-image the likeness of pictures that the audit's metrics must reproduce.

    python3 -m venv /tmp/ssimenv && /tmp/ssimenv/bin/pip install scikit-image numpy
    /tmp/ssimenv/bin/python tests/tools/reference_ssim.py > audit/tests/fixtures/likeness.json

Pictures are written down by formulas, so that the fixture holds only the figures; the test draws the same ones.
"""

import json

import numpy
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def picture(kind, height, width):
    """A plane of values in [0, 1]."""
    y, x = numpy.mgrid[0:height, 0:width].astype(float)
    if kind == "ramp":
        return (x + 2 * y) / (width + 2 * height)
    if kind == "waves":
        return 0.5 + 0.25 * numpy.sin(0.7 * x) + 0.25 * numpy.cos(0.45 * y + 0.1 * x)
    if kind == "tiles":
        return ((x // 4 + y // 4) % 2) * 0.8 + 0.1
    if kind == "noise":
        # The fractional part of a large sine: the same in any language.
        value = numpy.sin(12.9898 * x + 78.233 * y) * 43758.5453
        return value - numpy.floor(value)
    raise ValueError(kind)


def main():
    pairs = []
    for first, second, share, height, width in [
        ("ramp", "noise", 0.1, 32, 32),
        ("waves", "noise", 0.3, 24, 40),
        ("tiles", "ramp", 0.5, 33, 20),
        ("waves", "tiles", 1.0, 16, 16),
        ("noise", "waves", 0.02, 11, 12),
    ]:
        a = picture(first, height, width)
        b = (1 - share) * a + share * picture(second, height, width)
        pairs.append(
            {
                "first": first,
                "second": second,
                "share": share,
                "height": height,
                "width": width,
                "psnr": peak_signal_noise_ratio(a, b, data_range=1.0),
                "ssim": structural_similarity(
                    a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
                ),
            }
        )
    print(json.dumps(pairs, indent=1))


main()
