"""Groups of networks that are small enough to read the channels off by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.equivalence import output_difference
from compressor.groups import find_groups, is_zero, zero
from compressor.shrinking import shrink


class Net(nn.Module):
    """Modules by name, and the forward that joins them."""

    def __init__(self, forward, **modules):
        super().__init__()
        self._run = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self._run(self, x)


def conv(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def chain(middle=nn.ReLU):
    return nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), middle(), conv(8, 4))


def residual(activation=F.relu):
    def forward(net, x):
        stem = activation(net.stem(x))
        inner = activation(net.bn1(net.conv1(stem)))
        return net.head((stem + net.conv2(inner)).mean((2, 3)))

    return Net(
        forward, stem=conv(3, 8), conv1=conv(8, 6), bn1=nn.BatchNorm2d(6), conv2=conv(6, 8), head=nn.Linear(8, 4)
    )


def concatenation():
    def forward(net, x):
        return net.head(F.relu(net.bn(torch.cat([net.a(x), net.b(x)], 1))))

    return Net(forward, a=conv(3, 4), b=conv(3, 6), bn=nn.BatchNorm2d(10), head=conv(10, 4))


def depthwise():
    return nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8, groups=8), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))


def flattened():
    return nn.Sequential(conv(3, 4), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, 4))


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


def transposed():
    return nn.Sequential(conv(3, 8), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, 2), nn.ReLU(), conv(6, 4))


def depthwise_transposed():
    up = nn.ConvTranspose2d(8, 8, 2, 2, groups=8)
    return nn.Sequential(conv(3, 8), nn.ReLU(), up, nn.ReLU(), conv(8, 4))


def repeated():
    def forward(net, x):
        return net.head(F.relu(net.body(F.relu(net.body(net.stem(x))))))

    return Net(forward, stem=conv(3, 8), body=conv(8, 8), head=conv(8, 4))


def same_twice():
    def forward(net, x):
        inner = F.relu(net.inner(x))
        return net.head(torch.cat([inner, inner], 1))

    return Net(forward, inner=conv(3, 8), head=conv(16, 4))


def grouped():
    return nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 12, groups=4), nn.ReLU(), conv(12, 4))


def group_norm():
    return nn.Sequential(conv(3, 8), nn.GroupNorm(4, 8), nn.ReLU(), conv(8, 4))


def prelu():
    return nn.Sequential(conv(3, 8), nn.PReLU(8), conv(8, 4))


def norm_without_scale():
    # What a zero channel sends, minus its mean over its deviation, goes into the bias of the next layer.
    return nn.Sequential(conv(3, 8), nn.BatchNorm2d(8, affine=False), nn.Conv2d(8, 4, 1, bias=False))


def sigmoid():
    return nn.Sequential(conv(3, 8), nn.Sigmoid(), nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4), conv(4, 4))


def halves():
    return Net(lambda net, x: net.head(torch.mul(*net.inner(x).chunk(2, 1))), inner=conv(3, 8), head=conv(4, 4))


def bare_scale():
    def forward(net, x):
        return net.head(net.inner(x) * net.scale)

    return Net(forward, inner=conv(3, 8), head=conv(8, 4), scale=nn.Parameter(torch.randn(8, 1, 1)))


SOUND = [
    chain,
    residual,
    concatenation,
    depthwise,
    flattened,
    mlp,
    transposed,
    depthwise_transposed,
    repeated,
    same_twice,
    grouped,
    group_norm,
    prelu,
    norm_without_scale,
    sigmoid,
    halves,
    bare_scale,
]
every_network = pytest.mark.parametrize("build", SOUND)


def groups_of(model, example=IMAGE):
    return {group.name: group for group in find_groups(model, example)}


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            if module.affine:
                nn.init.normal_(module.bias, generator=generator)
    return model.eval()


def roles(group):
    return {(member.module, member.role) for member in group.members}


def index_of(group, module, role):
    return next(m.index for m in group.members if (m.module, m.role) == (module, role)).tolist()


def column(values):
    return [[value] for value in values]


def test_a_chain_groups_convolution_norm_and_next_convolution():
    group = groups_of(chain())["0"]
    assert (group.channels, group.excluded) == (8, None)
    assert roles(group) == {("0", "producer"), ("1", "norm"), ("3", "consumer")}
    assert all(member.index.tolist() == column(range(8)) for member in group.members)


def test_a_producer_knows_the_norm_that_follows_it():
    producer = next(member for member in groups_of(chain())["0"].members if member.role == "producer")
    assert producer.feeds == "1"


def test_a_producer_read_by_two_modules_feeds_no_norm():
    def forward(net, x):
        inner = net.inner(x)
        return net.head(F.relu(net.norm(inner)) + F.relu(inner))

    net = Net(forward, inner=conv(3, 8), norm=nn.BatchNorm2d(8), head=conv(8, 4))
    assert next(m for m in groups_of(net)["inner"].members if m.role == "producer").feeds is None


def test_a_residual_stream_is_one_group_beside_the_inner_one():
    found = [roles(group) for group in find_groups(residual(), IMAGE) if group.prunable]
    stream = {("stem", "producer"), ("conv2", "producer"), ("conv1", "consumer"), ("head", "consumer")}
    inner = {("conv1", "producer"), ("bn1", "norm"), ("conv2", "consumer")}
    assert sorted(map(sorted, found)) == sorted(map(sorted, [stream, inner]))


def test_concatenated_channels_keep_their_own_places():
    found = groups_of(concatenation())
    assert index_of(found["a"], "bn", "norm") == column(range(4))
    assert index_of(found["b"], "bn", "norm") == column(range(4, 10))
    assert index_of(found["b"], "head", "consumer") == column(range(4, 10))
    assert index_of(found["b"], "b", "producer") == column(range(6))


def test_a_depthwise_convolution_is_a_producer_beside_its_input():
    found = groups_of(depthwise())
    assert len([group for group in found.values() if group.prunable]) == 1
    group = next(group for group in found.values() if group.prunable)
    assert roles(group) == {("0", "producer"), ("2", "producer"), ("3", "norm"), ("5", "consumer")}


def test_a_flattened_channel_is_one_block_of_inputs():
    group = groups_of(flattened())["0"]
    assert index_of(group, "4", "consumer") == [[4 * c, 4 * c + 1, 4 * c + 2, 4 * c + 3] for c in range(4)]


def test_units_of_an_mlp_are_channels():
    group = groups_of(mlp())["1"]
    assert (group.channels, group.excluded) == (8, None)
    assert roles(group) == {("1", "producer"), ("2", "norm"), ("4", "consumer")}


def test_a_transposed_convolution_consumes_and_produces():
    found = groups_of(transposed())
    assert roles(found["0"]) == {("0", "producer"), ("2", "consumer")}
    assert roles(found["2"]) == {("2", "producer"), ("4", "consumer")}


def test_zeroing_a_transposed_convolution_silences_its_output_channels():
    model = seeded(transposed)
    zero(model, groups_of(model)["2"], torch.tensor([1, 4]))
    assert model[2].weight.abs().sum((0, 2, 3)).eq(0).tolist() == [False, True, False, False, True, False]
    assert model[2].bias.eq(0).tolist() == [False, True, False, False, True, False]


def test_a_channel_read_twice_owns_both_slices():
    places = index_of(groups_of(same_twice())["inner"], "head", "consumer")
    assert [sorted(own) for own in places] == [[c, c + 8] for c in range(8)]


@pytest.mark.parametrize(
    ("build", "name", "channels", "module", "places"),
    [(grouped, "0", 4, "2", [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]),
     (group_norm, "0", 4, "1", [[0, 1], [2, 3], [4, 5], [6, 7]]),
     (halves, "inner", 4, "inner", [[0, 4], [1, 5], [2, 6], [3, 7]])],
)  # fmt: skip
def test_what_hangs_together_is_one_channel(build, name, channels, module, places):
    group = groups_of(build())[name]
    assert (group.channels, group.excluded) == (channels, None)
    assert next(m.index for m in group.members if m.module == module).tolist() == places


def test_a_bare_scale_goes_with_its_channels_and_need_not_vanish():
    model = bare_scale()
    scale = next(m for m in groups_of(model)["inner"].members if m.tensors == (("scale", 0),))
    assert scale.role == "follower"


def test_outputs_of_the_network_are_excluded():
    assert groups_of(chain())["3"].excluded == "its channels are outputs of the network"


@every_network
def test_every_small_network_has_something_to_prune(build):
    assert any(group.prunable for group in find_groups(seeded(build), IMAGE))


@every_network
@pytest.mark.parametrize("seed", range(3))
def test_removing_any_zeroed_channels_changes_nothing(build, seed):
    model = seeded(build).double()
    generator = torch.Generator().manual_seed(seed)
    for group in find_groups(model, IMAGE):
        if group.prunable:
            share = torch.rand(1, generator=generator)
            zero(model, group, torch.rand(group.channels, generator=generator) < share)
    small = shrink(model, IMAGE, align="1")
    assert output_difference(model, small, IMAGE.double()) <= 1e-9


def test_zero_then_is_zero_names_the_same_channels():
    model = seeded(chain)
    group = groups_of(model)["0"]
    zero(model, group, torch.tensor([0, 5]))
    assert is_zero(model, group).nonzero().flatten().tolist() == [0, 5]


def test_zero_takes_a_mask_too():
    model = seeded(chain)
    group = groups_of(model)["0"]
    zero(model, group, torch.arange(8) == 3)
    assert is_zero(model, group).nonzero().flatten().tolist() == [3]


def test_zero_leaves_the_other_channels_and_the_consumer_alone():
    model = seeded(chain)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    zero(model, groups_of(model)["0"], torch.tensor([2]))
    rest = torch.arange(8) != 2
    assert torch.equal(model[0].weight[rest], before["0.weight"][rest])
    assert torch.equal(model[1].bias[rest], before["1.bias"][rest])
    assert torch.equal(model[3].weight, before["3.weight"])


@pytest.mark.parametrize("value", [5e-324, float("nan"), float("inf"), -1e-300])
def test_the_smallest_number_is_not_zero(value):
    model = seeded(chain).double()
    group = groups_of(model)["0"]
    zero(model, group, torch.arange(8))
    with torch.no_grad():
        model[0].weight[2, 1, 0, 0] = value
    assert is_zero(model, group).tolist() == [c != 2 for c in range(8)]


@pytest.mark.parametrize(("module", "name"), [(0, "bias"), (1, "weight"), (1, "bias")])
def test_a_channel_with_one_entry_left_is_not_zero(module, name):
    model = seeded(chain)
    group = groups_of(model)["0"]
    zero(model, group, torch.arange(8))
    with torch.no_grad():
        getattr(model[module], name)[4] = 1.0
    assert is_zero(model, group).tolist() == [c != 4 for c in range(8)]
