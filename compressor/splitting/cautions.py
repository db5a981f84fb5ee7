"""What a projection says when it changes the outputs, or missed what was asked."""

from __future__ import annotations

from collections.abc import Iterator

# A larger gap can be seen in the outputs.
GAP_LIMIT = 1e-3
# How far from its target a share of zeros may end without a word.
ZEROS_LIMIT = 0.01


def of_gap(gap: float, step: int, total_steps: int) -> Iterator[str]:
    """Why outputs will change, after so many steps of all."""
    if step < total_steps:
        yield f"the splitting was stopped after {step} of {total_steps} steps"
    if not gap <= GAP_LIMIT:
        yield (
            f"projection changes the outputs: a gap of {gap:.1e} of the weights' norm is left; "
            f"above {GAP_LIMIT:g} it shows"
        )


def of_zeros(zeros: float | None, asked: float | None) -> Iterator[str]:
    """That the share of zeros is another than that which was asked for, where one was."""
    if asked is not None and zeros is not None and abs(zeros - asked) > ZEROS_LIMIT:
        yield f"{zeros:.1%} of the remaining weights are zero, {asked:.1%} was asked: each channel keeps its largest"
