"""What a model weighs on disk: the file, its external data, and both after gzip."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from compressor.errors import CheckpointError
from compressor.records import FileSize


def measure_size(path: Path, external: Sequence[Path]) -> FileSize:
    """Bytes of ``path``, of the ``external`` files that it refers to, and of all under ``gzip -6``."""
    return FileSize(
        onnx_bytes=path.stat().st_size,
        external_bytes=sum(file.stat().st_size for file in external),
        gzip_bytes=sum(_gzipped(file) for file in (path, *external)),
    )


def fingerprint(path: Path, external: Sequence[Path]) -> str:
    """SHA-256 of ``path`` followed by its external files, in hexadecimal."""
    digest = hashlib.sha256()
    for file in (path, *external):
        for chunk in _chunks(file):
            digest.update(chunk)
    return digest.hexdigest()


def _gzipped(path: Path) -> int:
    gzip_container = 31
    packer = zlib.compressobj(6, wbits=gzip_container)
    return sum(len(packer.compress(chunk)) for chunk in _chunks(path)) + len(packer.flush())


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
