import numpy as np
import pytest

from compressor.benchmarking.onnx_file import Input, check_batch
from compressor.benchmarking.worker import random_inputs
from compressor.errors import UsageError

IMAGE = Input("image", "float32", (None, 3, 4, 4))


def test_the_batch_takes_the_open_place():
    assert random_inputs([IMAGE], batch=5, seed=0)["image"].shape == (5, 3, 4, 4)


def test_one_seed_gives_one_input():
    first, second = (random_inputs([IMAGE], batch=1, seed=3)["image"] for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8", "bool"])
def test_inputs_have_the_type_asked_for_and_vary(dtype):
    found = random_inputs([Input("x", dtype, (100,))], batch=1, seed=0)["x"]
    assert found.dtype == dtype
    assert len(np.unique(found)) > 1


def test_integers_are_small_and_not_negative():
    found = random_inputs([Input("x", "int64", (1000,))], batch=1, seed=0)["x"]
    assert set(found) == set(range(10))


def test_a_fixed_batch_of_another_size_is_refused():
    with pytest.raises(UsageError, match="net: the batch of input 'x' is fixed at 2, so batch 8 cannot be timed"):
        check_batch("net", [Input("x", "float32", (2, 3))], 8)


@pytest.mark.parametrize("entry", [IMAGE, Input("x", "float32", (8, 3)), Input("scale", "float32", ())])
def test_an_open_an_equal_and_no_batch_are_fine(entry):
    check_batch("net", [entry], 8)
