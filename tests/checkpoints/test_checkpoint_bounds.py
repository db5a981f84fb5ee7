"""What a file may cost is known before it costs it."""

from __future__ import annotations

import resource
import zipfile
from copy import deepcopy

import pytest
import torch
from torch import nn

from compressor import load
from compressor.checkpoints import fresh
from compressor.checkpoints.allocation import building, check_forward
from compressor.errors import CheckpointError, UsageError
from compressor.limits import memory_limit
from compressor.sources import Architecture

MIB = 2**20
LIMIT = r"of memory and at most 3\.0 GiB is allowed; --max-memory allows more$"


@pytest.fixture(autouse=True)
def _takes_little():
    """Nothing that is refused was allocated first."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


def saved(content, path, *keys, value):
    """``content`` with ``value`` at ``keys``, as a file."""
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    torch.save(content, path)
    return path


def test_a_packed_file_is_weighed_as_it_unpacks(tmp_path):
    torch.save({"w": torch.zeros(8)}, tmp_path / "small.pt")
    packed = tmp_path / "m.pt"
    with zipfile.ZipFile(tmp_path / "small.pt") as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        with new.open(f"{old.namelist()[0].split('/')[0]}/data/1", "w", force_zip64=True) as bomb:
            for _ in range(200):
                bomb.write(bytes(MIB))
    assert packed.stat().st_size < MIB
    assert load_error(packed, memory=100 * MIB) == (
        f"{packed} unpacked needs 0.2 GiB of memory and at most 100 MiB is allowed; --max-memory allows more"
    )


TEXT = b"X\x01\x00\x00\x00aX\x06\x00\x00\x00latin1tR"
# Pickles that torch's reader for weights takes: 4 GiB of zeros, and a text whose length is doubled 40 times.
GROWING = {
    "zeros": b"\x80\x02c__builtin__\nbytearray\n(\x8a\x05\x00\x00\x00\x00\x01tR.",
    "doubled": b"\x80\x02" + 41 * b"c_codecs\nencode\n(" + TEXT + 40 * b"X\x03\x00\x00\x00hextR" + b".",
}


@pytest.mark.parametrize("name", GROWING)
def test_what_grows_while_it_is_read_is_stopped(tmp_path, name):
    torch.save({"w": torch.zeros(8)}, tmp_path / "small.pt")
    with zipfile.ZipFile(tmp_path / "small.pt") as old, zipfile.ZipFile(tmp_path / "m.pt", "w") as new:
        for entry in old.namelist():
            new.writestr(entry, GROWING[name] if entry.endswith("data.pkl") else old.read(entry))
    error = load_error(tmp_path / "m.pt", memory=100 * MIB)
    assert error == f"{tmp_path / 'm.pt'} cannot be read: it asks for more memory than --max-memory allows"


def load_error(path, *, memory):
    with memory_limit(memory), pytest.raises(CheckpointError) as caught:
        load(path, arch="lenet5")
    return str(caught.value)


@pytest.mark.parametrize("shape", [(10**10,), (2**31, 2**31), (2**62,)])
@pytest.mark.parametrize("nesting", [True, False])
def test_tensors_that_claim_more_than_they_store_are_counted_as_they_claim(tmp_path, shape, nesting):
    state = {"fc.weight": torch.zeros(1).expand(shape)}
    torch.save({"state_dict": state} if nesting else state, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=LIMIT):
        load(tmp_path / "m.pt", arch="lenet5")
    with pytest.raises(CheckpointError, match=LIMIT):
        load(tmp_path / "m.pt")


def test_they_are_counted_in_files_of_ours(tmp_path, content):
    path = saved(content, tmp_path / "m.pt", "state", "more", value=torch.zeros(1).expand(10**10))
    with pytest.raises(CheckpointError, match=rf"^{path} unpacked needs 37\.3 GiB {LIMIT}"):
        load(path)


@pytest.mark.parametrize(
    ("ref", "args"),
    [
        ("lenet5", {"num_classes": 10**7}),
        ("resnet20", {"num_classes": 10**8}),
        ("resnet110", {"in_channels": 10**8}),
        ("curves-cnn", {"num_classes": 10**12}),
    ],
)
def test_architectures_are_built_within_the_limit(tmp_path, content, ref, args):
    path = saved(content, tmp_path / "m.pt", "header", "architecture", value={"ref": ref, "args": args})
    with pytest.raises(CheckpointError, match=rf"^{ref} of {path} needs .* {LIMIT}"):
        load(path)


@pytest.mark.parametrize("shape", [[1, 28, 100_000], [1, 10**9, 10**9], [1, 30_000, 30_000], [2**40]])
def test_the_input_shape_is_weighed_by_a_forward_pass_without_data(tmp_path, content, shape):
    content["header"]["architecture"] = {"ref": "resnet20", "args": {"num_classes": 4, "in_channels": 1}}
    content["header"]["edits"] = []
    content["state"] = fresh("resnet20", arch_args={"num_classes": 4, "in_channels": 1}).model.state_dict()
    path = saved(content, tmp_path / "m.pt", "header", "input_shape", value=shape)
    with pytest.raises(CheckpointError, match=rf"^working with inputs of {'x'.join(map(str, shape))} needs .* {LIMIT}"):
        load(path)


def padded(before):
    return {"edit": "padded shortcut", "module": "layer2.0.shortcut", "tensors": {},
            "sizes": {"before": before, "after": 8, "step": 2}}  # fmt: skip


def test_a_padded_shortcut_of_a_million_channels_is_refused(tmp_path, content):
    content["header"]["architecture"] = {"ref": "resnet20", "args": {}}
    content["header"]["input_shape"] = [3, 32, 32]
    content["state"] = fresh("resnet20").model.state_dict()
    path = saved(content, tmp_path / "m.pt", "header", "edits", value=[padded(2**20 - 1)])
    with pytest.raises(CheckpointError, match=LIMIT):
        load(path)


def test_the_tensors_of_all_edits_are_counted_together(tmp_path, content):
    sizes = {"in_features": 10**4, "out_features": 2 * 10**4}
    edits = [
        {"edit": "resize", "module": name, "sizes": sizes, "tensors": {"weight": [20_000, 10_000], "bias": [20_000]}}
        for name in ("fc1", "fc2")
    ]
    for count, error in ((1, "does not fit lenet5: wrong shape"), (2, r"does not fit lenet5: the network .*1.0 GiB")):
        path = saved(deepcopy(content), tmp_path / "m.pt", "header", "edits", value=edits[:count])
        with memory_limit(2**30), pytest.raises(CheckpointError, match=error):
            load(path)


def test_more_edits_than_modules_can_have_are_refused(tmp_path, content):
    edit = {"edit": "identity", "module": "nope", "sizes": {}, "tensors": {}}
    path = saved(content, tmp_path / "m.pt", "header", "edits", value=[edit] * 2000)
    with pytest.raises(CheckpointError, match="it has 2,000 edits, more than 4 for each of 5 modules"):
        load(path)


def test_the_limit_is_lifted_by_the_users_word(tmp_path, content):
    path = saved(content, tmp_path / "m.pt", "header", "architecture", "args", value={"num_classes": 10**5})
    for limit, error in ((50 * MIB, "--max-memory allows more"), (500 * MIB, "does not fit lenet5: wrong shape")):
        with memory_limit(limit), pytest.raises(CheckpointError, match=error):
            load(path)


def test_building_under_the_limit_draws_the_same_numbers():
    torch.manual_seed(0)
    plain = Architecture("resnet20").build().state_dict()
    torch.manual_seed(0)
    with building("it", held=0, kind=CheckpointError):
        bounded = Architecture("resnet20").build().state_dict()
    assert all(torch.equal(value, bounded[key]) for key, value in plain.items())


def test_endless_building_is_given_up():
    def endless():
        with building("it", held=0, kind=CheckpointError):
            while True:
                torch.zeros(1)

    with pytest.raises(UsageError, match="it takes more than 50,000 operations to build"):
        endless()


def test_what_is_freed_while_building_does_not_count():
    with memory_limit(8 * MIB), building("it", held=0, kind=CheckpointError):
        for _ in range(100):
            torch.ones(MIB)


@pytest.mark.parametrize("make", [torch.ones, torch.empty, torch.randn, lambda n: torch.full((n,), 1.0)])
def test_a_tensor_is_refused_before_it_is_made(make):
    with pytest.raises(CheckpointError, match=LIMIT), building("it", held=0, kind=CheckpointError):
        make(2**40)


class Remembers(nn.Module):
    """Keeps what it saw, prints, and moves on."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen, self.steps = nn.Linear(4, 4), [], 0
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.seen.append(x)
        self.steps += 1
        self.count.add_(1)
        return self.layer(x)


def test_weighing_leaves_no_trace_in_the_network():
    model = Remembers()
    check_forward(model, (4,), held=0, kind=CheckpointError)
    assert (model.seen, model.steps, model.count.item(), model.training) == ([], 0, 0.0, True)
    assert model.layer.weight.device.type == "cpu"


class Branches(nn.Module):
    """Looks at values, which tensors without data have none of."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_code_that_needs_values_is_judged_by_its_input():
    check_forward(Branches(), (4,), held=0, kind=CheckpointError)
    with pytest.raises(CheckpointError, match=LIMIT):
        check_forward(Branches(), (10**9,), held=0, kind=CheckpointError)
