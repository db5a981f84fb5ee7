"""The zoo: one small network per structural pattern, with widths that can be checked by hand.

Every function builds one; ``PATTERNS`` says which channels of it can be removed, and what of it must be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from compressor.architectures.cifar_resnet import BasicBlock


class Net(nn.Module):
    """Modules by name, and the forward that joins them."""

    def __init__(self, forward, **modules):
        super().__init__()
        self._run = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self._run(self, x)


class Pair(Net):
    """The same with two inputs."""

    def forward(self, x, y):
        return self._run(self, x, y)


class Lambda(nn.Module):
    """As in most CIFAR ResNets: a shortcut whose widths are written into a closure."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def conv(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def tail(width, classes=4):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


# --- plain networks


def chain():
    return nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 6), nn.ReLU(), tail(6))


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


def flattened():
    return nn.Sequential(conv(3, 6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 16, 4))


def signal():
    return nn.Sequential(nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 4, 3))


def volume():
    return nn.Sequential(nn.Conv3d(3, 8, 3), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 4, 1))


# --- activations


def gelu():
    return nn.Sequential(conv(3, 8), nn.GELU(), conv(8, 6), nn.SiLU(), conv(6, 6), nn.Hardswish(), tail(6))


def prelu():
    return nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.PReLU(8), conv(8, 6), nn.PReLU(), tail(6))


def sigmoid():
    """Zero channels send 0.5, which goes into the next bias."""
    return nn.Sequential(conv(3, 8), nn.Sigmoid(), nn.Conv2d(8, 6, 1, bias=False), nn.ReLU(), tail(6))


def softplus():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Softplus(), nn.Linear(8, 4))


def sigmoid_before_padding():
    return nn.Sequential(conv(3, 8), nn.Sigmoid(), conv(8, 6), nn.ReLU(), tail(6))


# --- residual networks


def residual():
    def forward(net, x):
        x = F.relu(net.stem(x))
        return net.tail(F.relu(x + net.bn2(net.conv2(F.relu(net.bn1(net.conv1(x)))))))

    return Net(
        forward, stem=conv(3, 8), conv1=conv(8, 6), bn1=nn.BatchNorm2d(6), conv2=conv(6, 8), bn2=nn.BatchNorm2d(8),
        tail=tail(8),
    )  # fmt: skip


def bottleneck():
    def forward(net, x):
        x = F.relu(net.stem(x))
        inner = F.relu(net.widen(F.relu(net.bn(net.conv(F.relu(net.reduce(x)))))) + net.project(x))
        return net.tail(inner)

    return Net(
        forward, stem=conv(3, 8), reduce=nn.Conv2d(8, 4, 1), conv=conv(4, 4), bn=nn.BatchNorm2d(4),
        widen=nn.Conv2d(4, 12, 1), project=nn.Conv2d(8, 12, 1), tail=tail(12),
    )  # fmt: skip


def pre_activation():
    def forward(net, x):
        x = net.stem(x)
        x = x + net.conv2(F.relu(net.bn2(net.conv1(F.relu(net.bn1(x))))))
        return net.tail(F.relu(net.bn3(x)))

    return Net(
        forward, stem=conv(3, 8), bn1=nn.BatchNorm2d(8), conv1=conv(8, 6), bn2=nn.BatchNorm2d(6), conv2=conv(6, 8),
        bn3=nn.BatchNorm2d(8), tail=tail(8),
    )  # fmt: skip


def padded_shortcut():
    return nn.Sequential(conv(3, 8), nn.ReLU(), BasicBlock(8, 16, 2), BasicBlock(16, 16, 1), tail(16))


def lambda_block(shortcut, stride=2):
    def forward(net, x):
        return F.relu(net.bn2(net.conv2(F.relu(net.bn1(net.conv1(x))))) + net.shortcut(x))

    return Net(
        forward, conv1=conv(8, 16, stride=stride), bn1=nn.BatchNorm2d(16), conv2=conv(16, 16), bn2=nn.BatchNorm2d(16),
        shortcut=shortcut,
    )  # fmt: skip


