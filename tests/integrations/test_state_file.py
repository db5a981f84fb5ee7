"""The state beside a trainer's checkpoint is data."""

from __future__ import annotations

import pickle

import pytest
import torch

from compressor.errors import CheckpointError
from compressor.integrations.state_file import read_state, write_state


class Code:
    def __reduce__(self):
        return print, ("run",)


def test_what_is_written_is_read(tmp_path):
    write_state(tmp_path / "state.pt", {"step": 3, "mean": torch.ones(2)})
    state = read_state(tmp_path / "state.pt")
    assert state["step"] == 3
    assert torch.equal(state["mean"], torch.ones(2))


@pytest.mark.parametrize("content", [{"step": Code()}, torch.ones(2)], ids=["code", "no state"])
def test_code_and_other_things_are_refused_and_not_run(tmp_path, content, capsys):
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"state\.pt cannot be read"):
        read_state(tmp_path / "state.pt")
    assert capsys.readouterr().out == ""


def test_a_bare_pickle_is_refused_and_not_run(tmp_path, capsys):
    (tmp_path / "state.pt").write_bytes(pickle.dumps(Code()))
    with pytest.raises(CheckpointError, match=r"state\.pt cannot be read"):
        read_state(tmp_path / "state.pt")
    assert capsys.readouterr().out == ""


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="is missing, where the state of the splitting was kept"):
        read_state(tmp_path / "state.pt")
