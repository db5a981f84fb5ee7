from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from compressor.errors import UnknownName, UsageError
from compressor.methods import METHODS, method
from compressor.penalties import GROUP_PENALTIES, PENALTIES, group_penalty
from compressor.splitting import SplittingConfig, build_splitting

# Some of these project without a training.
pytestmark = pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")

NAN, INF = float("nan"), float("inf")
MACS = {"target_macs": 0.5}
TABLE = {name: {"method": name} for name in METHODS}
PAPER, RVSM, RGSM, SLIMMING = (TABLE[name] for name in ("paper", "rvsm", "rgsm", "slimming"))


def told(**options):
    """What is said about options that are not allowed."""
    with pytest.raises(UsageError) as caught:
        SplittingConfig(**options)
    return str(caught.value)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("value", [-0.1, NAN, INF])
def test_a_strength_must_be_a_number_of_at_least_0(name, value):
    options = RGSM if name == "rgsm" else {"method": name, "penalty": "l1"}
    assert told(**options, strength=value) == f"--strength must be a finite number of at least 0, got {value:g}"


@pytest.mark.parametrize("options", [PAPER, RGSM])
@pytest.mark.parametrize("value", [-0.1, NAN, INF])
def test_a_group_strength_must_be_a_number_of_at_least_0(options, value):
    message = f"--group-strength must be a finite number of at least 0, got {value:g}"
    assert told(**options, group_strength=value) == message


@pytest.mark.parametrize(
    ("name", "argument", "allowed"),
    [
        ("l1-l2", {"alpha": -0.1}, "alpha of l1-l2 must be in [0, 1], got -0.1"),
        ("l1-l2", {"alpha": "1.5"}, "alpha of l1-l2 must be in [0, 1], got 1.5"),
        ("l1-l2", {"over": "layer"}, "over of l1-l2 must be tensor or channel, got layer"),
        ("transformed-l1", {"a": 0}, "a of transformed-l1 must be positive and below 1e30, got 0.0"),
        ("transformed-l1", {"a": -1}, "a of transformed-l1 must be positive and below 1e30, got -1.0"),
        ("scad", {"a": 2}, "a of scad must be above 2 and below 1e30, got 2.0"),
        ("mcp", {"a": 1}, "a of mcp must be above 1 and below 1e30, got 1.0"),
        ("mcp", {"a": "three"}, "a of mcp must be a number, got 'three'"),
        ("lp", {"p": "1/3"}, f"p of lp must be 1/2 or 2/3, got {1 / 3}"),
        ("l1", {"a": 1}, "penalty 'l1' has no option 'a'; it takes none"),
        ("scad", {"b": 1}, "penalty 'scad' has no option 'b'; it takes a"),
    ],
)
def test_a_parameter_outside_its_domain_is_refused(name, argument, allowed):
    assert told(penalty=name, penalty_args=argument) == allowed


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({**RGSM, "group_penalty": "scad", "group_penalty_args": {"a": 2}}, "a of scad must be above 2 and below 1e30"),
        ({**MACS, "group_penalty_args": {"a": 2}}, "group penalty 'l0' has no option 'a'; it takes none"),
        ({**PAPER, "group_penalty": "cges", "group_penalty_args": {"mu": 2}}, "mu of cges must be in [0, 1], got 2.0"),
    ],
)
def test_a_parameter_of_a_group_penalty_outside_its_domain_is_refused(options, allowed):
    assert told(**options).startswith(allowed)


@pytest.mark.parametrize("beta", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (NAN, 1.0), (1.0, INF)])
def test_beta_is_positive_and_does_not_fall(beta):
    found = "{:g}:{:g}".format(*beta)
    message = f"--beta must be positive, finite and not fall, got {found}; for example 1:1000"
    assert told(penalty="l1", beta=beta) == message


