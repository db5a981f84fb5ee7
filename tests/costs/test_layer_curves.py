"""Times of layers between the widths that were measured."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.costs.curves import Curve, grid

WIDTHS = (4, 8, 16, 32, 64)
TIMES = np.array([[float(i * o + o) for o in WIDTHS] for i in WIDTHS])
CURVE = Curve(WIDTHS, WIDTHS, TIMES, 16)


def at(inputs, outputs):
    return float(CURVE.at(np.array(float(inputs)), np.array(float(outputs))))


@pytest.mark.parametrize("inputs", WIDTHS)
@pytest.mark.parametrize("outputs", WIDTHS)
def test_a_measured_width_costs_what_was_measured(inputs, outputs):
    assert at(inputs, outputs) == inputs * outputs + outputs


def test_a_width_inside_of_a_block_costs_the_whole_block():
    assert at(16, 17) == at(16, 20) == at(16, 32)
    assert at(9, 16) == at(16, 16)


def test_whole_blocks_between_measured_ones_lie_on_a_line():
    assert at(32, 48) == pytest.approx((at(32, 32) + at(32, 64)) / 2)
    assert at(48, 48) == pytest.approx(sum(at(i, o) for i in (32, 64) for o in (32, 64)) / 4)


def test_without_channels_there_is_no_layer():
    assert at(0, 16) == at(16, 0) == 0


def test_above_the_widest_nothing_is_made_up():
    assert at(64, 200) == at(64, 64)


def test_arrays_give_what_their_entries_give():
    inputs, outputs = np.meshgrid([4.0, 20.0, 64.0], [8.0, 30.0, 0.0], indexing="ij")
    each = [[at(i, o) for i, o in zip(row, column, strict=True)] for row, column in zip(inputs, outputs, strict=True)]
    assert np.array_equal(CURVE.at(inputs, outputs), np.array(each))


def test_a_depthwise_layer_has_one_row():
    curve = Curve(WIDTHS, WIDTHS, TIMES[:1], 16)
    assert float(curve.at(np.array(1.0), np.array(32.0))) == TIMES[0, 3]


def test_the_bilinear_fit_is_exact_for_what_is_bilinear():
    assert CURVE.bilinear() == pytest.approx((0, 0, 1, 1), abs=1e-9)


@pytest.mark.parametrize(
    ("width", "block", "expected"),
    [
        (10, 16, (4, 8, 10)),
        (16, 16, (4, 8, 16)),
        (64, 16, (8, 16, 32, 48, 64)),
        (64, 8, (8, 16, 24, 32, 64)),
        (512, 16, (8, 16, 32, 48, 64, 128, 256, 384, 512)),
        (1, 8, (1,)),
    ],
)
def test_the_grid_has_the_steps_of_narrow_layers_and_some_wide_ones(width, block, expected):
    assert set(expected) <= set(grid(width, block))
    assert grid(width, block)[-1] == width
    assert grid(width, block) == tuple(sorted(set(grid(width, block))))