def lambda_shortcut():
    """Its padding by 4 and 4 channels is written into a closure; an equal module takes its place."""
    shortcut = Lambda(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4), "constant", 0))
    return nn.Sequential(conv(3, 8), nn.ReLU(), lambda_block(shortcut), tail(16))


def pooled_shortcut():
    """A shortcut that no module of ours equals: its padding stays, the channels that it passes may go."""
    shortcut = Lambda(lambda x: F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, 4, 4)))
    return nn.Sequential(conv(3, 8), nn.ReLU(), lambda_block(shortcut), tail(16))


def padding_in_forward():
    def forward(net, x):
        x = F.relu(net.stem(x))
        return net.tail(F.relu(net.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 8))))

    return Net(forward, stem=conv(3, 8), conv=conv(8, 16, stride=2), tail=tail(16))


def concatenated_zeros():
    def forward(net, x):
        x = F.relu(net.stem(x))
        zeros = x.new_zeros(x.shape[0], 8, 4, 4)
        return net.tail(F.relu(net.conv(x) + torch.cat([F.avg_pool2d(x, 2), zeros], 1)))

    return Net(forward, stem=conv(3, 8), conv=conv(8, 16, stride=2), tail=tail(16))


# --- depthwise, grouped, shuffled


def depthwise():
    return nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8, groups=8), nn.BatchNorm2d(8), nn.ReLU6(), tail(8))


def depth_multiplier():
    """Two outputs per input: they go together."""
    return nn.Sequential(conv(3, 6), nn.ReLU(), conv(6, 12, groups=6), nn.ReLU(), tail(12))


def grouped():
    """A channel is a whole group: 2 inputs and 3 outputs."""
    return nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 12, groups=4), nn.BatchNorm2d(12), nn.ReLU(), tail(12))


def grouped_input():
    return nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.ReLU(), conv(6, 8), nn.ReLU(), tail(8))


def inverted_residual():
    def forward(net, x):
        x = net.stem(x)
        inner = F.relu6(net.bn2(net.depth(F.relu6(net.bn1(net.expand(x))))))
        return net.tail(x + net.bn3(net.project(inner)))

    return Net(
        forward, stem=conv(3, 6), expand=nn.Conv2d(6, 12, 1, bias=False), bn1=nn.BatchNorm2d(12),
        depth=conv(12, 12, groups=12, bias=False), bn2=nn.BatchNorm2d(12),
        project=nn.Conv2d(12, 6, 1, bias=False), bn3=nn.BatchNorm2d(6), tail=tail(6),
    )  # fmt: skip


def shuffle(x, groups):
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


def channel_shuffle():
    """Channels c and c + 4 stand side by side afterwards: they go together."""

    def forward(net, x):
        return net.tail(F.relu(net.conv(shuffle(F.relu(net.stem(x)), 2))))

    return Net(forward, stem=conv(3, 8), conv=conv(8, 6), tail=tail(6))


def shuffle_unit():
    """ShuffleNet v2: one half goes by, the other through convolutions."""

    def forward(net, x):
        left, right = F.relu(net.stem(x)).chunk(2, 1)
        right = F.relu(net.out(net.depth(F.relu(net.reduce(right)))))
        return net.tail(shuffle(torch.cat([left, right], 1), 2))

    return Net(
        forward, stem=conv(3, 8), reduce=nn.Conv2d(4, 4, 1), depth=conv(4, 4, groups=4), out=nn.Conv2d(4, 4, 1),
        tail=tail(8),
    )  # fmt: skip


def squeeze_excitation():
    def forward(net, x):
        x = F.relu(net.conv(x))
        gate = torch.sigmoid(net.excite(F.relu(net.squeeze(x.mean((2, 3), keepdim=True)))))
        return net.tail(x * gate)

    return Net(
        forward, conv=conv(3, 8), squeeze=nn.Conv2d(8, 4, 1), excite=nn.Conv2d(4, 8, 1), tail=tail(8)
    )  # fmt: skip


def spatial_gate():
    """One channel weighs all others."""

    def forward(net, x):
        x = F.relu(net.conv(x))
        return net.tail(x * torch.sigmoid(net.gate(x)))

    return Net(forward, conv=conv(3, 8), gate=nn.Conv2d(8, 1, 1), tail=tail(8))


