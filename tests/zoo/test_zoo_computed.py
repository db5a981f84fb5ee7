"""Networks that compute weights whenever they run, and what folds them."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import zoo_computed
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

from compressor import checkpoints
from compressor.checkpoints.allocation import building
from compressor.checkpoints.structure import Edit, replay
from compressor.computed_weights import computed, fold_weights, folded
from compressor.costs import cost_model
from compressor.equivalence import output_difference, outputs
from compressor.errors import CheckpointError, CompressorWarning, UsageError
from compressor.export import export_onnx
from compressor.groups import find_groups, zero
from compressor.shrinking import remove_zero_channels
from compressor.splitting import Splitting

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BUILDERS = [pattern.build for pattern in zoo_computed.PATTERNS]
every = pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)


def masked():
    layer = nn.Conv2d(3, 4, 3)
    prune.random_unstructured(layer, "weight", 0.5)
    return layer


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


class OddlyPadded(zoo_computed.Standardised):
    """Pads sizes that are odd, as no plain convolution does."""

    def forward(self, x):
        return super().forward(F.pad(x, (0, x.shape[-1] % 2, 0, 0)))


class Kept(nn.Module):
    """Keeps what it has computed, as code does that shows attention maps."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 3)

    def forward(self, x):
        self.map = self.conv(x)
        return self.last(F.relu(self.map))


@every
def test_what_is_folded_gives_the_same(build):
    model = build().eval()
    with torch.no_grad():
        expected = model(X)
    plain = folded(model)
    assert computed(plain) == {}
    assert torch.allclose(plain(X), expected, atol=1e-5)
    assert computed(model), "the network that was given has changed"
    assert torch.allclose(model(X), expected, atol=1e-5)


@every
def test_what_is_folded_is_trained_where_it_was_before(build):
    model = build()
    for parameter in next(model.children()).parameters():
        parameter.requires_grad_(False)
    fold_weights(model)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    first = next(name for name, _ in model.named_children())
    assert frozen == {f"{first}.weight", f"{first}.bias"}


@every
def test_groups_are_those_of_plain_weights_and_a_warning_says_so(build):
    model = build().eval()
    with pytest.warns(CompressorWarning, match="computes weights from others"):
        groups = find_groups(model, X)
    assert [g.name for g in groups if g.prunable] == [g.name for g in find_groups(folded(model), X) if g.prunable]
    assert cost_model(model, X, groups, "macs").saved_per_channel().all()


@pytest.mark.parametrize("build", [zoo_computed.weight_normed, zoo_computed.spectral_normed])
def test_what_is_computed_cannot_be_zeroed(build):
    model = build().eval()
    groups = find_groups(folded(model), X)
    with pytest.raises(UsageError, match=r"computes its weight from .* call fold_weights\(model\)"):
        zero(model, groups[0], torch.tensor([0]))


@every
def test_a_training_goes_on_with_plain_weights(build):
    model = build()
    with pytest.warns(CompressorWarning, match="with which training goes on; make the optimizer after this"):
        splitting = Splitting(model, X, total_steps=2, target_macs=0.7, align=1)
    assert computed(model) == {}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    splitting.attach(optimizer)
    for _ in range(2):
        model(X).square().mean().backward()
        optimizer.step()
    splitting.project()
    assert remove_zero_channels(model, X, groups=splitting.groups, align=1).removal.channels_removed > 0


@every
def test_a_checkpoint_of_it_is_loaded_with_plain_weights(build, tmp_path):
    model = build().eval()
    arch = f"{zoo_computed.__file__}:{build.__name__}"
    checkpoints.save(model, tmp_path / "raw.pt", arch=arch, input_shape=(3, 8, 8))
    with pytest.warns(CompressorWarning, match="folded into plain weights"):
        network = checkpoints.load(tmp_path / "raw.pt", trust_arch=True)
    assert output_difference(folded(model), network.model, X) < 1e-5
    checkpoints.save(network, tmp_path / "plain.pt")
    again = checkpoints.load(tmp_path / "plain.pt", trust_arch=True)
    assert output_difference(network.model, again.model, X) == 0
    with pytest.warns(CompressorWarning, match="folded into plain weights"):
        assert computed(checkpoints.fresh(arch, input_shape=(3, 8, 8)).model) == {}


def test_a_file_may_fold_only_what_is_computed():
    plain = nn.Sequential(nn.Conv2d(3, 4, 1))
    with pytest.raises(CheckpointError, match="for a module that computes its weights"):
        replay(plain, (Edit("0", {}, {}, "plain weights"),))


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (masked, "a pruning mask"),
        (lambda: parametrizations.orthogonal(nn.Linear(3, 3)), "_Orthogonal"),
        (lambda: parametrize.register_parametrization(nn.Linear(3, 3), "weight", Doubled()), "Doubled"),
    ],
)
def test_other_computations_are_known(layer, kind):
    model = nn.Sequential(layer())
    assert computed(model) == {"0": kind}
    assert fold_weights(model) == (f"{kind} in 0",)
    assert computed(model) == {}


def test_the_network_itself_may_be_such_a_layer():
    model = parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    assert fold_weights(model) == ("weight_norm in the network itself",)
    assert type(model) is nn.Conv2d


def test_what_no_plain_layer_does_is_left():
    model = OddlyPadded(3, 8, 3)
    assert computed(model) == {}
    groups = find_groups(nn.Sequential(model, nn.ReLU(), nn.Conv2d(8, 2, 1)), X)
    assert "0 computes its weight anew" in groups[0].excluded


def test_what_a_module_keeps_of_its_last_run_does_not_stand_in_the_way():
    model = Kept()
    model(X)
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(model)
    groups = find_groups(model, X)
    assert groups[0].prunable
    zero(model, groups[0], torch.tensor([1]))
    assert remove_zero_channels(model, X, groups=groups, align=1).removal.channels_removed == 1


def test_a_wrapped_network_is_folded_before(tmp_path):
    model = nn.DataParallel(zoo_computed.weight_parametrized())
    with pytest.raises(UsageError, match="call fold_weights before it is wrapped"):
        Splitting(model, X, total_steps=2, target_macs=0.7)


def test_an_export_is_of_the_plain_weights(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = nn.Sequential(weight_norm(nn.Conv2d(3, 4, 3)), nn.ReLU())
    assert export_onnx(model, X, tmp_path / "x.onnx").parity.norm_rel < 1e-5
    assert computed(model)
    assert len(outputs(model, X)) == 1


def test_each_edit_of_a_deep_network_looks_at_its_own_module():
    """Building counts operations, so that no file asks for too many layers: 60 squared would be too many."""
    model = nn.Sequential(*(zoo_computed.Standardised(2, 2, 1) for _ in range(60)))
    edits = [Edit(str(number), {}, {}, "plain weights") for number in range(60)]
    with building("the network", held=0, kind=UsageError):
        replay(model, edits)
    assert not computed(model)
