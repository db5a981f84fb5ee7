"""Parameters that code multiplies with itself, without a layer of torch's."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pattern, conv, tail, words


class Transposed(nn.Module):
    """A linear layer whose weight is (inputs, outputs), and which notes its widths, as in GPT-2."""

    def __init__(self, nx, nf):
        super().__init__()
        self.nx, self.nf = nx, nf
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view((*x.size()[:-1], self.nf))


class GraphConvolution(nn.Module):
    """Mixes nodes by an adjacency, then channels by a weight."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.randn(in_features, out_features) / in_features**0.5)
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x, adjacency):
        return adjacency @ (x @ self.weight) + self.bias


class SplitAttention(nn.Module):
    """Queries, keys and values of one matrix, split by a width that an attribute states, as in GPT-2."""

    def __init__(self, width, heads):
        super().__init__()
        self.split_size, self.head_dim, self.scale = width, width // heads, (width // heads) ** -0.5
        self.inner, self.outer = Transposed(width, 3 * width), Transposed(width, width)

    def forward(self, x):
        parts = self.inner(x).split(self.split_size, dim=2)
        query, key, value = (part.view(*part.shape[:-1], -1, self.head_dim).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=self.scale).transpose(1, 2)
        return self.outer(mixed.reshape(*mixed.shape[:-2], -1))


def weight(*shape):
    return nn.Parameter(torch.randn(*shape) / shape[1] ** 0.5)


def transposed_linear():
    def forward(net, x):
        x = net.embed(x)
        return net.head((x + net.fc2(F.gelu(net.fc1(x)))).mean(1))

    return Net(forward, embed=nn.Embedding(12, 8), fc1=Transposed(8, 16), fc2=Transposed(16, 8), head=nn.Linear(8, 4))


def transposed_attention():
    def forward(net, x):
        return net.head((lambda x: x + net.attention(x))(net.embed(x)).mean(1))

    return Net(forward, embed=nn.Embedding(12, 8), attention=SplitAttention(8, 2), head=nn.Linear(8, 4))


def graph():
    """Eight nodes of 24 numbers each, in a ring."""

    def forward(net, x):
        x = x.flatten(2).unflatten(2, (8, 8)).transpose(1, 2).flatten(2)
        return net.last(F.relu(net.second(F.relu(net.first(x, net.ring)), net.ring)), net.ring).mean(1)

    ring = (torch.eye(8) + torch.eye(8).roll(1, 0)) / 2
    net = Net(forward, first=GraphConvolution(24, 8), second=GraphConvolution(8, 6), last=GraphConvolution(6, 4))
    net.register_buffer("ring", ring)
    return net


def written_functions():
    """Everything by functions on the network's own parameters."""

    def forward(net, x):
        x = F.conv2d(x, net.first, net.shift, padding=1)
        x = F.relu(F.batch_norm(x, net.mean, net.variance, net.gain, net.offset))
        x = F.relu(F.conv2d(x, net.second, padding=1))
        return F.linear(x.mean((2, 3)), net.last)

    net = Net(
        forward, first=weight(8, 3, 3, 3), shift=nn.Parameter(torch.randn(8)), gain=nn.Parameter(torch.rand(8) + 0.5),
        offset=nn.Parameter(torch.randn(8)), second=weight(6, 8, 3, 3), last=weight(4, 6),
    )  # fmt: skip
    net.register_buffer("mean", torch.randn(8))
    net.register_buffer("variance", torch.rand(8) + 0.5)
    return net


def written_embedding():
    """The vectors of the words are read by the layer that they are multiplied with once more at the end."""

    def forward(net, x):
        x = F.embedding(x, net.words)
        return F.linear(F.relu(F.linear(x, net.inner)), net.outer).mean(1) @ net.words.t()

    return Net(forward, words=weight(12, 8), inner=weight(10, 8), outer=weight(8, 10))


def layer_by_function():
    """A layer whose weight is used without calling it."""

    def forward(net, x):
        return net.tail(F.relu(F.conv2d(x, net.conv.weight, net.conv.bias, padding=1)))

    return Net(forward, conv=conv(3, 8), tail=tail(8))


def einsum():
    def forward(net, x):
        x = F.relu(torch.einsum("bchw,oc->bohw", x, net.inner))
        return torch.einsum("bchw,co->bo", x, net.outer)

    return Net(forward, inner=weight(8, 3), outer=weight(8, 4))


PATTERNS = (
    Pattern(transposed_linear, {"embed": 8, "fc1": 16}, inputs=words),
    Pattern(transposed_attention, {"embed": 8, "attention.inner": 4}, inputs=words),
    Pattern(graph, {"first": 8, "second": 6}),
    Pattern(written_functions, {"first": 8, "second": 6}),
    Pattern(written_embedding, {"words": 8, "inner": 10}, inputs=words),
    Pattern(layer_by_function, {"conv": 8}),
    Pattern(einsum, {"inner": 8}),
)  # fmt: skip
