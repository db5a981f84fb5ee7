import json

import pytest

from compressor.cli.list import KINDS


def test_inspect_says_what_is_prunable_and_why_not(tiny, compress):
    done = compress("inspect", tiny.sparse, "--trust-arch")
    assert "12 zero channels" in done.stdout
    assert "no: its channels are outputs of the network" in done.stdout
    assert "The least that can be reached is" in done.stdout


def test_inspect_for_machines_names_every_member(tiny, compress):
    groups = json.loads(compress("inspect", tiny.sparse, "--trust-arch", "--json").stdout)["groups"]
    assert groups[0]["members"] == ["0 (producer)", "1 (norm)", "3 (consumer)"]
    assert [group["excluded"] is None for group in groups] == [True, True, False]


def test_inspect_keeps_a_residual_stage_readable(compress):
    done = compress("inspect", "--arch", "resnet20")
    assert " more" in done.stdout
    assert len(done.stdout.splitlines()) < 60


def test_inspect_needs_no_checkpoint(tiny, compress):
    done = compress("inspect", "--arch", tiny.arch, "--arch-arg", "width=24", "--json")
    assert json.loads(done.stdout)["groups"][0]["channels"] == 24


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_list_knows_every_kind(kind, compress):
    rows = json.loads(compress("list", kind, "--json").stdout)
    shown = compress("list", kind)
    assert shown.exit_code == 0
    for row in rows:
        assert str(next(iter(row.values()))).split(" or ")[0] in shown.stdout


def test_list_texts_hold_no_markup(compress):
    assert "`" not in compress("list", "penalties").stdout


def test_list_of_an_unknown_kind_suggests_the_nearest(compress):
    done = compress("list", "penalty")
    assert done.exit_code == 2
    assert "no list is called 'penalty'. Did you mean 'penalties'?" in done.error[0]