# --- concatenation


def dense_block():
    def forward(net, x):
        x = net.stem(x)
        x = torch.cat([x, net.conv1(F.relu(net.bn1(x)))], 1)
        x = torch.cat([x, net.conv2(F.relu(net.bn2(x)))], 1)
        return net.tail(F.relu(net.bn3(x)))

    return Net(
        forward, stem=conv(3, 8), bn1=nn.BatchNorm2d(8), conv1=conv(8, 4), bn2=nn.BatchNorm2d(12), conv2=conv(12, 4),
        bn3=nn.BatchNorm2d(16), tail=tail(16),
    )  # fmt: skip


def u_net():
    def forward(net, x):
        high = F.relu(net.down1(x))
        low = F.relu(net.down2(F.max_pool2d(high, 2)))
        return net.out(F.relu(net.join(torch.cat([net.up(low), high], 1))))

    return Net(
        forward, down1=conv(3, 6), down2=conv(6, 8), up=nn.ConvTranspose2d(8, 6, 2, 2), join=conv(12, 6),
        out=nn.Conv2d(6, 2, 1),
    )  # fmt: skip


def inception():
    def forward(net, x):
        branches = [net.one(x), net.three(x), F.max_pool2d(x, 3, 1, 1)]
        return net.tail(F.relu(net.bn(torch.cat(branches, 1))))

    return Net(forward, one=nn.Conv2d(3, 4, 1), three=conv(3, 6), bn=nn.BatchNorm2d(13), tail=tail(13))


# --- norms


def group_norm():
    """A channel is a whole group of the norm."""
    return nn.Sequential(conv(3, 8), nn.GroupNorm(4, 8), nn.ReLU(), tail(8))


def group_norm_of_all():
    return nn.Sequential(conv(3, 8), nn.GroupNorm(1, 8), nn.ReLU(), conv(8, 6), nn.ReLU(), tail(6))


def instance_norm():
    return nn.Sequential(conv(3, 8), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), tail(8))


def norm_without_scale():
    return nn.Sequential(conv(3, 8), nn.BatchNorm2d(8, affine=False), nn.Conv2d(8, 6, 1), nn.ReLU(), tail(6))


def layer_norm():
    """The stream is normalised across its channels; the layer inside is not."""

    def forward(net, x):
        x = net.embed(x.flatten(2).transpose(1, 2))
        return net.head((x + net.fc2(F.gelu(net.fc1(net.norm(x))))).mean(1))

    return Net(
        forward, embed=nn.Linear(3, 8), norm=nn.LayerNorm(8), fc1=nn.Linear(8, 12), fc2=nn.Linear(12, 8),
        head=nn.Linear(8, 4),
    )  # fmt: skip


def convnext():
    def forward(net, x):
        x = net.stem(x)
        inner = net.norm(net.depth(x).permute(0, 2, 3, 1))
        inner = net.scale * net.fc2(F.gelu(net.fc1(inner)))
        return net.tail(x + inner.permute(0, 3, 1, 2))

    return Net(
        forward, stem=conv(3, 8), depth=conv(8, 8, groups=8), norm=nn.LayerNorm(8), fc1=nn.Linear(8, 16),
        fc2=nn.Linear(16, 8), scale=nn.Parameter(torch.full((8,), 0.5)), tail=tail(8),
    )  # fmt: skip


# --- attention


def multihead_attention():
    def forward(net, x):
        x = net.embed(x.flatten(2).transpose(1, 2))
        x = x + net.attention(x, x, x, need_weights=False)[0]
        return net.head((x + net.fc2(F.relu(net.fc1(x)))).mean(1))

    return Net(
        forward, embed=nn.Linear(3, 8), attention=nn.MultiheadAttention(8, 2, batch_first=True), fc1=nn.Linear(8, 12),
        fc2=nn.Linear(12, 8), head=nn.Linear(8, 4),
    )  # fmt: skip


