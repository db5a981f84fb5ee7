from __future__ import annotations

import numpy as np
import pytest

from compressor.data import DATASETS, load_data
from compressor.errors import DataError, UnknownName, UsageError
from compressor.registry import resolve, summary


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_data_set_says_what_it_is_and_how_to_write_it(name):
    reader = resolve("data set", DATASETS, name)
    assert summary(reader)
    assert reader.form.partition(":")[0] == name


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"curves", "digits"}))
@pytest.mark.parametrize("colon", ["", ":"])
def test_missing_place_is_refused_with_the_right_form(name, colon):
    with pytest.raises(UsageError, match=f"does not say where its files are: write {name}:"):
        load_data(name + colon)


def test_superfluous_place_is_refused_with_the_right_form():
    with pytest.raises(UsageError, match="'digits' takes nothing after its name, got 'digits:x': write digits"):
        load_data("digits:x")


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match=r"no data set is called 'minst'\. Did you mean 'mnist'"):
        load_data("minst:x")


@pytest.mark.parametrize("val_fraction", [-0.1, 0.6, float("nan")])
def test_validation_fraction_out_of_range_is_refused(val_fraction):
    with pytest.raises(UsageError, match=r"validation fraction must be between 0 and 0.5, got"):
        load_data("digits", val_fraction=val_fraction)


def test_negative_split_seed_is_refused():
    with pytest.raises(UsageError, match="split seed must be 0 or more, got -1"):
        load_data("digits", split_seed=-1)


def test_subset_of_nothing_is_refused():
    with pytest.raises(UsageError, match="training samples must be at least 1, got 0"):
        load_data("digits", max_train=0)


@pytest.mark.parametrize("shape", [(1, 8), (1, 8, 0)])
def test_input_shape_that_cannot_be_is_refused(shape):
    with pytest.raises(UsageError, match="input shape must be channels, height and width"):
        load_data("digits", shape)


def test_data_too_few_to_split_are_refused(tmp_path):
    file = tmp_path / "one.npz"
    np.savez(file, x=np.zeros((1, 2, 2), np.uint8), y=np.zeros(1, int))
    with pytest.raises(DataError, match="too few samples to split: 0 to train and 1 to test"):
        load_data(f"npz:{file}")


def test_data_set_remembers_how_it_was_made():
    data = load_data("digits", val_fraction=0.2, split_seed=3)
    assert (data.ref, data.val_fraction, data.split_seed) == ("digits", 0.2, 3)
