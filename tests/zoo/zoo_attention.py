"""Attention: torch's own, fused, by hand, and what stands around it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pattern


def multihead_attention():
    def forward(net, x):
        x = net.embed(x.flatten(2).transpose(1, 2))
        x = x + net.attention(x, x, x, need_weights=False)[0]
        return net.head((x + net.fc2(F.relu(net.fc1(x)))).mean(1))

    return Net(
        forward, embed=nn.Linear(3, 8), attention=nn.MultiheadAttention(8, 2, batch_first=True), fc1=nn.Linear(8, 12),
        fc2=nn.Linear(12, 8), head=nn.Linear(8, 4),
    )  # fmt: skip


def encoder_layer():
    def forward(net, x):
        return net.head(net.layer(net.embed(x.flatten(2).transpose(1, 2))).mean(1))

    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    return Net(forward, embed=nn.Linear(3, 8), layer=layer, head=nn.Linear(8, 4))


def cross_attention():
    """Three tokens ask all others, tokens lie first, some keys are hidden, and the weights are a result too."""

    def forward(net, x):
        x = x.flatten(2).permute(2, 0, 1)
        hidden = torch.arange(64) % 5 == 1
        found, weights = net.attention(
            net.ask(x[:3]), net.read(x), torch.tanh(net.see(x)), hidden.expand(x.shape[1], -1)
        )
        return net.head(found.mean(0)), weights

    return Net(
        forward, ask=nn.Linear(3, 6), read=nn.Linear(3, 6), see=nn.Linear(3, 6), attention=nn.MultiheadAttention(6, 3),
        head=nn.Linear(6, 4),
    )  # fmt: skip


def width_of_attention():
    """The network asks its attention how wide it is: one with several widths has no answer."""

    def forward(net, x):
        x = net.embed(x.flatten(2).transpose(1, 2))
        found = net.attention(x, x, x, need_weights=False)[0]
        return net.head((found * net.attention.embed_dim**0.5).mean(1))

    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    return Net(forward, embed=nn.Linear(3, 8), attention=attention, head=nn.Linear(8, 4))


def keys_of_another_width():
    def forward(net, x):
        x = x.flatten(2).transpose(1, 2)
        return net.head(net.attention(net.ask(x), net.read(x), x)[0].mean(1))

    attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=3, batch_first=True)
    return Net(forward, ask=nn.Linear(3, 8), read=nn.Linear(3, 6), attention=attention, head=nn.Linear(8, 4))


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


def grouped_queries():
    """Two heads of keys and values serve four of queries: what goes is one of the former with its queries."""

    def forward(net, x):
        x = net.embed(x.flatten(2).transpose(1, 2))
        query, key, value = (
            layer(x).unflatten(2, (-1, 4)).transpose(1, 2) for layer in (net.query, net.key, net.value)
        )
        key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], 1) for each in (key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, scale=0.5).transpose(1, 2).flatten(2)
        return net.head(F.relu(net.out(mixed)).mean(1))

    return Net(
        forward, embed=nn.Linear(3, 8), query=nn.Linear(8, 16), key=nn.Linear(8, 8), value=nn.Linear(8, 8),
        out=nn.Linear(16, 6), head=nn.Linear(6, 4),
    )  # fmt: skip


def cached():
    """Keys and values stand behind those of a cache, which is empty at first."""

    def forward(net, x):
        x = net.embed(x.flatten(2).transpose(1, 2))
        keys, values = torch.tensor([]), torch.zeros(len(x), 0, net.value.out_features, dtype=x.dtype)
        keys = torch.cat([keys.to(x.dtype), net.key(x)], 1)
        weights = (net.query(x) @ keys.transpose(1, 2)).softmax(-1)
        return net.head((weights @ torch.cat([values, net.value(x)], dim=-2)).mean(1))

    return Net(
        forward, embed=nn.Linear(3, 8), query=nn.Linear(8, 6), key=nn.Linear(8, 6), value=nn.Linear(8, 6),
        head=nn.Linear(6, 4),
    )  # fmt: skip


PATTERNS = (
    Pattern(multihead_attention, {"embed": 8, "attention": 4, "attention#2": 4, "fc1": 12}),
    Pattern(
        encoder_layer, {"embed": 8, "layer.self_attn": 4, "layer.self_attn#2": 4, "layer.linear1": 12},
    ),
    Pattern(cross_attention, {"ask": 6, "attention": 2, "attention#2": 2, "attention.out_proj": 6}),
    Pattern(
        width_of_attention, {},
        dict.fromkeys(("embed", "attention", "attention#2"), "is asked for more than its output")
        | {"attention.out_proj": "has no attribute 'embed_dim'"},
    ),
    Pattern(
        keys_of_another_width, {"attention.out_proj": 8},
        dict.fromkeys(("ask", "read", "attention", "attention#2"), "keys or values of another width"),
    ),
    Pattern(fused_attention, {"embed": 12, "attention.qkv": 3}),
    Pattern(split_attention, {"embed": 8, "attention.query": 4, "attention.value": 4}),
    Pattern(
        scaled_by_width, {"embed": 8, "attention.value": 4},
        {"attention.query": "attention scales products of queries and keys by how many"},
    ),
    Pattern(matching, {"left": 8}),
    Pattern(grouped_queries, {"embed": 8, "query": 2, "out": 6}),
    Pattern(cached, {"embed": 8, "query": 6, "value": 6}),
    Pattern(class_token, {"embed": 8, "fc1": 12}),
)  # fmt: skip