class Attention(nn.Module):
    """Fused queries, keys and values, cut by hand: 4 heads of 3."""

    def __init__(self, width=12, heads=4):
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.scale = self.head_dim**-0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        weights = (query @ key.transpose(-2, -1) * self.scale).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, self.num_heads * self.head_dim))


def fused_attention():
    def forward(net, x):
        x = net.embed(x.flatten(2).transpose(1, 2))
        return net.head(net.norm(x + net.attention(x)).mean(1))

    return Net(
        forward, embed=nn.Linear(3, 12), attention=Attention(), norm=nn.LayerNorm(12), head=nn.Linear(12, 4)
    )  # fmt: skip


class SplitAttention(nn.Module):
    """Queries, keys and values by themselves; the widths of the heads follow the tensors."""

    def __init__(self, width=8, heads=2, scale=0.5):
        super().__init__()
        self.heads, self.scale = heads, scale
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x):
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return self.out(mixed.transpose(1, 2).flatten(2))


def split_attention(scale=0.5):
    """A channel is one place in every head; queries and keys read each other."""

    def forward(net, x):
        x = net.embed(x.flatten(2).transpose(1, 2))
        return net.head(net.norm(x + net.attention(x)).mean(1))

    return Net(
        forward, embed=nn.Linear(3, 8), attention=SplitAttention(scale=scale), norm=nn.LayerNorm(8),
        head=nn.Linear(8, 4),
    )  # fmt: skip


def scaled_by_width():
    """The scale of the attention follows from the number of channels: without some it is another."""
    return split_attention(scale=None)


def matching():
    """Every place is compared with every other one."""

    def forward(net, x):
        x = x.flatten(2).transpose(1, 2)
        return torch.tanh(net.left(x) @ net.right(x).transpose(1, 2))

    return Net(forward, left=nn.Linear(3, 8), right=nn.Linear(3, 8))


def class_token():
    def forward(net, x):
        x = net.embed(x.flatten(2).transpose(1, 2))
        x = torch.cat([net.token.expand(x.shape[0], -1, -1), x], 1) + net.position
        x = x + net.fc2(F.relu(net.fc1(x)))
        return net.head(x[:, 0] + x[:, 1:].mean(1))

    return Net(
        forward, embed=nn.Linear(3, 8), token=nn.Parameter(torch.zeros(1, 1, 8)),
        position=nn.Parameter(torch.full((1, 65, 8), 0.1)), fc1=nn.Linear(8, 12), fc2=nn.Linear(12, 8),
        head=nn.Linear(8, 4),
    )  # fmt: skip


# --- other layers


def transposed():
    up = nn.ConvTranspose2d(8, 6, 2, 2)
    return nn.Sequential(conv(3, 8), nn.ReLU(), up, nn.BatchNorm2d(6), nn.ReLU(), conv(6, 4))


def pixel_shuffle():
    """Four channels become one of twice the size."""
    return nn.Sequential(conv(3, 24), nn.PixelShuffle(2), nn.ReLU(), conv(6, 4))


def upsampled():
    return nn.Sequential(conv(3, 8), nn.Upsample(scale_factor=2), nn.ReLU(), nn.ReflectionPad2d(1), nn.Conv2d(8, 4, 3))


def decoder():
    """A vector becomes an image: 4x4 units are one channel."""

    def forward(net, x):
        return net.out(F.relu(net.conv(F.relu(net.fc(x.flatten(1))).unflatten(1, (-1, 4, 4)))))

    return Net(forward, fc=nn.Linear(192, 96), conv=conv(6, 8), out=conv(8, 3))


def gated():
    return nn.Sequential(conv(3, 12), nn.GLU(1), conv(6, 8), nn.ReLU(), tail(8))


def maxout():
    """Two channels compete for one."""

    def forward(net, x):
        first, second = net.conv(x).chunk(2, 1)
        return net.tail(torch.maximum(first, second))

    return Net(forward, conv=conv(3, 12), tail=tail(6))


def lstm():
    def forward(net, x):
        found, _ = net.lstm(F.relu(net.conv(x)).flatten(2).transpose(1, 2))
        return net.head(F.relu(net.fc(found[:, -1])))

    return Net(
        forward, conv=nn.Conv1d(3, 8, 3), lstm=nn.LSTM(8, 6, batch_first=True), fc=nn.Linear(6, 8), head=nn.Linear(8, 4)
    )


