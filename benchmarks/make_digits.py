"""Writes compressor/data/digits.npz from the digits of scikit-learn, which the package does not need.

python benchmarks/make_digits.py
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from compressor.files import write_bytes

FILE = Path(__file__).parents[1] / "compressor" / "data" / "digits.npz"


def main() -> None:
    """Store the images, uint8 (1797, 8, 8) with values 0 to 16, and the labels, uint8 (1797,)."""
    digits = load_digits()
    content = BytesIO()
    np.savez_compressed(content, images=digits.images.astype(np.uint8), labels=digits.target.astype(np.uint8))
    write_bytes(FILE, content.getvalue())
    print(f"{FILE}: {len(digits.target)} digits, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
