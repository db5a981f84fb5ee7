"""Networks that take and return more than tensors, or compute in more than one precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pattern, image, signals, tail, words

from compressor.inputs import Examples


class Free(Net):
    """Takes whatever it is given."""

    def forward(self, *args, **kwargs):  # type: ignore[override]
        return self._run(self, *args, **kwargs)


@dataclass(frozen=True)
class Batch:
    """What a network is given."""

    images: torch.Tensor
    weight: torch.Tensor | None
    scale: float


@dataclass
class Scores:
    """What it returns."""

    logits: torch.Tensor
    hidden: list[torch.Tensor]
    name: str = "scores"


def dataclasses():
    def forward(net, batch):
        x = F.relu(net.conv(batch.images))
        x = F.relu(net.conv2(x if batch.weight is None else x * batch.weight))
        return Scores(net.head(x) * batch.scale, [])

    return Free(forward, conv=nn.Conv2d(3, 8, 3), conv2=nn.Conv2d(8, 6, 1), head=tail(6))


def batch():
    return Batch(image(), torch.tensor(1.5), 0.5)


def listed_images():
    """As detectors take them: a list, of which each tensor is one sample."""

    def forward(net, images, temperature, targets=None):
        x = F.relu(net.conv(torch.stack([one * 2 for one in images])))
        return {"scores": net.head(F.relu(net.conv2(x))) / temperature, "targets": targets}

    return Free(forward, conv=nn.Conv2d(3, 8, 3), conv2=nn.Conv2d(8, 6, 1), head=tail(6))


def several_images():
    return [*image()], torch.tensor(0.7), None


def masked_words():
    def forward(net, input_ids, attention_mask=None):
        x = net.embed(input_ids)
        if attention_mask is not None:
            x = x * attention_mask[..., None].to(x.dtype)
        return net.head(F.relu(net.fc(x.mean(1))))

    return Free(forward, embed=nn.Embedding(11, 8), fc=nn.Linear(8, 6), head=nn.Linear(6, 4))


def sentences():
    """With and without a mask, of two lengths."""
    tokens, mask = words(), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    return Examples({"input_ids": tokens, "attention_mask": mask}, {"input_ids": tokens[:, :3]})


def feature_maps():
    """Features that no user needs are returned beside the scores: they do not count."""

    def forward(net, x):
        features = F.relu(net.conv(x))
        return net.head(F.relu(net.conv2(features))), [features]

    return Free(forward, conv=nn.Conv2d(3, 8, 3), conv2=nn.Conv2d(8, 6, 1), head=tail(6))


def scores_only():
    return Examples(image(), outputs=0)


def made_state():
    """As tutorials write it: a state of zeros, in the precision that torch makes them in."""

    def forward(net, x):
        state = torch.zeros(1, x.size(0), 6), torch.zeros(1, x.size(0), 6)
        found, _ = net.lstm(F.relu(net.conv(x)).transpose(1, 2), state)
        return net.head(F.relu(net.fc(found[:, -1])))

    return Free(
        forward, conv=nn.Conv1d(3, 8, 3), lstm=nn.LSTM(8, 6, batch_first=True), fc=nn.Linear(6, 8), head=nn.Linear(8, 4)
    )


def casts():
    """Precisions written into the code, and a constant that is no buffer."""
    constant = torch.tensor([[[0.5]], [[2.0]]])

    def forward(net, x):
        x = F.relu(net.conv(x)).float()
        x = x / x.to(torch.float32).abs().amax((2, 3), keepdim=True).add(1) * constant[0]
        x = torch.matmul(x, torch.eye(6, dtype=torch.float32)).type("torch.FloatTensor")
        return net.head(F.relu(net.conv2(x.type_as(constant))))

    return Free(forward, conv=nn.Conv2d(3, 8, 3), conv2=nn.Conv2d(8, 6, 1), head=tail(6))


class Filtered(Free):
    """Its first parameter is complex."""

    def __init__(self, forward, **modules):
        super().__init__(forward)
        self.response = nn.Parameter(torch.full((5,), 1 + 0.5j))
        for name, module in modules.items():
            setattr(self, name, module)


def complex_filter():
    def forward(net, x):
        x = torch.fft.irfft(torch.fft.rfft(x.mean(2)) * net.response, n=8)
        return net.head(F.relu(net.fc(x.flatten(1))))

    return Filtered(forward, fc=nn.Linear(24, 8), head=nn.Linear(8, 4))


def insisting():
    """Code that takes float32 alone, so that the comparison is in float32 too."""

    def forward(net, x):
        if x.dtype is not torch.float32:
            raise TypeError("images must be float32")
        return net.head(F.relu(net.conv(x)))

    return Free(forward, conv=nn.Conv2d(3, 8, 3), head=tail(8))


def half():
    def forward(net, x):
        return net.head(F.relu(net.conv2(F.relu(net.norm(net.conv(x))))))

    return Free(
        forward, conv=nn.Conv2d(3, 8, 3), norm=nn.BatchNorm2d(8), conv2=nn.Conv2d(8, 6, 1), head=tail(6)
    ).half()  # fmt: skip


def brain_floats():
    return half().bfloat16()


PATTERNS = (
    Pattern(dataclasses, {"conv": 8, "conv2": 6}, inputs=batch),
    Pattern(listed_images, {"conv": 8, "conv2": 6}, inputs=several_images),
    Pattern(masked_words, {"embed": 8, "fc": 6}, inputs=sentences),
    Pattern(feature_maps, {"conv": 8, "conv2": 6}, inputs=scores_only),
    Pattern(made_state, {"conv": 8, "fc": 8}, {"lstm": "lstm starts from a state of fixed width"}, inputs=signals),
    Pattern(casts, {"conv": 8, "conv2": 6}),
    Pattern(half, {"conv": 8, "conv2": 6}, inputs=lambda: image().half()),
    Pattern(brain_floats, {"conv": 8, "conv2": 6}, inputs=lambda: image().bfloat16()),
)  # fmt: skip