def stacked_lstm():
    """Two layers in both directions: unit j of each is one channel, which is read in two places behind them."""

    def forward(net, x):
        found, _ = net.lstm(net.fc(x.transpose(1, 2)))
        return net.head(found.mean(1))

    return Net(
        forward, fc=nn.Linear(3, 8), lstm=nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True), head=nn.Linear(12, 4)
    )


def recurrent():
    """A zero channel sends 0.5 to a plain recurrent layer, into whose bias it goes."""

    def forward(net, x):
        _, last = net.rnn(torch.sigmoid(net.conv(x)).permute(2, 0, 1))
        return net.head(last[-1])

    return Net(forward, conv=nn.Conv1d(3, 8, 3), rnn=nn.RNN(8, 6), head=nn.Linear(6, 4))


def without_bias():
    def forward(net, x):
        found, _ = net.gru(torch.sigmoid(net.fc(x.transpose(1, 2))))
        return net.head(found[:, -1])

    return Net(
        forward, fc=nn.Linear(3, 8), gru=nn.GRU(8, 6, batch_first=True, bias=False), head=nn.Linear(6, 4)
    )  # fmt: skip


def written_state():
    def forward(net, x):
        state = x.new_zeros(1, x.shape[0], 6)
        found, _ = net.gru(net.fc(x.transpose(1, 2)), state)
        return net.head(found[:, -1])

    return Net(forward, fc=nn.Linear(3, 8), gru=nn.GRU(8, 6, batch_first=True), head=nn.Linear(6, 4))


def gru():
    def forward(net, x):
        found, _ = net.gru(net.embed(x))
        return net.head(F.relu(net.fc(found.mean(1))))

    return Net(
        forward, embed=nn.Embedding(11, 8), gru=nn.GRU(8, 6, batch_first=True), fc=nn.Linear(6, 8), head=nn.Linear(8, 4)
    )


def embedding():
    def forward(net, x):
        x = net.words(x) + net.position
        return net.head((x + net.fc2(F.relu(net.fc1(x)))).mean(1))

    return Net(
        forward, words=nn.Embedding(11, 8), position=nn.Parameter(torch.full((5, 8), 0.1)), fc1=nn.Linear(8, 12),
        fc2=nn.Linear(12, 8), head=nn.Linear(8, 4),
    )  # fmt: skip


# --- weights and modules that are used twice


def repeated():
    def forward(net, x):
        return net.tail(F.relu(net.body(F.relu(net.body(F.relu(net.stem(x)))))))

    return Net(forward, stem=conv(3, 8), body=conv(8, 8), tail=tail(8))


def tied():
    """Two modules with one weight."""

    def forward(net, x):
        return net.tail(F.relu(net.second(F.relu(net.first(F.relu(net.stem(x)))))))

    net = Net(forward, stem=conv(3, 8), first=conv(8, 8), second=conv(8, 8), tail=tail(8))
    net.second.weight = net.first.weight
    return net


def shared_trunk():
    def forward(net, x):
        return net.head(torch.cat([net.trunk(x), net.trunk(x.flip(-1))], 1))

    return Net(
        forward, trunk=nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 6), nn.ReLU(), nn.Flatten(), nn.Linear(384, 6)),
        head=nn.Linear(12, 4),
    )  # fmt: skip


# --- inputs and outputs


def two_inputs():
    def forward(net, image, vector):
        x = F.relu(net.conv(image)).mean((2, 3)) + net.fc(vector)
        return net.head(F.relu(x))

    return Pair(forward, conv=conv(3, 8), fc=nn.Linear(5, 8), head=nn.Linear(8, 4))


def two_outputs():
    def forward(net, x):
        x = F.relu(net.stem(x))
        return net.classes(x.mean((2, 3))), net.mask(x)

    return Net(forward, stem=conv(3, 8), classes=nn.Linear(8, 4), mask=nn.Conv2d(8, 1, 1))