@pytest.mark.parametrize("growth", [(0.5, 40), (NAN, 40), (INF, 40), (1.25, 0), (1.25, -3)])
def test_beta_of_method_paper_grows(growth):
    message = f"--growth must be a finite factor of at least 1 and at least 1 epoch, got {growth[0]:g}:{growth[1]}"
    assert told(**PAPER, growth=growth) == f"{message}; for example 1.25:40"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "papers"},
            "no method is called 'papers'. Did you mean 'paper'? Known: budget, paper, rgsm, rvsm, slimming.",
        ),
        ({"penalty": "scda"}, f"no penalty is called 'scda'. Did you mean 'scad'? Known: {', '.join(PENALTIES)}."),
        (
            {**RGSM, "group_penalty": "laso"},
            f"no group penalty is called 'laso'. Did you mean 'lasso'? Known: {', '.join(sorted(GROUP_PENALTIES))}.",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_and_all(options, message):
    with pytest.raises(UnknownName) as caught:
        SplittingConfig(**options)
    assert str(caught.value) == message


WITH_PROX = "l0, lasso, lp, mcp, scad, transformed-l1"
WITHOUT_MEANING = {
    "--strength 0.3 needs a --penalty; 'none' penalises no single weight": {"strength": 0.3},
    "--target-macs needs a --group-penalty, got none": {**MACS, "group_penalty": "none"},
    "--target-params needs a --group-penalty, got none": {"target_params": 0.5, "group_penalty": "none"},
    "--penalty-arg a needs a --penalty; there is none": {**MACS, "penalty_args": {"a": 3}},
    "--group-penalty-arg a needs a --group-penalty; there is none": {"penalty": "l1", "group_penalty_args": {"a": 3}},
    "--group-strength means nothing in --method budget; it belongs to methods paper and rgsm": {"group_strength": 1.0},
    "--growth means nothing in --method budget; it belongs to --method paper": {"growth": (1.25, 40)},
    "--method budget has one group penalty, the trimmed l0: any other would select the same; "
    "cges belongs to methods paper and rgsm": {**MACS, "group_penalty": "cges"},
    "--method budget has one group penalty, the trimmed l0: any other would select the same; "
    "lasso belongs to methods paper and rgsm": {"group_penalty": "lasso"},
    "--group-penalty l0 needs a target: --target-macs, --target-params, --target-latency or --target-size": {
        "group_penalty": "l0"
    },
    "--target-zeros 0.5 needs a --penalty, got none": {"target_zeros": 0.5, "penalty": "none"},
    "--target-zeros must lie between 0 and 1, got 1": {"target_zeros": 1.0},
    "--target-zeros must lie between 0 and 1, got 0": {"target_zeros": 0.0},
    "--target-zeros must lie between 0 and 1, got nan": {"target_zeros": NAN},
    "--strength 0.3 means nothing with --target-zeros, to which lambda follows": {
        "target_zeros": 0.5, "strength": 0.3,
    },
    "--method rvsm has no target; use --method budget, or leave the target out ": {**RVSM, "target_zeros": 0.5},
    "--method paper has no target; use --method budget, or leave the target out": {**PAPER, **MACS},
    "--method paper takes one --beta, got 1:10": {**PAPER, "beta": (1.0, 10.0)},
    "--method paper needs a --penalty or a --group-penalty, got none": {**PAPER, "group_penalty": "none"},
    "--method paper adds the group penalty to the gradient; choose cges, lasso or none, not mcp": {
        **PAPER, "group_penalty": "mcp",
    },
    "--method rvsm has no target; use --method budget, or leave the target out": {**RVSM, "target_params": 0.5},
    "--method rvsm penalises single weights; use --penalty, not --group-penalty": {**RVSM, "group_penalty": "l0"},
    "--method rvsm needs a --penalty, got none": {**RVSM, "penalty": "none"},
    "--group-strength means nothing in --method rvsm; it belongs to methods paper and rgsm": {
        **RVSM, "group_strength": 1.0,
    },
    "--growth means nothing in --method rvsm; it belongs to --method paper": {**RVSM, "growth": (1.25, 40)},
    "--method slimming has no target; use --method budget, or leave the target out": {**SLIMMING, **MACS},
    "--method slimming has one penalty, l1 on the scales of BatchNorm, got --penalty mcp": {
        **SLIMMING, "penalty": "mcp",
    },
    "--method slimming has one penalty, l1 on the scales of BatchNorm, got --penalty none": {
        **SLIMMING, "penalty": "none",
    },
    "--method slimming has one penalty, l1 on the scales of BatchNorm, got --group-penalty lasso": {
        **SLIMMING, "group_penalty": "lasso",
    },
    "--method slimming takes one --beta, got 1:10": {**SLIMMING, "beta": (1.0, 10.0)},
    "--group-strength means nothing in --method slimming; it belongs to methods paper and rgsm": {
        **SLIMMING, "group_strength": 1.0,
    },
    "--growth means nothing in --method slimming; it belongs to --method paper": {**SLIMMING, "growth": (1.25, 40)},
    "--saliency needs a target (--target-macs, --target-params, --target-latency or --target-size), whose channels it "
    "chooses": {**SLIMMING, "saliency": "taylor"},
    "--keep-blocks needs a target (--target-macs, --target-params, --target-latency or --target-size), which alone "
    "drops whole blocks": {**SLIMMING, "keep_blocks": True},
    "--method rgsm penalises groups; use --group-penalty, not --penalty": {**RGSM, "penalty": "l1"},
    "--method rgsm needs a --group-penalty, got none": {**RGSM, "group_penalty": "none"},
    f"--method rgsm needs a group penalty with a prox; choose {WITH_PROX}, not cges": {**RGSM, "group_penalty": "cges"},
    "--growth means nothing in --method rgsm; it belongs to --method paper": {**RGSM, "growth": (1.25, 40)},
}  # fmt: skip


@pytest.mark.parametrize("message", WITHOUT_MEANING)
def test_what_has_no_meaning_in_a_method_is_refused(message):
    assert told(**WITHOUT_MEANING[message]) == message.strip()


@pytest.mark.parametrize("options", [PAPER, RVSM, RGSM], ids=lambda options: options["method"])
@pytest.mark.parametrize("steps", [None, 0])
def test_the_papers_methods_must_know_the_length_of_an_epoch(options, steps):
    with pytest.raises(UsageError, match=f"^method {options['method']} needs epoch_steps, at least 1, got {steps}$"):
        splitting(**options, epoch_steps=steps, samples=1)


@pytest.mark.parametrize("samples", [None, 0])
def test_method_paper_must_know_the_number_of_samples(samples):
    with pytest.raises(UsageError, match=f"^method paper needs samples, at least 1, got {samples}$"):
        splitting(**PAPER, epoch_steps=1, samples=samples)


@pytest.mark.parametrize("options", [{"penalty": "l1"}, MACS], ids=["penalty", "target"])
def test_method_budget_needs_neither(options):
    assert splitting(**options).config.method == "budget"


def splitting(epoch_steps=1, samples=1, **options):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    lengths = {"total_steps": 1, "epoch_steps": epoch_steps, "samples": samples}
    return build_splitting(model, torch.zeros(2, 3, 8, 8), SplittingConfig(**options), **lengths)


@pytest.mark.parametrize("layers", [("fc",), ("0", "conv*")])
def test_a_pattern_that_no_layer_matches_is_refused_with_their_names(layers):
    with pytest.raises(UnknownName) as caught:
        splitting(penalty="l1", layers=layers)
    assert str(caught.value) == f"no trainable convolution or linear layer is called {layers[-1]!r}. Known: 0, 3."


@pytest.mark.parametrize(("layers", "expected"), [((), 216 + 1152), (("0",), 216), (("[1-9]",), 1152), (("*",), 1368)])
def test_patterns_choose_layers(layers, expected):
    assert splitting(penalty="l0", strength=1e6, layers=layers).mask() == expected


@pytest.mark.parametrize("known", METHODS.values(), ids=list(METHODS))
def test_a_method_says_in_one_line_what_it_is(known):
    assert known.about
    assert "\n" not in known.about


@pytest.mark.parametrize("name", METHODS)
def test_what_is_not_given_is_resolved_once(name):
    known, found = method(name), SplittingConfig(**TABLE[name])
    assert (found.penalty, found.beta, found.growth) == (known.penalty, known.beta, known.growth)
    assert None not in (found.penalty, found.strength, found.beta)
    assert SplittingConfig(**vars(found)) == found


@pytest.mark.parametrize("name", GROUP_PENALTIES)
def test_every_group_penalty_can_be_used_by_some_method(name):
    paper = hasattr(group_penalty(name), "subgradient")
    grouped = hasattr(group_penalty(name), "prox")
    for allowed, options in ((paper, PAPER), (grouped, RGSM)):
        if allowed:
            assert SplittingConfig(**options, group_penalty=name).groups_name == name
    assert paper or grouped


def test_every_field_is_an_option_of_the_command_line(compress):
    shown = compress("fine-tune", "--help").stdout
    for name in inspect.signature(SplittingConfig).parameters:
        assert f"--{name.replace('_', '-').replace('args', 'arg')}" in shown
