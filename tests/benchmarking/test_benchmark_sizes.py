import gzip
import hashlib

import pytest

from compressor.benchmarking.onnx_file import fingerprint, measure_size
from compressor.errors import CheckpointError


@pytest.fixture
def pair(tmp_path):
    first, second = tmp_path / "a.onnx", tmp_path / "a.data"
    first.write_bytes(b"graph" * 100)
    second.write_bytes(bytes(3_000_000))
    return first, second


def test_sizes_of_both_files_are_told_apart(pair):
    found = measure_size(pair[0], [pair[1]])
    assert (found.onnx_bytes, found.external_bytes) == (500, 3_000_000)


def test_gzip_size_is_that_of_gzip(pair):
    expected = sum(len(gzip.compress(path.read_bytes(), 6)) for path in pair)
    assert measure_size(pair[0], [pair[1]]).gzip_bytes == expected


def test_fingerprint_of_one_file_is_its_sha256(pair):
    assert fingerprint(pair[0], []) == hashlib.sha256(pair[0].read_bytes()).hexdigest()


def test_fingerprint_sees_external_data(pair):
    assert fingerprint(pair[0], [pair[1]]) != fingerprint(pair[0], [])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.onnx cannot be read"):
        fingerprint(tmp_path / "gone.onnx", [])
