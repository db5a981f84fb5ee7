"""Blocks of random networks in which the places of an image are tokens: attention in its forms, norms over channels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_attention import Attention, SplitAttention
from zoo_norms import ResponseNorm
from zoo_parts import Net, conv


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def like(x, image):
    """Tokens (batch, places, channels) as an image of the same height and width."""
    return x.transpose(1, 2).unflatten(2, image.shape[2:])


def written_heads(width, out):
    """Pre-norm, queries, keys and values in one layer, cut by widths that are attributes; widths are multiples of 4."""

    def forward(net, x):
        stream = tokens(x)
        stream = stream + net.attention(net.norm(stream))
        return net.out(like(stream, x))

    return Net(forward, norm=nn.LayerNorm(width), attention=Attention(width, 2), out=nn.Conv2d(width, out, 1))


def followed_heads(width, out):
    """Post-norm, the widths of the heads follow the tensors, and an MLP."""

    def forward(net, x):
        stream = net.first(tokens(x) + net.attention(tokens(x)))
        stream = net.second(stream + net.fc2(F.gelu(net.fc1(stream))))
        return net.out(like(stream, x))

    return Net(
        forward, attention=SplitAttention(width), first=nn.LayerNorm(width), fc1=nn.Linear(width, 6),
        fc2=nn.Linear(6, width), second=nn.LayerNorm(width), out=nn.Conv2d(width, out, 1),
    )  # fmt: skip


def torch_attention(width, out):
    def forward(net, x):
        stream = net.norm(tokens(x))
        return net.out(like(net.attention(stream, stream, stream, need_weights=False)[0], x))

    attention = nn.MultiheadAttention(width, 2, batch_first=True)
    return Net(forward, norm=nn.LayerNorm(width), attention=attention, out=nn.Conv2d(width, out, 1))


def torch_encoder(width, out):
    def forward(net, x):
        return net.out(like(net.layer(tokens(x)), x))

    layer = nn.TransformerEncoderLayer(width, 2, 10, batch_first=True, norm_first=True)
    return Net(forward, layer=layer, out=nn.Conv2d(width, out, 1))


def shared_keys(width, out):
    """Grouped-query attention: two queries for each head of keys and values."""

    def forward(net, x):
        x_ = tokens(x)
        query = net.query(x_).unflatten(-1, (4, 3)).transpose(1, 2)
        key, value = (layer(x_).unflatten(-1, (2, 3)).transpose(1, 2) for layer in (net.key, net.value))
        mixed = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        return like(net.out(mixed.transpose(1, 2).flatten(2)), x)

    return Net(
        forward, query=nn.Linear(width, 12), key=nn.Linear(width, 6), value=nn.Linear(width, 6),
        out=nn.Linear(12, out),
    )  # fmt: skip


def gated_rms(width, out):
    """As in language models: RMSNorm, and an MLP whose one half gates the other."""

    def forward(net, x):
        stream = tokens(x)
        inner = net.norm(stream)
        stream = stream + net.down(F.silu(net.gate(inner)) * net.up(inner))
        return net.out(like(net.last(stream), x))

    return Net(
        forward, norm=nn.RMSNorm(width), gate=nn.Linear(width, 7, bias=False), up=nn.Linear(width, 7, bias=False),
        down=nn.Linear(7, width, bias=False), last=nn.RMSNorm(width), out=nn.Conv2d(width, out, 1),
    )  # fmt: skip


def gated_halves(width, out):
    """One layer makes the gate and what it gates."""

    def forward(net, x):
        gate, inner = net.both(net.norm(tokens(x))).chunk(2, -1)
        return like(net.down(F.gelu(gate) * inner), x)

    return Net(forward, norm=nn.LayerNorm(width), both=nn.Linear(width, 12), down=nn.Linear(6, out))


def convnext_block(width, out):
    def forward(net, x):
        inner = net.norm(net.depth(x).permute(0, 2, 3, 1))
        inner = net.scale * net.fc2(net.response(F.gelu(net.fc1(inner))))
        return net.out(x + inner.permute(0, 3, 1, 2))

    return Net(
        forward, depth=conv(width, width, groups=width), norm=nn.LayerNorm(width), fc1=nn.Linear(width, 10),
        response=ResponseNorm(10, 3), fc2=nn.Linear(10, width), scale=nn.Parameter(torch.full((width,), 0.5)),
        out=nn.Conv2d(width, out, 1),
    )  # fmt: skip


def positions(width, out):
    """What is added to every token stays beside what goes."""

    def forward(net, x):
        stream = torch.cat([net.token.expand(len(x), -1, -1), tokens(x)], 1) + net.position[:, : 1 + x[0, 0].numel()]
        return net.out(like(net.norm(stream)[:, 1:], x))

    return Net(
        forward, token=nn.Parameter(torch.randn(1, 1, width)), position=nn.Parameter(torch.randn(1, 65, width)),
        norm=nn.LayerNorm(width), out=nn.Conv2d(width, out, 1),
    )  # fmt: skip


TOKEN_BLOCKS = (
    written_heads, followed_heads, torch_attention, torch_encoder, shared_keys, gated_rms, gated_halves,
    convnext_block, positions,
)  # fmt: skip
