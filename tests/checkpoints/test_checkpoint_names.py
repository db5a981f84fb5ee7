from __future__ import annotations

import pytest
import torch

from compressor import load, save
from compressor.checkpoints import Network, embedded, fresh
from compressor.errors import UnknownName, UsageError

every_embedded = pytest.mark.parametrize("name", sorted(embedded()))


@every_embedded
def test_embedded_model_loads_by_name(name):
    network = load(name)
    with torch.no_grad():
        logits = network.model(network.example_input(3))
    assert logits.shape == (3, len(network.metadata.classes))
    assert logits.isfinite().all()


@every_embedded
def test_embedded_model_knows_its_data_normalization_and_history(name):
    metadata = load(name).metadata
    assert metadata.data.ref == name.split("_")[0]
    assert metadata.normalization is not None
    assert metadata.history[-1]["test_accuracy"] > 0.98


def test_models_of_both_kinds_are_embedded():
    assert set(embedded()) == {"curves_cnn", "digits_lenet", "digits_resnet"}


def test_file_of_the_name_wins_over_an_embedded_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(fresh("lenet5", arch_args={"num_classes": 3}), "own.pt")
    (tmp_path / "own.pt").rename("digits_lenet")
    assert load("digits_lenet").model.fc2.out_features == 3


def test_unknown_name_suggests_the_nearest_model():
    with pytest.raises(
        UnknownName, match=r"no file or embedded model is called 'digits_resnt'. Did you mean 'digits_res"
    ):
        load("digits_resnt")


def test_header_of_a_users_architecture_is_refused_without_trust(tmp_path, tied):
    save(tied, tmp_path / "m.pt")
    with pytest.raises(UsageError, match=r"tied_network\.py:Tied' would run code .* or --trust-arch"):
        load(tmp_path / "m.pt")


@pytest.mark.parametrize("how", ["arch", "trust_arch"])
def test_header_of_a_users_architecture_is_accepted_with_their_word(tmp_path, tied, how):
    save(tied, tmp_path / "m.pt")
    word = {"arch": tied.metadata.architecture.ref} if how == "arch" else {"trust_arch": True}
    again = load(tmp_path / "m.pt", **word)
    assert torch.equal(again.model(tied.example_input()), tied.model(tied.example_input()))
    assert again.metadata == tied.metadata


def test_network_of_a_users_file_can_be_saved_again_after_loading(tmp_path, tied):
    save(tied, tmp_path / "a.pt")
    save(load(tmp_path / "a.pt", trust_arch=True), tmp_path / "b.pt")
    assert load(tmp_path / "b.pt", trust_arch=True).metadata == tied.metadata


def test_architecture_on_the_command_line_overrules_one_that_moved(tmp_path, tied):
    save(tied, tmp_path / "m.pt")
    (tmp_path / "tied_network.py").rename(tmp_path / "moved.py")
    ref = f"{tmp_path / 'moved.py'}:Tied"
    assert load(tmp_path / "m.pt", arch=ref).metadata.architecture.ref == ref


def test_what_the_user_says_overrules_what_the_file_says(tmp_path, network):
    save(network, tmp_path / "m.pt")
    metadata = load(tmp_path / "m.pt", normalize="none", classes=["w", "x", "y", "z"], input_shape=(1, 28, 28)).metadata
    assert (str(metadata.normalization), metadata.classes) == ("none", ("w", "x", "y", "z"))
    assert metadata.data == network.metadata.data


def test_bare_model_is_saved_with_the_architecture_that_is_named(tmp_path):
    model = fresh("lenet5").model
    save(model, tmp_path / "m.pt", arch="lenet5", normalize="0.5/0.5")
    again = load(tmp_path / "m.pt")
    assert torch.equal(again.model.fc1.weight, model.fc1.weight)
    assert str(again.metadata.normalization) == "0.5/0.5"


def test_bare_model_without_an_architecture_is_refused(tmp_path):
    with pytest.raises(UsageError, match="saving a bare module needs arch="):
        save(fresh("lenet5").model, tmp_path / "m.pt")


def test_another_model_keeps_the_description(network):
    other = fresh("lenet5", arch_args={"num_classes": 4}).model
    assert network.with_model(other) == Network(other, network.metadata)
