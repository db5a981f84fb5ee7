import math
import shutil

import numpy as np
import pytest
from onnx import helper

from compressor import benchmark
from compressor.benchmarking import labels_of
from compressor.benchmarking.environment import allowed_cpus
from compressor.benchmarking.memory import CLEAR
from compressor.codec import encode
from compressor.errors import CheckpointError, CompressorError, UsageError

QUICK = {"pairs": 3, "rounds": 2, "max_seconds": 5.0}


def test_eight_times_the_work_is_slower(measured):
    (comparison,) = measured.comparisons
    assert (comparison.variant, comparison.verdict) == ("heavy", "slower")
    assert 3 < comparison.ratio < 12


def test_an_eighth_of_the_work_is_faster(heavy, light):
    (comparison,) = benchmark([heavy, light], **QUICK).comparisons
    assert (comparison.variant, comparison.verdict) == ("light", "faster")
    assert comparison.speedup > 3


def test_a_file_beside_its_copy_is_no_different(heavy, tmp_path):
    copy = shutil.copyfile(heavy, tmp_path / "heavy.onnx")
    found = benchmark([heavy, copy], pairs=4, rounds=3, max_seconds=4.0)
    assert found.comparisons[0].verdict in ("same", "inconclusive")
    assert [variant.name for variant in found.variants] == ["heavy", "heavy-2"]
    assert found.variants[0].sha256 == found.variants[1].sha256


def test_macs_and_sizes_are_told(measured, light):
    first, second = measured.variants
    assert second.macs == 8 * first.macs == 8 * 64 * 192 * 192
    assert first.parameters == first.parameters_nonzero == 192 * 192
    assert first.size.onnx_bytes == light.stat().st_size
    assert first.providers_actual == ("CPUExecutionProvider",)


def test_no_absolute_path_is_kept(measured, light):
    assert str(light.parent) not in encode(measured).decode()
    assert measured.variants[0].path == "light.onnx"


def test_every_batch_is_compared_and_has_a_control(light):
    found = benchmark([light], batches=(1, 4), **QUICK)
    assert found.comparisons == ()
    assert [control.batch for control in found.controls] == [1, 4]
    latencies = found.variants[0].latency
    assert latencies[1].p50_ms > latencies[0].p50_ms


@pytest.mark.skipif(not CLEAR.exists(), reason="needs /proc")
def test_memory_is_measured(measured):
    memory = measured.variants[1].memory
    assert memory.session_bytes >= 4 * 192 * 192
    assert "batch 1" in memory.method


def test_progress_ends_complete(light):
    seen = []
    benchmark([light], progress=lambda done, text: seen.append((done, text)), **QUICK)
    assert [text for _, text in seen[:2]] == ["reading light.onnx", "memory of light.onnx"]
    assert seen[0][0] == 0.0
    assert seen[-1][0] == 1.0


def test_samples_are_as_many_as_asked_for(measured):
    control, load = measured.controls[0], measured.variants[0].load_ms
    assert (control.rounds, load.n) == (2, control.pairs)
    assert control.pairs >= 3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"threads": 10_000}, f"threads must be at most {len(allowed_cpus())}, the processors given, got 10000"),
        ({"pairs": 1}, "pairs must be at least 2, got 1"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"max_seconds": 0.0}, "max_seconds must be positive and finite, got 0.0"),
        ({"max_seconds": math.inf}, "max_seconds must be positive and finite, got inf"),
        ({"max_seconds": math.nan}, "max_seconds must be positive and finite, got nan"),
        ({"batches": ()}, r"batches must be distinct and at least 1, got \[\]"),
        ({"batches": (1, 1)}, r"batches must be distinct and at least 1, got \[1, 1\]"),
        ({"batches": (0,)}, r"batches must be distinct and at least 1, got \[0\]"),
        ({"provider": "abacus"}, "no provider is called 'abacus'"),
        ({"names": ["a", "b"]}, r"names must be 1 distinct names, one per file, got \['a', 'b'\]"),
    ],
)
def test_wrong_settings_are_refused(light, options, complaint):
    with pytest.raises(UsageError, match=complaint):
        benchmark([light], **options)


def test_no_files_are_refused():
    with pytest.raises(UsageError, match="needs at least one file"):
        benchmark([])


def test_a_fixed_batch_is_refused_by_name(fixed):
    with pytest.raises(UsageError, match=r"fixed\.onnx: the batch of input 'x' is fixed at 2"):
        benchmark([fixed])


def test_a_missing_second_file_is_refused_before_anything_runs(light, tmp_path):
    texts = []
    with pytest.raises(UsageError, match=r"gone\.onnx does not exist"):
        benchmark([light, tmp_path / "gone.onnx"], progress=lambda done, text: texts.append(text))
    assert texts == ["reading light.onnx", "reading gone.onnx"]


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(CheckpointError, match=r"empty\.onnx is not an ONNX model"):
        benchmark([tmp_path / "empty.onnx"])


def test_a_model_that_onnx_runtime_refuses_is_named(unknown_operator):
    with pytest.raises(CompressorError, match=r"ONNX Runtime cannot load .*odd\.onnx: .*Nonsense") as caught:
        benchmark([unknown_operator])
    assert "\n" not in str(caught.value)


def test_a_model_that_fails_at_a_batch_is_named(write):
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    path = write([node], {"x": ["n", 3]}, {"y": [2, 3]}, {"shape": np.array([2, 3])})
    with pytest.raises(CompressorError, match=r"network\.onnx does not run at batch 1: .*Reshape") as caught:
        benchmark([path])
    assert "\n" not in str(caught.value)


def test_names_are_stems_made_unique(tmp_path):
    paths = [tmp_path / name for name in ("a/net.onnx", "b/net.onnx", "net-2.onnx", "c/net.onnx")]
    assert labels_of(paths, None) == ["net", "net-2", "net-2-2", "net-3"]
