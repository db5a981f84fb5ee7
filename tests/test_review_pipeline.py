from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from compressor import Splitting, load, shrink
from compressor.cli import compress as group
from compressor.errors import CheckpointError, UsageError
from compressor.training.recipe import Recipe

SAMPLE = torch.zeros(2, 1, 28, 28)


def command(*words):
    return CliRunner().invoke(group, list(map(str, words)))


@pytest.mark.filterwarnings("ignore:the splitting was stopped", "ignore:projection changes the outputs")
def test_an_alignment_may_be_a_number():
    splitting = Splitting(load("digits_lenet").model, SAMPLE, total_steps=1, target_macs=0.5, align=5)
    splitting.project()
    assert all(kept % 5 == 0 for kept in splitting.kept)
    shrink(splitting.model, SAMPLE, align=5)


def test_half_precision_on_the_cpu_is_refused():
    with pytest.raises(UsageError, match="--precision 16 needs a GPU; on the CPU use bf16 or 32"):
        Recipe(epochs=1, precision="16", device="cpu").fabric()


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    state = load("digits_lenet").model.state_dict()
    state["fc1.bias"][3] = torch.nan
    torch.save(state, tmp_path / "broken.pt")
    with pytest.raises(CheckpointError, match=r"holds weights that are not finite numbers \(fc1\.bias\)"):
        load(tmp_path / "broken.pt", arch="lenet5")


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_shape = (1, 4, 4)
        self.linear = nn.Linear(16, 2)
        self.register_buffer("mask", torch.full((2,), -torch.inf))


def test_a_buffer_may_hold_infinities(tmp_path, monkeypatch):
    torch.save(Masked().state_dict(), tmp_path / "masked.pt")
    assert load(tmp_path / "masked.pt", arch=f"{__name__}:Masked").model.mask.isinf().all()


def test_more_class_names_than_outputs_are_refused(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class{number}" for number in range(11)))
    result = command("evaluate", "digits_lenet", "--classes", names)
    assert result.exit_code == 1
    assert "the network tells 10 classes apart, 11 class names were given" in result.stderr


def test_class_names_that_are_not_the_data_s_are_told(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class{number}" for number in range(10)))
    result = command("evaluate", "digits_lenet", "--classes", names)
    assert result.exit_code == 0
    assert "(class0, class1, class2 and 7 more) are not those of digits (0, 1, 2 and 7 more)" in result.stderr


def test_a_network_trained_on_other_classes_takes_their_names(compress, tiny):
    with np.load(tiny.data.removeprefix("npz:")) as arrays:
        np.savez("other.npz", x=arrays["x"], y=arrays["y"], classes=np.array(["red", "green", "blue", "grey"]))
    done = compress(
        "fine-tune", tiny.checkpoint, "--trust-arch", "--data", "npz:other.npz", "--epochs", "1", "--out", "moved.pt"
    )
    assert done.exit_code == 0, done.stderr
    assert load("moved.pt", trust_arch=True).metadata.classes == ("red", "green", "blue", "grey")
