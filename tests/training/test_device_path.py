"""Nothing in a step makes a GPU wait, and little is asked of it beside the network. There is none here: operator calls
are counted on the CPU, where reading a value is a call too, and copies on a device without memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from compressor import Splitting
from compressor.architectures.cifar_resnet import resnet20
from compressor.data.batches import batches
from compressor.data.device import ahead, drawing_on, resident
from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation, DataSet, Samples
from compressor.groups import find_groups
from compressor.penalties import PENALTIES
from compressor.penalties.l1_minus_l2 import L1MinusL2
from compressor.training import train
from compressor.training.loop import Loop
from compressor.training.recipe import Recipe
from compressor.training.views import Views, draw_views

STEPS, BATCH = 12, 2
# Operators whose result the host must have.
READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "item")


# Operators that copy, and which argument they copy.
COPIES = {"_to_copy": 0, "copy_": 1}


class Calls(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        packet = func.overloadpacket.__name__
        self.counts[packet] += not func.is_view
        result = func(*args, **(kwargs or {}))
        if packet in COPIES:
            source = args[COPIES[packet]]
            self.counts[f"{source.device.type} to {result.device.type}"] += 1
        return result


def samples(count, size=32):
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=drawn)
    return Samples(images, torch.arange(count) % 10)


DATA = DataSet(
    ref="drawn",
    train=samples(STEPS * BATCH),
    val=samples(0),
    test=samples(4),
    classes=tuple("abcdefghij"),
    normalization=Normalization.parse("cifar10"),
    augmentation=Augmentation(shift=4, flip=True),
    split_seed=0,
    val_fraction=0.0,
)


def counted(splitting, **options):
    """The calls of each step but the first and the last: from one forward pass to the next."""
    steps, calls, loss = [], Calls(), Loop._loss

    def marked(self, batch, said):
        steps.append(calls.counts)
        calls.counts = Counter()
        return loss(self, batch, said)

    recipe = Recipe(epochs=1, batch_size=BATCH, seed=0, **options)
    with patch.object(Loop, "_loss", marked), patch("compressor.training.telling.TELL_EVERY", 1e9), calls:
        train(splitting.model if splitting else resnet20(), DATA, recipe, normalization=None, splitting=splitting)
    return steps[2:]


def reads(step):
    return sum(step[name] for name in READS)


def splitting_of(penalty, groups, **options):
    model = resnet20()
    made = Splitting(
        model, torch.zeros(2, 3, 32, 32), penalty=penalty, target_macs=0.5, total_steps=1000, groups=groups, **options
    )
    made.model = model
    return made


@pytest.fixture(scope="module")
def groups():
    return find_groups(resnet20(), torch.zeros(2, 3, 32, 32))


@pytest.fixture(scope="module")
def plain():
    return sorted(step.total() for step in counted(None))[STEPS // 2 - 1]


def test_a_plain_step_reads_nothing_back_and_is_the_network(plain):
    assert 300 < plain < 700


@pytest.mark.parametrize("penalty", ["none", *PENALTIES])
def test_a_step_with_a_penalty_reads_nothing_back_and_calls_few_operators_more(penalty, groups, plain):
    # On the CPU l1-l2 reads, as that is quicker there.
    with patch.object(L1MinusL2, "_by_reading", L1MinusL2._without_reading):
        steps = counted(splitting_of(penalty, groups))
    assert not any(map(reads, steps))
    # Every second step pulls the single weights.
    more = [step.total() - plain for step in steps]
    assert 0 < min(more) < 20
    # Each weight tensor has an own step of lp, whose formula is long.
    assert max(more) < (400 if penalty == "lp" else 80)


@pytest.mark.parametrize("options", [{"ema": 0.9}, {"clip": 1.0}, {"schedule": "one-cycle"}, {"optimizer": "adamw"}])
def test_no_option_makes_a_step_read_back(options, plain):
    # AdamW counts its steps, one for each of 59 tensors, on the CPU.
    steps, known = counted(None, **options), 59 if "optimizer" in options else 0
    assert {reads(step) for step in steps} == {known}
    # In one call for all tensors where torch has one on the CPU.
    assert max(step.total() for step in steps) < plain + (300 if known else 20)


def test_the_batches_of_a_step_read_nothing_back():
    assert not any(reads(part) for part in counted(None, accumulate=2)[1:])


@pytest.fixture
def nowhere():
    """A device without memory."""
    return torch.device("meta")


def on(device, part):
    return Samples(part.images.to(device), part.labels.to(device))


def copies_of(given):
    calls = Calls()
    with calls, patch.object(torch, "tensor", wraps=torch.tensor) as constants:
        count = sum(1 for _ in given)
    # The mean and the standard deviation are made once for all batches.
    assert constants.call_count == 2
    return calls.counts["cpu to meta"], count


def test_of_samples_that_live_on_the_device_a_batch_copies_nothing(nowhere):
    given = batches(on(nowhere, DATA.train), batch_size=BATCH, normalization=DATA.normalization, device=nowhere)
    assert copies_of(given) == (0, STEPS)


def test_of_samples_elsewhere_a_batch_copies_bytes_and_labels_once(nowhere):
    given = batches(DATA.train, batch_size=BATCH, normalization=DATA.normalization, device=nowhere)
    assert copies_of(given) == (2 * STEPS, STEPS)


def test_views_that_live_on_the_device_copy_nothing_at_a_step(nowhere):
    views = Views(draw_views(DATA, 2, 0), torch.zeros(2, len(DATA.train), 10))
    there = replace(DATA, train=on(nowhere, DATA.train))
    given = views.batches(
        0, there, batch_size=BATCH, normalization=DATA.normalization, device=nowhere, shuffle=torch.Generator()
    )
    # The order, the answers, and the three tensors of the views, once.
    assert copies_of(given) == (5, STEPS)


def test_a_set_stays_where_it_is_for_the_cpu():
    assert resident(DATA, torch.device("cpu")) is DATA


@pytest.mark.parametrize(("free", "moved"), [(10**9, True), (10**4, False)])
def test_a_set_goes_to_a_gpu_with_room(free, moved):
    asked = []

    def to(self, device):
        asked.append(device)
        return self

    with patch("torch.cuda.mem_get_info", lambda device: (free, free)), patch.object(torch.Tensor, "to", to):
        resident(DATA, torch.device("cuda:0"))
    assert bool(asked) is moved


def test_what_draws_on_another_device_follows_from_the_state_of_the_shuffle():
    begun = []

    class Other:
        def __init__(self, device):
            self.device = device

        def manual_seed(self, seed):
            begun.append(seed)
            return self

    with patch("compressor.data.device.Generator", Other):
        for seed in (0, 0, 1):
            shuffle = torch.Generator().manual_seed(seed)
            first, second = drawing_on("cuda", shuffle), drawing_on("cuda", shuffle)
            assert first.device.type == "cuda" == second.device.type
    assert begun[:2] == begun[2:4] != begun[4:]
    assert begun[0] != begun[1]


def test_the_shuffle_itself_draws_where_it_lies():
    shuffle = torch.Generator()
    assert drawing_on("cpu", shuffle) is shuffle


def test_batches_for_the_cpu_are_taken_one_by_one():
    source = iter([torch.tensor([n]) for n in range(3)])
    given = ahead(source, "cpu")
    assert int(next(given)) == 0
    assert len([*source]) == 2


@pytest.mark.gpu
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_on_a_gpu_batches_are_those_of_the_cpu(where):
    options = {"batch_size": BATCH, "normalization": DATA.normalization}
    given = list(batches(on(torch.device(where), DATA.train), device="cuda", **options))
    for (images, labels), (known, its) in zip(given, batches(DATA.train, **options), strict=True):
        assert images.is_cuda
        torch.testing.assert_close(images.cpu(), known)
        assert torch.equal(labels.cpu(), its)


@pytest.mark.gpu
@pytest.mark.parametrize("penalty", [None, "none", *PENALTIES])
def test_on_a_gpu_a_step_waits_for_nothing(penalty, groups):
    splitting = splitting_of(penalty, groups) if penalty else None
    seen, loss = [], Loop._loss

    def strict(self, batch, said):
        seen.append(batch)
        # The first step makes what all others use.
        torch.cuda.set_sync_debug_mode("error" if 1 < len(seen) < STEPS else "default")
        return loss(self, batch, said)

    model = splitting.model if splitting else resnet20()
    recipe = Recipe(epochs=1, batch_size=BATCH, device="cuda")
    try:
        with patch.object(Loop, "_loss", strict), patch("compressor.training.telling.TELL_EVERY", 1e9):
            train(model, DATA, recipe, normalization=None, splitting=splitting)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(seen) == STEPS
