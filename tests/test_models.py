"""The embedded models are what their cards say."""

import hashlib
import re
import shlex

import pytest

from compressor.checkpoints import embedded, load
from compressor.cli import compress
from compressor.costs import count_macs, count_parameters
from compressor.data import load_data
from compressor.training.evaluation import model_accuracy

every_model = pytest.mark.parametrize("name", sorted(embedded()))


def card(name):
    return embedded()[name].with_suffix(".md").read_text(encoding="utf-8")


def test_there_are_at_least_three():
    assert {"curves_cnn", "digits_lenet", "digits_resnet"} <= set(embedded())


@every_model
def test_the_card_holds_the_checksum_of_the_file(name):
    assert hashlib.sha256(embedded()[name].read_bytes()).hexdigest() in card(name)


@every_model
def test_the_card_holds_the_measured_accuracy(name):
    network = load(name)
    known = network.metadata
    data = load_data(known.data.ref, known.input_shape, split_seed=known.data.split_seed)
    accuracy = model_accuracy(network.model, data.test, known.normalization)
    assert f"{accuracy.n} held-out test images | {100 * accuracy.value:.2f} %" in card(name)
    assert accuracy.value > 0.97


@every_model
def test_the_card_holds_the_counts(name):
    network = load(name)
    assert f"parameters | {count_parameters(network.model):,} |" in card(name)
    assert f"accumulates | {count_macs(network.model, network.example_input()):,} |" in card(name)


@every_model
def test_the_command_of_the_card_can_be_typed(name):
    (line,) = re.findall(r"^\$ compress (.*)$", card(name), re.MULTILINE)
    command, *arguments = shlex.split(line)
    with compress.get_command(None, command).make_context(command, arguments) as context:
        assert context.params["out"].name == f"{name}.pt"


@every_model
def test_the_checkpoint_names_no_folder_of_the_machine_that_made_it(name):
    assert not re.search(rb"/(home|root|tmp|work|Users)/", embedded()[name].read_bytes())
