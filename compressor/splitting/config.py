"""What is penalised, how strongly and by which method: the options of the same names, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from compressor.alignment import Alignment
from compressor.errors import UnknownName, UsageError
from compressor.methods import TRIALS, Method, method
from compressor.penalties import GROUP_PENALTIES, group_penalty, penalty
from compressor.records.run import TargetKind
from compressor.saliency import DEFAULT, SALIENCIES
from compressor.splitting.targets import Target

Arguments = Mapping[str, float | str]

# The penalty on single weights of a target of zeros, when none is named.
PENALTY_OF_ZEROS = "l1-l2"
# Weights are numbers of 32 bits, which end at 3.4e38.
LARGEST = 1e30
# What asks for fewer channels.
TARGETS = "--target-macs, --target-params, --target-latency or --target-size"
# The group penalty of method budget: an l0 that the selected channels do not carry.
BUDGETED = "l0"


@dataclass(frozen=True, kw_only=True)
class SplittingConfig:
    """Options left None take the method's own value (`compressor.methods.METHODS`).

    In method budget ``strength`` and ``beta`` are per training: ``strength``, the lambda of the penalty on single
    weights, is how far l1 draws a weight until half time, in units of its layer's RMS at the start; ``beta`` is
    (start, end) of its growth until the gap is closed. In the papers' methods both are absolute and per learning rate,
    and ``beta`` does not grow but by ``growth``, (sigma, epochs). ``group_strength`` is the lambda of a group penalty
    on W by subgradient. ``layers`` are patterns (`fnmatch`) of the layers (slimming: norms) penalised, all by default.
    ``target_macs``, ``target_params`` and ``target_latency`` ask for at most a share of the dense network in (0, 1],
    ``target_size`` for at most so many bytes of the exported file, or of it ``compressed``; all that are given are met.
    ``target_zeros`` asks for a share of zeros in (0, 1) among the convolution and linear weights of the removed
    network, to which lambda then follows. With ``keep_blocks`` a target drops no residual block as a whole.
    ``saliency`` (`compressor.saliency.SALIENCIES`) says which channels a target keeps; how they are spread over the
    layers, the best of so many ``trials``, which the stages make (`compressor.stages`), where there are any.

    Raises `UsageError` or `UnknownName` for a value that is not allowed, or has no meaning in the method.
    """

    method: str = "budget"
    penalty: str | None = None
    penalty_args: Arguments = field(default_factory=dict)
    strength: float | None = None
    group_penalty: str | None = None
    group_penalty_args: Arguments = field(default_factory=dict)
    group_strength: float | None = None
    target_macs: float | None = None
    target_params: float | None = None
    target_latency: float | None = None
    target_size: float | None = None
    compressed: bool = False
    target_zeros: float | None = None
    beta: tuple[float, float] | None = None
    growth: tuple[float, int] | None = None
    align: str | int = "auto"
    keep_blocks: bool = False
    saliency: str | None = None
    trials: int | None = None
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = self.described
        # Resolved here once, so that what is recorded says what was done.
        self._default("penalty", known.penalty if self.target_zeros is None else PENALTY_OF_ZEROS)
        self._default("beta", known.beta)
        self._default("growth", known.growth)
        if self.targets or not known.target:
            self._default("group_penalty", known.group_penalty)
        if self.targets:
            self._default("saliency", DEFAULT)
            self._default("trials", TRIALS)
        needs_strength = self.target_zeros is None and (
            self.splits_entries or known.split_rows is not None or known.lasso_rows is not None
        )
        self._default("strength", known.strength if needs_strength else 0.0)
        if known.lasso_rows is not None and self.groups_name != "none":
            self._default("group_strength", self.strength if known.group_strength is None else known.group_strength)
        self._check_values()
        self._check_meaning(known)
        if known.scales:
            self._check_scales(known)
        self._check_group_penalty(known)

    @property
    def described(self) -> Method:
        """The method's description."""
        return method(self.method)

    @property
    def targets(self) -> tuple[Target, ...]:
        """What the removed network may cost at most, in each way that was asked for."""
        asked: dict[TargetKind, float | None] = {
            "macs": self.target_macs,
            "params": self.target_params,
            "latency": self.target_latency,
        }
        shares = tuple(Target(kind, share) for kind, share in asked.items() if share is not None)
        return shares if self.target_size is None else (*shares, Target("size", self.target_size, self.compressed))

    @property
    def any(self) -> bool:
        """Whether anything is penalised at all."""
        return self.splits_entries or self.groups_name != "none"

    @property
    def splits_entries(self) -> bool:
        """Whether single weights are penalised."""
        return self.penalty_name != "none"

    @property
    def penalty_name(self) -> str:
        """The penalty on single weights, or none."""
        return self.penalty or "none"

    @property
    def groups_name(self) -> str:
        """The penalty on groups, or none."""
        return self.group_penalty or "none"

    @property
    def beta_range(self) -> tuple[float, float]:
        """beta at the start and, before the gap is closed, at the end."""
        return self.beta or self.described.beta

    def to_plain(self) -> dict[str, object]:
        """The options as plain data, tuples as lists."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        return plain | {"penalty_args": dict(self.penalty_args), "group_penalty_args": dict(self.group_penalty_args)}

    def _default(self, name: str, value: object) -> None:
        if getattr(self, name) is None:
            object.__setattr__(self, name, value)

    def _check_values(self) -> None:
        for option, value in (("strength", self.strength), ("group-strength", self.group_strength)):
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"--{option} must be a finite number of at least 0, got {value:g}")
            if value is not None and value >= LARGEST:
                raise UsageError(f"--{option} must be below {LARGEST:g}, got {value:g}")
        self._check_beta()
        if self.target_zeros is not None and not 0 < self.target_zeros < 1:
            raise UsageError(f"--target-zeros must lie between 0 and 1, got {self.target_zeros:g}")
        # Which widths a processor rewards is decided where the training begins.
        object.__setattr__(self, "align", str(Alignment.parse(self.align)))
        self._check_targets()
        self._check_arguments()

    def _check_targets(self) -> None:
        if self.keep_blocks and not self.targets:
            raise UsageError(f"--keep-blocks needs a target ({TARGETS}), which alone drops whole blocks")
        if self.saliency is not None:
            if self.saliency not in SALIENCIES:
                raise UnknownName("saliency", self.saliency, SALIENCIES)
            if not self.targets:
                raise UsageError(f"--saliency needs a target ({TARGETS}), whose channels it chooses")
        if self.trials is not None:
            if self.trials < 0:
                raise UsageError(f"--trials must be at least 0, got {self.trials}")
            if not self.targets:
                raise UsageError(f"--trials needs a target ({TARGETS}), whose channels are spread over the layers")
        if self.compressed and self.target_size is None:
            raise UsageError("--compressed needs a --target-size, which it is about")

    def _check_arguments(self) -> None:
        if self.splits_entries:
            penalty(self.penalty_name, **self.penalty_args)
        elif self.penalty_args:
            raise UsageError(f"--penalty-arg {next(iter(self.penalty_args))} needs a --penalty; there is none")
        if self.groups_name != "none":
            group_penalty(self.groups_name, **self.group_penalty_args)
        elif self.group_penalty_args:
            raise UsageError(
                f"--group-penalty-arg {next(iter(self.group_penalty_args))} needs a --group-penalty; there is none"
            )

    def _check_beta(self) -> None:
        start, end = self.beta_range
        if not 0 < start <= end < math.inf:
            raise UsageError(f"--beta must be positive, finite and not fall, got {start:g}:{end:g}; for example 1:1000")
        if end >= LARGEST:
            raise UsageError(f"--beta must be below {LARGEST:g}, got {start:g}:{end:g}; for example 1:1000")
        if self.growth is not None and not (1 <= self.growth[0] < math.inf and self.growth[1] >= 1):
            raise UsageError(
                "--growth must be a finite factor of at least 1 and at least 1 epoch, got "
                f"{self.growth[0]:g}:{self.growth[1]}; for example 1.25:40"
            )

    def _check_meaning(self, known: Method) -> None:
        name, start, end = self.method, *self.beta_range
        if known.target:
            self._check_budget()
        else:
            if self.targets or self.target_zeros is not None:
                raise UsageError(f"--method {name} has no target; use --method budget, or leave the target out")
            if start != end:
                raise UsageError(f"--method {name} takes one --beta, got {start:g}:{end:g}")
        if known.lasso_rows is not None and self.groups_name == "none" and self.group_strength is not None:
            raise UsageError("--group-strength needs a --group-penalty; there is none")
        if known.growth is not None and not self.splits_entries:
            for option, given, own in (("beta", self.beta, known.beta), ("growth", self.growth, known.growth)):
                if given != own:
                    raise UsageError(f"--{option} needs a --penalty; without one there is no V in --method {name}")
        if known.lasso_rows is None and self.group_strength is not None:
            raise UsageError(f"--group-strength means nothing in --method {name}; it belongs to methods paper and rgsm")
        if known.growth is None and self.growth is not None:
            raise UsageError(f"--growth means nothing in --method {name}; it belongs to --method paper")

    def _check_budget(self) -> None:
        zeros, groups = self.target_zeros, self.groups_name
        if not self.splits_entries and zeros is not None:
            raise UsageError(f"--target-zeros {zeros:g} needs a --penalty, got none")
        if self.strength and zeros is not None:
            raise UsageError(f"--strength {self.strength:g} means nothing with --target-zeros, to which lambda follows")
        if not self.splits_entries and self.strength:
            raise UsageError(f"--strength {self.strength:g} needs a --penalty; 'none' penalises no single weight")
        if groups not in {"none", BUDGETED}:
            raise UsageError(
                f"--method budget has one group penalty, the trimmed {BUDGETED}: any other would select the same; "
                f"{groups} belongs to methods paper and rgsm"
            )
        if groups != "none" and not self.targets:
            raise UsageError(f"--group-penalty {groups} needs a target: {TARGETS}")

    def _check_scales(self, known: Method) -> None:
        only = f"--method {self.method} has one penalty, {known.penalty} on the scales of BatchNorm"
        got = f"--penalty {self.penalty_name}" if self.groups_name == "none" else f"--group-penalty {self.groups_name}"
        if got != f"--penalty {known.penalty}":
            raise UsageError(f"{only}, got {got}")

    def _check_group_penalty(self, known: Method) -> None:
        name = self.groups_name
        if known.split_rows is not None and self.splits_entries:
            raise UsageError(f"--method {self.method} penalises groups; use --group-penalty, not --penalty")
        if known.group_penalty is None and name != "none":
            raise UsageError(f"--method {self.method} penalises single weights; use --penalty, not --group-penalty")
        by_subgradient = known.lasso_rows is not None and known.split_rows is None
        if name == "none":
            self._check_no_group_penalty(known)
        elif by_subgradient and not hasattr(group_penalty(name), "subgradient"):
            raise UsageError(
                f"--method {self.method} adds the group penalty to the gradient; "
                f"choose {_group_penalties_with('subgradient')} or none, not {name}"
            )
        elif not by_subgradient and not hasattr(group_penalty(name), "prox"):
            raise UsageError(
                f"--method {self.method} needs a group penalty with a prox; "
                f"choose {_group_penalties_with('prox')}, not {name}"
            )

    def _check_no_group_penalty(self, known: Method) -> None:
        if self.targets:
            raise UsageError(f"--target-{self.targets[0].kind} needs a --group-penalty, got none")
        if known.split_rows is not None:
            raise UsageError(f"--method {self.method} needs a --group-penalty, got none")
        if not known.target and not self.any:
            needed = "a --penalty" if known.group_penalty is None else "a --penalty or a --group-penalty"
            raise UsageError(f"--method {self.method} needs {needed}, got none")


def _group_penalties_with(prox: str) -> str:
    return ", ".join(name for name in sorted(GROUP_PENALTIES) if hasattr(group_penalty(name), prox))
