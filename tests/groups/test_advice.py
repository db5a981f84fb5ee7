from __future__ import annotations

import pytest

from compressor.groups.advice import CHANGES, advice, is_output
from compressor.groups.trace import OUTPUTS

REASONS = {
    "stem is frozen (requires_grad is off)": "train stem as well",
    "layer.attn is an nn.MultiheadAttention with keys or values of another width": "write layer.attn with linear",
    "layer.attn is an nn.MultiheadAttention that has several names or is asked for more": "only call layer.attn",
    "blocks.0.norm normalises across the channels": "(BatchNorm) for blocks.0.norm",
    "norm normalises across the channels without a weight for each": "weights for the norm in norm (element",
    "1 normalises across all channels": "(BatchNorm) for 1 and",
    "the number of zero channels that it pads is written into 2.shortcut": "make the padding of 2.shortcut a module",
    "it changes (an activation with f(0) != 0 sends 0.5 to 2, where zero padding makes it uneven)": "before 2: ReLU",
    "it changes (an activation with f(0) != 0 sends 0.5 to gru, where it has no bias)": "a bias for gru",
    "attn scales products of queries and keys by how many channels they have": "scale=head_dim**-0.5",
    "gru starts from a state of fixed width": "call gru without a first state",
    "lstm is an nn.LSTM with projections, which torch tells from others by its widths": "a linear layer behind lstm",
    "it meets a tensor of fixed width in the network's own forward": "in the network's own forward, not from constants",
    "it stands beside a tensor of fixed width in head": "in head, not from constants",
    "conv computes its weight anew in every forward pass": "the weight of conv into it",
    "conv computes with its parameters (mul)": "not with their weights",
    "it is written: conv writes it into a part of another tensor": "torch.cat in",
    "removing channels breaks the network (RuntimeError: shape '[2, 384]' is invalid)": "x.shape[1]",
    "changes the output by 1e-2 of its scale (the network's code relies on the number of channels)": "x.shape[1]",
    "all of it hangs together as a single channel, since n1 normalises 48 channels in 8 groups": "groups in n1 that",
    "mean over the channels in spatial": "a 1x1 convolution in place of the mean over the channels in spatial",
    "it passes through mine::scan in block": "compressor.teach what mine::scan in block does",
    "block uses its parameters in mine::scan": "compressor.teach what mine::scan in block does",
    "block calls mine::scan with other axes than were taught": "compressor.teach the axes with which block calls",
    "attn uses cat in a form that is not known (sizes differ)": "another form of cat in attn",
    "router decides by values which way to go": "inputs that take every way of router (--example",
    "latent draws random numbers": "the same random numbers for all channels in latent",
    "it was not probed within 600 s": "a smaller --input-shape",
}


@pytest.mark.parametrize(("reason", "change"), REASONS.items())
def test_a_reason_comes_with_the_change_that_would_lift_it(reason, change):
    assert change in advice(reason)


def test_every_change_is_tried_here():
    assert {advice(reason).split()[0] for reason in REASONS} >= {change.split()[0] for _, change in CHANGES}


@pytest.mark.parametrize("reason", [None, OUTPUTS, "softmax over the channels in 1"])
def test_nothing_is_advised_where_nothing_helps(reason):
    assert advice(reason) is None


def test_only_outputs_are_outputs():
    assert is_output(OUTPUTS)
    assert not is_output(None)