def dictionary():
    def forward(net, x):
        x = F.relu(net.stem(x))
        return {"classes": net.classes(x.mean((2, 3))), "features": net.features(x)}

    return Net(forward, stem=conv(3, 8), classes=nn.Linear(8, 4), features=nn.Conv2d(8, 2, 1))


def inner_output():
    """The stem is also an output: it must stay."""

    def forward(net, x):
        x = F.relu(net.stem(x))
        return net.tail(F.relu(net.conv(x))), x

    return Net(forward, stem=conv(3, 8), conv=conv(8, 6), tail=tail(6))


# --- widths that are written into the code


def written_reshape():
    def forward(net, x):
        x = F.relu(net.conv2(F.relu(net.conv1(x))))
        return net.fc(x.reshape(-1, 6 * 64))

    return Net(forward, conv1=conv(3, 8), conv2=conv(8, 6), fc=nn.Linear(384, 4))


def written_slice():
    def forward(net, x):
        return net.tail(F.relu(net.conv2(F.relu(net.conv1(x))[:, :4])))

    return Net(forward, conv1=conv(3, 8), conv2=conv(4, 6), tail=tail(6))


def written_width():
    def forward(net, x):
        x = F.relu(net.conv(x))
        return net.tail(x + torch.linspace(0, 1, 8, dtype=x.dtype)[:, None, None])

    return Net(forward, conv=conv(3, 8), tail=tail(8))


def channel_mean():
    def forward(net, x):
        x = F.relu(net.conv(x))
        return net.tail(x - x.mean(1, keepdim=True))

    return Net(forward, conv=conv(3, 8), tail=tail(8))


def softmax_over_channels():
    return nn.Sequential(conv(3, 8), nn.Softmax(1), conv(8, 6), nn.ReLU(), tail(6))


def image(batch=2):
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def signals():
    return image().flatten(2)[..., :16].contiguous()


def words():
    return torch.tensor([[1, 2, 3, 4, 5], [10, 9, 8, 7, 6]])


@dataclass(frozen=True)
class Pattern:
    """A network, the channels of each group that can be removed, and a part of the reason for each that cannot."""

    build: Callable[[], nn.Module]
    groups: dict[str, int]
    refused: dict[str, str] = field(default_factory=dict)
    inputs: Callable[[], object] = image

    @property
    def name(self):
        return self.build.__name__


