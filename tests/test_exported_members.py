from __future__ import annotations

import subprocess
import sys

import pytest

import compressor

HEAVY = ("torch", "numpy", "onnx", "onnxruntime", "torch_pruning", "matplotlib", "lightning_fabric")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_exported_names_are_sorted():
    assert compressor.__all__ == sorted(compressor.__all__)


def test_exported_names_are_those_with_a_home_and_the_version():
    assert set(compressor.__all__) == {*compressor._HOME, "__version__"}


@pytest.mark.parametrize("name", compressor.__all__)
def test_every_exported_name_is_there(name):
    assert getattr(compressor, name) is not None


@pytest.mark.parametrize("name", sorted(compressor._HOME))
def test_every_exported_name_is_documented(name):
    assert getattr(compressor, name).__doc__


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'compressor' has no attribute 'nonsense'"):
        _ = compressor.nonsense


def test_benchmark_is_the_function_even_after_its_package_is_imported():
    code = (
        "import compressor, compressor.benchmarking; from compressor import benchmark; "
        "print(callable(benchmark), compressor.benchmark is compressor.benchmarking.benchmark)"
    )
    assert run(code) == "True True"


def test_importing_the_package_loads_nothing_heavy():
    assert run(f"import sys, compressor; print([m for m in {HEAVY} if m in sys.modules])") == "[]"


def test_version_is_that_of_the_installed_distribution():
    from importlib.metadata import version

    assert compressor.__version__ == version("torch-compressor")
