"""Transformers as libraries write them: streams across norms, whole heads, widths that modules state."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pattern, image, words


class Heads(nn.Module):
    """As in timm: the scale follows the width of a head, so that only whole heads go; `attn_dim` is that of all."""

    def __init__(self, width, heads):
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = heads, width // heads, width
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*qkv.unbind(0))
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, self.attn_dim))


class VisionTransformer(nn.Module):
    """Patches, a class token, positions, norms before each branch and at the end; it states the width of its stream."""

    def __init__(self, width=8, heads=4):
        super().__init__()
        self.hidden_dim = width
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.full((1, 1, width), 0.3))
        self.position = nn.Parameter(torch.full((1, 5, width), 0.1))
        self.norm1, self.norm2, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.attention = Heads(width, heads)
        self.fc1, self.fc2 = nn.Linear(width, 12), nn.Linear(12, width)
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        x = self.patches(x)
        x = x.reshape(x.shape[0], self.hidden_dim, x.shape[2] * x.shape[3]).permute(0, 2, 1)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        x = x + self.attention(self.norm1(x))
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return self.head(self.norm(x)[:, 0])


def vision_transformer():
    return VisionTransformer()


class RootMeanSquare(nn.Module):
    """As in language models: neither torch's own nor named like it."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), 0.7))
        self.variance_epsilon = 1e-5

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


class SharedKeys(nn.Module):
    """Four heads ask, two answer; positions turn pairs of places within a head, so that only whole heads go."""

    def __init__(self, width=8, head_dim=4):
        super().__init__()
        self.head_dim, self.scaling = head_dim, head_dim**-0.5
        self.query = nn.Linear(width, 4 * head_dim, bias=False)
        self.key, self.value = (nn.Linear(width, 2 * head_dim, bias=False) for _ in range(2))
        self.out = nn.Linear(4 * head_dim, width, bias=False)

    def turned(self, x):
        angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * torch.tensor([1.0, 0.1], dtype=x.dtype).repeat(2)
        left, right = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
        return x * angle.cos() + torch.cat([-right, left], -1) * angle.sin()

    def repeated(self, x):
        batch, heads, tokens, width = x.shape
        return x[:, :, None].expand(batch, heads, 2, tokens, width).reshape(batch, 2 * heads, tokens, width)

    def forward(self, x):
        shape = (*x.shape[:-1], -1, self.head_dim)
        query, key, value = (layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        key, value = self.repeated(self.turned(key)), self.repeated(value)
        mixed = F.scaled_dot_product_attention(self.turned(query), key, value, is_causal=True, scale=self.scaling)
        return self.out(mixed.transpose(1, 2).reshape(*x.shape[:-1], -1))


def language_model():
    """Norms of root mean squares, grouped-query attention, a gated MLP, and one weight for words in and words out."""

    def forward(net, x):
        x = net.embed(x)
        x = x + net.attention(net.norm1(x))
        inner = net.norm2(x)
        x = x + net.down(F.silu(net.gate(inner)) * net.up(inner))
        return net.head(net.norm(x))

    net = Net(
        forward, embed=nn.Embedding(11, 8), norm1=RootMeanSquare(8), attention=SharedKeys(), norm2=nn.RMSNorm(8),
        gate=nn.Linear(8, 12, bias=False), up=nn.Linear(8, 12, bias=False), down=nn.Linear(12, 8, bias=False),
        norm=nn.RMSNorm(8, eps=1e-6), head=nn.Linear(8, 11, bias=False),
    )  # fmt: skip
    net.head.weight = net.embed.weight
    return net


def norms_behind():
    """As in BERT: what the norms give is the stream itself, and one of them has no bias."""

    def forward(net, x):
        x = net.norm(net.words(x) + net.places.weight[: x.shape[1]])
        x = net.norm1(x + net.attention(x, x, x, need_weights=False)[0])
        x = net.norm2(x + net.fc2(F.gelu(net.fc1(x))))
        return net.head(torch.tanh(net.pool(x[:, 0])))

    return Net(
        forward, words=nn.Embedding(11, 8), places=nn.Embedding(6, 8), norm=nn.LayerNorm(8),
        attention=nn.MultiheadAttention(8, 2, batch_first=True), norm1=nn.LayerNorm(8, bias=False),
        fc1=nn.Linear(8, 12), fc2=nn.Linear(12, 8), norm2=nn.LayerNorm(8, eps=1e-3),
        pool=nn.Linear(8, 6), head=nn.Linear(6, 4),
    )  # fmt: skip


class ChannelsFirst(nn.LayerNorm):
    """Images stay as they are: the norm moves their channels."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def patch_merging():
    """As in Swin and ConvNeXt: of four neighbours one token of four times the width, which is normalised whole."""

    def forward(net, x):
        x = net.norm(net.stem(x)).permute(0, 2, 3, 1)
        x = torch.cat([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], -1)
        return net.head(net.reduction(net.merged(x)).flatten(1, 2).mean(1))

    return Net(
        forward, stem=nn.Conv2d(3, 6, 3, padding=1), norm=ChannelsFirst(6), merged=nn.LayerNorm(24),
        reduction=nn.Linear(24, 8, bias=False), head=nn.Linear(8, 4),
    )  # fmt: skip


def norm_without_weights():
    """Nothing keeps a channel zero from which a mean is taken."""

    def forward(net, x):
        x = net.norm(net.embed(x.flatten(2).transpose(1, 2)))
        return net.head(F.gelu(net.fc(x)).mean(1))

    norm = nn.LayerNorm(8, elementwise_affine=False)
    return Net(forward, embed=nn.Linear(3, 8), norm=norm, fc=nn.Linear(8, 12), head=nn.Linear(12, 4))


PATTERNS = (
    Pattern(vision_transformer, {"patches": 8, "attention.qkv": 4, "fc1": 12}, inputs=image),
    Pattern(language_model, {"embed": 8, "attention.query": 2, "gate": 12}, inputs=words),
    Pattern(
        norms_behind, {"words": 8, "attention": 4, "attention#2": 4, "fc1": 12, "pool": 6},
        inputs=words,
    ),
    Pattern(patch_merging, {"stem": 6, "reduction": 8}),
    Pattern(norm_without_weights, {"fc": 12}, {"embed": "norm normalises across the channels without a weight"}),
)  # fmt: skip
