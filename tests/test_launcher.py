"""What the environment says of several processes, as torchrun sets it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compressor.errors import UsageError
from compressor.launcher import Place, forget_fabric, given_place

GIVEN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "first",
    "MASTER_PORT": "29500",
}
PLACE = Place(rank=3, size=4, local_rank=1, local_size=2, address="first", port=29500)


def test_a_launcher_says_who_this_is():
    assert given_place(GIVEN) == PLACE
    assert PLACE.nodes == 2
    assert PLACE.environment == GIVEN


@pytest.mark.parametrize("started", [True, False])
def test_what_a_place_says_is_read_back(started):
    place = Place(rank=0, size=2, local_rank=0, local_size=2, address="127.0.0.1", port=1, started=started)
    assert given_place(place.environment) == place


@pytest.mark.parametrize("name", GIVEN)
def test_one_that_lacks_is_no_launcher(name):
    """Schedulers set some of them for every machine."""
    assert given_place({key: value for key, value in GIVEN.items() if key != name}) is None


def test_one_process_is_alone():
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    assert given_place(GIVEN | alone) is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"RANK": "x"}, "RANK in the environment must be a whole number, as of torchrun, got 'x'"),
        ({"RANK": "4"}, "RANK 4 of WORLD_SIZE 4 and LOCAL_RANK 1 of LOCAL_WORLD_SIZE 2, which cannot be"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK 2 of LOCAL_WORLD_SIZE 2, which cannot be"),
        ({"LOCAL_WORLD_SIZE": "3"}, "4 processes are on machines with 3 each; every machine needs as many"),
    ],
)
def test_what_cannot_be_is_one_line(changed, told):
    with pytest.raises(UsageError, match=told):
        given_place(GIVEN | changed)


def test_fabrics_own_variables_are_forgotten(monkeypatch):
    monkeypatch.setenv("LT_DEVICES", "8")
    forget_fabric()
    assert "LT_DEVICES" not in os.environ


@pytest.mark.parametrize(("argument", "code"), [("--version", 0), ("--no-such", 2)])
def test_a_process_that_has_met_others_ends_at_once(argument, code):
    # With threads of torch's that have not ended yet, an interpreter that ends as usual may abort.
    script = (
        "import atexit, sys; from compressor.launcher import note_meeting; from compressor.cli import main; "
        f"atexit.register(print, 'as usual'); note_meeting(); sys.argv[1:] = [{argument!r}]; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout + done.stderr
    assert "as usual" not in done.stdout
