"""The network and the data that a benchmark is about, as its command line names them."""

from __future__ import annotations

import argparse

from compressor.checkpoints import Network, load
from compressor.data import load_data
from compressor.data.samples import DataSet


def ask_for_data(parser: argparse.ArgumentParser) -> None:
    """Options for the data of a network."""
    parser.add_argument("--data", help="those that the network was trained on by default")
    parser.add_argument("--max-train", type=int)
    parser.add_argument("--trust-arch", action="store_true")


def ask_for_network(parser: argparse.ArgumentParser) -> None:
    """The network, and options for its data."""
    parser.add_argument("model")
    ask_for_data(parser)


def network_and_data(asked: argparse.Namespace) -> tuple[Network, DataSet]:
    """What was asked for."""
    network = load(asked.model, trust_arch=asked.trust_arch)
    return network, data_of(network, asked)


def data_of(network: Network, asked: argparse.Namespace) -> DataSet:
    """The data asked for, or those of the network, split as for its training."""
    known = network.metadata.data
    split = {} if known is None else {"split_seed": known.split_seed, "val_fraction": known.val_fraction}
    shape = network.metadata.input_shape
    assert len(shape) == 3, "these benchmarks are about networks for images"
    return load_data(asked.data or (known.ref if known else ""), shape, max_train=asked.max_train, **split)