PATTERNS = (
    Pattern(chain, {"0": 8, "3": 6}),
    Pattern(mlp, {"1": 8}),
    Pattern(flattened, {"0": 6}),
    Pattern(signal, {"0": 8}, inputs=signals),
    Pattern(volume, {"0": 8}, inputs=lambda: image()[..., None].expand(-1, -1, -1, -1, 4).contiguous()),
    Pattern(gelu, {"0": 8, "2": 6, "4": 6}),
    Pattern(prelu, {"0": 8, "3": 6}),
    Pattern(sigmoid, {"0": 8, "2": 6}),
    Pattern(softplus, {"1": 8}),
    Pattern(sigmoid_before_padding, {"2": 6}, {"0": r"f\(0\) != 0 sends 0.5 to 2, where zero padding makes it uneven"}),
    Pattern(residual, {"stem": 8, "conv1": 6}),
    Pattern(bottleneck, {"stem": 8, "reduce": 4, "conv": 4, "widen": 12}),
    Pattern(pre_activation, {"stem": 8, "conv1": 6}),
    Pattern(padded_shortcut, {"0": 8, "2.conv1": 16, "2.conv2": 8, "3.conv1": 16}),
    Pattern(lambda_shortcut, {"0": 8, "2.conv1": 16, "2.conv2": 8}),
    Pattern(pooled_shortcut, {"0": 8, "2.conv1": 16}, {"2.conv2": "it pads is written into 2.shortcut"}),
    Pattern(padding_in_forward, {"stem": 8}, {"conv": "it pads is written into the network's own"}),
    Pattern(concatenated_zeros, {"stem": 8}, {"conv": "meets a tensor of fixed width"}),
    Pattern(depthwise, {"0": 8}),
    Pattern(depth_multiplier, {"0": 6}),
    Pattern(grouped, {"0": 4}),
    Pattern(grouped_input, {"2": 8}, {"0": "0 reads channels of fixed width in 3 groups"}),
    Pattern(inverted_residual, {"stem": 6, "expand": 12}),
    Pattern(channel_shuffle, {"stem": 4, "conv": 6}),
    Pattern(shuffle_unit, {"stem": 4, "reduce": 4}),
    Pattern(squeeze_excitation, {"conv": 8, "squeeze": 4}),
    Pattern(spatial_gate, {"conv": 8}, {"gate": "broadcast over other channels"}),
    Pattern(dense_block, {"stem": 8, "conv1": 4, "conv2": 4}),
    Pattern(u_net, {"down1": 6, "down2": 8, "up": 6, "join": 6}),
    Pattern(inception, {"one": 4, "three": 6}),
    Pattern(group_norm, {"0": 4}),
    Pattern(group_norm_of_all, {"3": 6}, {"0": "1 normalises across all channels"}),
    Pattern(instance_norm, {"0": 8}),
    Pattern(norm_without_scale, {"0": 8, "2": 6}),
    Pattern(layer_norm, {"fc1": 12}, {"embed": "norm normalises across the channels"}),
    Pattern(convnext, {"fc1": 16}, {"stem": "norm normalises across the channels"}),
    Pattern(
        multihead_attention, {"fc1": 12},
        dict.fromkeys(("embed", "attention", "attention#2"), "an nn.MultiheadAttention"),
    ),
    Pattern(fused_attention, {"attention.qkv": 3}, {"embed": "norm normalises across the channels"}),
    Pattern(split_attention, {"attention.query": 4, "attention.value": 4}, {"embed": "norm normalises"}),
    Pattern(
        scaled_by_width, {"attention.value": 4},
        {"embed": "norm normalises", "attention.query": "attention scales products of queries and keys by how many"},
    ),
    Pattern(matching, {"left": 8}),
    Pattern(class_token, {"embed": 8, "fc1": 12}),
    Pattern(transposed, {"0": 8, "2": 6}),
    Pattern(pixel_shuffle, {"0": 6}),
    Pattern(upsampled, {"0": 8}),
    Pattern(decoder, {"fc": 6, "conv": 8}),
    Pattern(gated, {"0": 6, "2": 8}),
    Pattern(maxout, {"conv": 6}),
    Pattern(lstm, {"conv": 8, "lstm": 6, "fc": 8}, inputs=signals),
    Pattern(stacked_lstm, {"fc": 8, "lstm": 6}, inputs=signals),
    Pattern(recurrent, {"conv": 8, "rnn": 6}, inputs=signals),
    Pattern(without_bias, {"gru": 6}, {"fc": r"sends 0.5 to gru, where it has no bias"}, inputs=signals),
    Pattern(written_state, {"fc": 8}, {"gru": "gru starts from a state of fixed width"}, inputs=signals),
    Pattern(gru, {"embed": 8, "gru": 6, "fc": 8}, inputs=words),
    Pattern(embedding, {"words": 8, "fc1": 12}, inputs=words),
    Pattern(repeated, {"stem": 8}),
    Pattern(tied, {"stem": 8}),
    Pattern(shared_trunk, {"trunk.0": 8, "trunk.2": 6, "trunk.5": 6}),
    Pattern(two_inputs, {"conv": 8}, inputs=lambda: (image(), image().flatten(1)[:, :5].contiguous())),
    Pattern(two_outputs, {"stem": 8}),
    Pattern(dictionary, {"stem": 8}),
    Pattern(inner_output, {"conv": 6}, {"stem": "its channels are outputs of the network"}),
    Pattern(written_reshape, {"conv1": 8}, {"conv2": "breaks the network .*384"}),
    Pattern(written_slice, {"conv2": 6}, {"conv1": "breaks the network", "conv1#2": "no .* reads it"}),
    Pattern(written_width, {}, {"conv": "meets a tensor of fixed width"}),
    Pattern(channel_mean, {}, {"conv": "mean over the channels"}),
    Pattern(softmax_over_channels, {"2": 6}, {"0": "softmax over the channels"}),
)  # fmt: skip
