"""Our attention with widths of its own gives what torch's gives where the widths are torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.architectures.attention import SlimAttention

TOKENS, KEYS, WIDTH, HEADS, BATCH = 5, 7, 12, 3, 2
WIDTHS = {"input_width": 8, "query_width": 6, "value_width": 9, "output_width": 5, "num_heads": 3}
WEIGHTS = {"none": {"need_weights": False}, "mean": {}, "each": {"average_attn_weights": False}}


def attention(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = nn.MultiheadAttention(WIDTH, HEADS, **options).double().eval()
        if found.in_proj_bias is not None:
            nn.init.normal_(found.in_proj_bias)
            nn.init.normal_(found.out_proj.bias)
    return found


def tokens(count=TOKENS, *, seed=0):
    return torch.randn(BATCH, count, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def hidden(*shape):
    """A mask that leaves every token something to see."""
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.4
    return mask.index_fill(-1, torch.tensor([0]), False)


def added(mask):
    return torch.zeros(mask.shape, dtype=torch.float64).masked_fill(mask, -2.0)


MASKS = {
    "no mask": {},
    "hidden pairs": {"attn_mask": hidden(TOKENS, KEYS)},
    "pairs of every head": {"attn_mask": hidden(BATCH * HEADS, TOKENS, KEYS)},
    "added scores": {"attn_mask": added(hidden(TOKENS, KEYS))},
    "hidden keys": {"key_padding_mask": hidden(BATCH, KEYS)},
    "both": {"attn_mask": hidden(TOKENS, KEYS), "key_padding_mask": hidden(BATCH, KEYS)},
    "both added": {"attn_mask": added(hidden(TOKENS, KEYS)), "key_padding_mask": added(hidden(BATCH, KEYS))},
}


@torch.no_grad()
def compared(dense, *inputs, **options):
    expected, found = dense(*inputs, **options), SlimAttention.equal(dense)(*inputs, **options)
    assert (expected[1] is None) == (found[1] is None)
    for one, other in zip(expected, found, strict=True):
        if one is not None:
            torch.testing.assert_close(other, one, rtol=0, atol=1e-13)


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("batch_first", [True, False])
def test_it_is_equal_on_three_inputs(masks, weights, batch_first):
    inputs = [tokens(), tokens(KEYS, seed=1), tokens(KEYS, seed=2)]
    inputs = inputs if batch_first else [x.transpose(0, 1) for x in inputs]
    compared(attention(batch_first=batch_first), *inputs, **MASKS[masks], **WEIGHTS[weights])


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_equal_on_one_input(batch_first, weights, bias):
    x = tokens()
    compared(attention(batch_first=batch_first, bias=bias), x, x, x, **WEIGHTS[weights])


@pytest.mark.parametrize("weights", WEIGHTS)
def test_it_is_equal_without_a_batch(weights):
    x, mask = tokens()[0], hidden(TOKENS)
    compared(attention(), x, x, x, key_padding_mask=mask, **WEIGHTS[weights])


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_hint_that_a_mask_is_causal_changes_nothing(weights):
    x, mask = tokens(), nn.Transformer.generate_square_subsequent_mask(TOKENS, dtype=torch.float64)
    compared(attention(batch_first=True), x, x, x, attn_mask=mask, is_causal=True, **WEIGHTS[weights])


def test_the_hint_alone_is_refused():
    x = tokens()
    with pytest.raises(ValueError, match="is_causal needs attn_mask"):
        SlimAttention.equal(attention())(x, x, x, is_causal=True)


def test_in_training_it_drops_weights():
    dense, x = attention(dropout=0.5, batch_first=True).train(), tokens()
    slim = SlimAttention.equal(dense)
    assert slim.training
    assert bool((slim(x, x, x)[1] == 0).any())
    assert not bool((slim.eval()(x, x, x)[1] == 0).any())


def test_it_shares_the_tensors_of_what_it_replaces():
    dense = attention()
    assert dict(SlimAttention.equal(dense).named_parameters()) == dict(dense.named_parameters())


def test_it_may_have_other_widths():
    slim = SlimAttention(attention(batch_first=True), **WIDTHS)
    nn.init.normal_(slim.in_proj_weight)
    x = tokens()[..., :8]
    assert slim(x, x, x)[0].shape == (BATCH, TOKENS, 5)
    assert {name: getattr(slim, name) for name in WIDTHS} == WIDTHS


@pytest.mark.parametrize("widths", [{"query_width": 7}, {"value_width": 10}])
def test_every_head_is_of_one_width(widths):
    with pytest.raises(TypeError, match="3 heads cannot share"):
        SlimAttention(attention(), **WIDTHS | widths)


def test_an_encoder_layer_leaves_its_fast_path(monkeypatch):
    layer, x = nn.TransformerEncoderLayer(WIDTH, 4, 16, batch_first=True).double().eval(), tokens()
    with torch.no_grad():
        expected = layer(x)
        layer.self_attn = SlimAttention.equal(layer.self_attn)  # type: ignore[assignment]
        monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", lambda *_: pytest.fail("taken"))
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-13)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_an_encoder_may_make_nested_tensors_of_padded_tokens():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 4, 16, batch_first=True), 2).double().eval()
    x, late = tokens(), torch.arange(TOKENS) >= torch.tensor([[TOKENS], [3]])
    with torch.no_grad():
        expected = encoder(x, src_key_padding_mask=late)
        for layer in encoder.layers:
            layer.self_attn = SlimAttention.equal(layer.self_attn)
        torch.testing.assert_close(encoder(x, src_key_padding_mask=late), expected, rtol=0, atol=1e-13)
