"""Every wrong input is one line that says what was wrong, the right exit code, and nothing written."""

import importlib
import os
import pkgutil
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
import torch

import compressor
from compressor.cli import COMMANDS
from compressor.cli import compress as group
from compressor.cli.parsing import Parsed
from compressor.errors import CompressorError
from compressor.sources import Architecture


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


def snapshot():
    return {path: path.stat().st_mtime_ns for path in Path().rglob("*")}


@pytest.fixture
def files(tiny):
    """Everything that can be wrong with a file, in the current folder."""
    content = tiny.checkpoint.read_bytes()
    Path("empty.pt").touch()
    Path("cut.pt").write_bytes(content[: len(content) // 2])
    torch.save({"model": Attack()}, "code.pt")
    torch.save(Architecture("lenet5").build().state_dict(), "lenet.pt")
    torch.save({"a.weight": torch.zeros(3, 3)}, "odd.pt")
    Path("folder").mkdir()
    Path("folder.pt").mkdir()
    Path("blank.txt").touch()
    Path("list.json").write_text("[1]")
    Path("text.json").write_text("no json")
    Path("text.onnx").write_text("no onnx")
    Path("latin.txt").write_bytes(b"caf\xe9\n")
    images = np.zeros((40, 3, 8, 8), np.uint8)
    np.savez("colour.npz", x=images, y=np.arange(40) % 4)
    np.savez("many.npz", x=images[:, 0], y=np.arange(40) % 5)


FILES = {
    "evaluate nope.pt": (1, "nope.pt does not exist"),
    "evaluate nope": (2, "no file or embedded model is called 'nope'"),
    "evaluate digits_lenett": (2, "Did you mean 'digits_lenet'?"),
    "evaluate folder": (1, "folder is a folder; a checkpoint file is needed"),
    "evaluate empty.pt": (1, "empty.pt is empty"),
    "evaluate cut.pt": (1, "cut.pt is not a complete PyTorch checkpoint"),
    "evaluate code.pt": (1, "code.pt is refused"),
    "evaluate text.onnx": (1, "text.onnx is not an ONNX model; it cannot be read: "),
    "evaluate nope.onnx": (1, "nope.onnx is missing"),
    "inspect torchvision:resnet18": (2, "pass --arch torchvision:resnet18"),
    "inspect resnet20": (2, "pass --arch resnet20"),
    "evaluate {checkpoint} --trust-arch --data a.npz": (2, "write --data npz:a.npz"),
    "evaluate {checkpoint} --trust-arch --data photos.zip": (2, "write --data folder:photos.zip"),
    "evaluate lenet.pt": (2, "pass --arch (its tensors fit --arch lenet5)"),
    "evaluate odd.pt": (2, "pass --arch (for example --arch torchvision:resnet18)"),
    "evaluate odd.pt --arch lenet5": (1, "missing (8)"),
    "evaluate lenet.pt --arch {arch}": (1, "unexpected (8): conv1.bias, conv1.weight"),
    "evaluate lenet.pt --arch resnet19": (2, "Did you mean 'resnet110'?|Known: lenet5, resnet110, resnet20"),
    "evaluate {checkpoint}": (2, "pass --arch {arch} or --trust-arch"),
    "evaluate lenet.pt --arch lenet5": (2, "pass --data"),
    "evaluate {aaaa}": (1, "File name too long"),
    "benchmark nope.onnx": (2, "nope.onnx does not exist"),
    "benchmark text.onnx": (1, "text.onnx"),
    "compare list.json list.json": (1, "list.json is not a run or benchmark document of this tool"),
    "compare text.json list.json": (1, "text.json is not JSON"),
    "compare nope.json list.json": (1, "nope.json"),
}
SAMPLES = {
    "--data digit": (2, "no data set is called 'digit'. Did you mean 'digits'?"),
    "--data folder:folder": (1, "folder"),
    "--data folder:nope": (1, "nope"),
    "--data npz:nope.npz": (1, "there is no file nope.npz"),
    "--data npz:blank.txt": (1, "blank.txt is not an npz file of plain arrays"),
    "--data npz:colour.npz": (1, "holds images of 3x8x8, the network wants 1x8x8"),
    "--data npz:many.npz": (1, "tells 4 classes apart, npz:many.npz has 5"),
    "--val-fraction 2": (2, "between 0 and 0.5, got 2"),
    "--split-seed -1": (2, "0 or more, got -1"),
    "--max-train 0": (2, "at least 1, got 0"),
    "--data-workers -1": (2, "0 or more, got -1"),
    "--data-workers x": (2, "'x' is not a valid integer"),
    "--input-shape 3x8x8": (1, "3x8x8"),
    "--input-shape 8": (1, "channels x height x width"),
    "--input-shape axb": (2, "'axb' is not a shape"),
    "--normalize mean": (2, "normalization must be imagenet, cifar10, none, or MEAN/STD"),
    "--classes nope.txt": (2, "--classes nope.txt cannot be read"),
    "--classes blank.txt": (2, "--classes blank.txt is empty"),
    "--classes latin.txt": (2, "--classes latin.txt cannot be read"),
    "--arch-arg width": (2, "--arch-arg 'width' is not a pair; write name=value"),
    "--arch-arg depth=3": (2, "it takes width, classes"),
    "--arch-arg width=8": (1, "wrong shape"),
}
TRAINING = {
    "--devices 0": (2, "--devices must be at least 1, got 0"),
    "--devices 5 --device cpu": (2, "--batch-size must be a multiple of the 5 processes that train, got 64"),
    "--devices 1000 --device cpu": (2, "--devices must be at most "),
    "--devices 2 --device cuda:9": (2, "--device cuda:9 is not available"),
    "--num-nodes 0": (2, "--num-nodes must be at least 1, got 0"),
    "--num-nodes 2": (
        2,
        "--num-nodes 2 needs torchrun on every machine: torchrun --nnodes 2 --nproc-per-node 1 --rdzv-",
    ),
    "--strategy ddp": (2, "--strategy ddp needs several processes: --devices, or torchrun"),
    "--strategy fsdp": (2, "--strategy fsdp needs several processes: --devices, or torchrun"),
    "--strategy fsdp --devices 2 --device cpu --compile": (2, "--compile is not there with --strategy fsdp; leave it"),
    "--strategy fsdp --devices 2 --device cpu --precision 16": (
        2,
        "--precision 16 scales the loss, which --strategy f",
    ),
    "--checkpoint-steps 0": (2, "--checkpoint-steps must be at least 1, got 0"),
    "--penalty l1_l2": (2, "Did you mean 'l1-l2'?"),
    "--penalty l1 --strength -1": (2, "--strength must be a finite number of at least 0, got -1"),
    "--penalty l1 --strength nan": (2, "--strength must be a finite number of at least 0, got nan"),
    "--strength 1": (2, "--strength 1 needs a --penalty"),
    "--penalty l1-l2 --penalty-arg alpha=1.5": (2, "alpha of l1-l2 must be in [0, 1], got 1.5"),
    "--penalty transformed-l1 --penalty-arg a=0": (2, "a of transformed-l1 must be positive and below 1e30, got 0"),
    "--penalty scad --penalty-arg a=2": (2, "a of scad must be above 2 and below 1e30, got 2"),
    "--penalty scad --penalty-arg b=3": (2, "penalty 'scad' has no option 'b'; it takes a"),
    "--penalty scad --penalty-arg a": (2, "'a' is not a pair; write name=value, for example alpha=0.5"),
    "--penalty scad --penalty-arg a=x": (2, "a of scad must be a number, got 'x'"),
    "--penalty-arg a=3": (2, "--penalty-arg a needs a --penalty; there is none"),
    "--group-penalty laso": (2, "no group penalty is called 'laso'. Did you mean 'lasso'?"),
    "--group-penalty cges": (
        2,
        "--method budget has one group penalty, the trimmed l0: any other would",
    ),
    "--target-zeros 1": (2, "--target-zeros must lie between 0 and 1, got 1"),
    "--target-zeros 0.5 --strength 1": (2, "--strength 1 means nothing with --target-zeros, to which lambda follows"),
    "--target-zeros 0.5 --penalty none": (2, "--target-zeros 0.5 needs a --penalty, got none"),
    "--group-penalty none --target-macs 0.5": (2, "--target-macs needs a --group-penalty, got none"),
    "--penalty mcp --penalty-arg a=1": (2, "a of mcp must be above 1 and below 1e30, got 1"),
    "--group-strength 1": (
        2,
        "--group-strength means nothing in --method budget; it belongs to methods paper and rgsm",
    ),
    "--growth 1.25:40": (2, "--growth means nothing in --method budget; it belongs to --method paper"),
    "--growth 40": (2, "'40' is not a growth; write FACTOR:EPOCHS, for example 1.25:40"),
    "--method papers": (2, "no method is called 'papers'. Did you mean 'paper'?"),
    "--penalty l1 --layers conv9 --target-macs 0.9": (2, "no trainable convolution or linear layer is called 'conv9'"),
    "--target-macs 0": (2, "0 is not a share in (0, 1]"),
    "--target-macs 1.5": (2, "1.5 is not a share in (0, 1]"),
    "--target-macs -1": (2, "-1 is not a share in (0, 1]"),
    "--target-macs nan": (2, "nan is not a share in (0, 1]"),
    "--target-macs half": (2, "half is not a share in (0, 1]"),
    "--target-params 2": (2, "2 is not a share in (0, 1]"),
    "--target-size none": (2, "'none'"),
    "--target-macs 0.5 --compressed": (2, "--compressed needs a --target-size"),
    "--target-macs 0.5 --costs nope.json": (2, "--costs needs a --target-latency"),
    "--target-macs 0.01": (1, "--target-macs 0.01 asked, 0.074 is the least that can be reached"),
    "--beta x": (2, "'x' is not a beta"),
    "--beta 10:1": (2, "'10:1' is not a beta"),
    "--beta 0:1": (2, "'0:1' is not a beta"),
    "--align 0": (2, "--align must be auto, auto:BLOCK or a number of at least 1, got '0'"),
    "--align x": (2, "--align must be auto, auto:BLOCK or a number of at least 1, got 'x'"),
    "--epochs 0": (2, "--epochs"),
    "--epochs many": (2, "'many' is not a valid integer"),
    "--lr 0": (2, "--lr must be positive, got 0"),
    "--augment flip": (2, "no augmentation is called 'flip'"),
    "--augment none,shift-flip": (2, "takes 'none', or different names with commas in between"),
    "--lr nan": (2, "--lr must be positive, got nan"),
    "--batch-size 1": (2, "--batch-size must be at least 2, got 1"),
    "--optimizer adam": (2, "'adam' is not one of 'sgd', 'adamw'"),
    "--precision 8": (2, "'8' is not one of 'auto', '32', 'bf16', '16'"),
    "--seed -1": (2, "--seed must be 0 or more, got -1"),
    "--device gpu": (2, "--device must be auto, cpu, cuda or cuda:INDEX, got 'gpu'"),
    "--device cuda:99": (2, "--device cuda:99 is not available"),
    "--out blank.txt/in/it.pt": (1, "cannot write blank.txt/in/it"),
    "--nonsense": (2, "No such option '--nonsense'"),
}
PAPERS = {
    "--method paper --target-macs 0.5": (
        2,
        "--method paper has no target; use --method budget, or leave the target out",
    ),
    "--method paper --group-penalty mcp": (2, "adds the group penalty to the gradient; choose cges, lasso or none"),
    "--method paper --group-penalty none": (2, "--method paper needs a --penalty or a --group-penalty, got none"),
    "--method paper --beta 1:10": (2, "--method paper takes one --beta, got 1:10"),
    "--method paper --growth 0.5:40": (
        2,
        "--growth must be a finite factor of at least 1 and at least 1 epoch, got 0.5:40",
    ),
    "--method paper --group-strength -1": (2, "--group-strength must be a finite number of at least 0, got -1"),
    "--method rvsm --group-penalty l0": (2, "--method rvsm penalises single weights; use --penalty"),
    "--method rvsm --penalty none": (2, "--method rvsm needs a --penalty, got none"),
    "--method rvsm --layers conv9": (2, "no trainable convolution or linear layer is called 'conv9'. Known: 0, 3, 8."),
    "--method rgsm --penalty l1": (2, "--method rgsm penalises groups; use --group-penalty, not --penalty"),
    "--method rgsm --layers 8": (2, "--method rgsm penalises convolutions, and none of the trainable layers is one"),
    "--method rgsm --group-penalty cges": (2, "--method rgsm needs a group penalty with a prox; choose l0, lasso, lp"),
    "--method slimming --penalty l0": (2, "--method slimming has one penalty, l1 on the scales of BatchNorm, got"),
    "--method slimming --layers 3": (2, "no trainable BatchNorm is called '3'. Known: 1, 4."),
    "--method slimming --beta 1:10": (2, "--method slimming takes one --beta, got 1:10"),
}
WHOLE_RUN = {
    "--epochs 1": (2, "--epochs of a run is the total and must be at least 2, got 1"),
    "--opset 3": (2, "--opset must lie in 17..23, got 3"),
    "--threads 999": (2, "threads must be at most"),
    "--provider cpuu": (2, "Did you mean 'cpu'?"),
    "--max-seconds 0": (2, "max_seconds must be positive and finite, got 0"),
    "--out .": (2, ". exists and does not hold a run; choose another --out"),
    "--overwrite --out .": (2, ". exists and does not hold a run; choose another --out"),
}
OTHERS = {
    "frobnicate": (2, "no command is called 'frobnicate'. Known: benchmark, compare"),
    "fine-tnue x": (2, "Did you mean 'fine-tune'?"),
    "run": (2, "Missing argument 'MODEL'"),
    "fine-tune": (2, "give a MODEL"),
    "fine-tune x.pt --out x.onnx": (2, "--out x.onnx must end in .pt or .safetensors"),
    "fine-tune x.pt --out folder.pt": (2, "--out folder.pt is a folder"),
    "shrink x.pt --out x": (2, "--out x must end in .pt or .safetensors"),
    "export x.pt --out x.pt": (2, "--out x.pt must end in .onnx"),
    "export x.pt --opset 3": (2, "--opset must lie in 17..23, got 3"),
    "export {checkpoint} --trust-arch --input-shape 3x8x8": (2, "--input-shape"),
    "inspect {checkpoint} --trust-arch --input-shape 3x8x8": (2, "--input-shape"),
    "shrink {checkpoint} --trust-arch --input-shape 3x8x8": (1, "3x8x8"),
    "inspect {checkpoint} --trust-arch --align 0": (2, "--align"),
    "benchmark text.onnx --threads 999": (2, "threads must be at most"),
    "benchmark text.onnx --batch 0": (2, "batches must be distinct and at least 1"),
    "benchmark text.onnx --out x.txt": (2, "--out x.txt must end in .json"),
    "compare list.json list.json --out x.pdf": (2, "--out x.pdf must end in .html or .md"),
}


def check(compress, tiny, line, code, words):
    known = {**vars(tiny), "aaaa": "a" * 300}
    before = snapshot()
    done = compress(*shlex.split(line.format(**known)))
    assert (done.exit_code, done.stdout) == (code, "")
    assert len(done.error) == 1, done.stderr
    assert done.error[0].startswith("Error: ")
    assert any(each in done.error[0] for each in words.format(**known).split("|")), done.error[0]
    assert snapshot() == before


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("line", "code", "words"), [(line, *told) for line, told in {**FILES, **OTHERS}.items()])
def test_wrong_files_and_commands(line, code, words, tiny, compress):
    check(compress, tiny, line, code, words)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("command", ["evaluate", "fine-tune", "run"])
@pytest.mark.parametrize(("line", "code", "words"), [(line, *told) for line, told in SAMPLES.items()])
def test_wrong_samples_and_networks(command, line, code, words, tiny, compress):
    check(compress, tiny, f"{command} {{checkpoint}} --arch {{arch}} {line}", code, words)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("command", ["fine-tune", "run"])
@pytest.mark.parametrize(("line", "code", "words"), [(line, *told) for line, told in TRAINING.items()])
def test_wrong_trainings(command, line, code, words, tiny, compress):
    check(compress, tiny, f"{command} {{checkpoint}} --arch {{arch}} {line}", code, words)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("line", "code", "words"), [(line, *told) for line, told in PAPERS.items()])
def test_wrong_methods(line, code, words, tiny, compress):
    check(compress, tiny, f"fine-tune {{checkpoint}} --arch {{arch}} {line}", code, words)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("line", "code", "words"), [(line, *told) for line, told in WHOLE_RUN.items()])
def test_wrong_runs(line, code, words, tiny, compress):
    check(compress, tiny, f"run {{checkpoint}} --arch {{arch}} {line}", code, words)


NUMBERS = {
    "nan": "nan",
    "inf": "inf",
    "negative infinity": "-inf",
    "negative": "-1",
    "zero": "0",
    "huge": "1e300",
    "beyond a float": "1e400",
    "2^63": str(2**63),
    "2^64": str(2**64),
    "10^9": str(10**9),
    "10^30": str(10**30),
    "5000 digits": "9" * 5000,
    "5000 zeros": "0" * 5000,
    "text": "many",
    "long text": "x" * 5000,
    "nothing": "",
    "escape": "\x1b[31m5",
    "fullwidth digit": "\uff15",
    "pair": "nan:nan",
    "huge pair": "1e300:1e300",
    "many sizes": "x".join(["3"] * 2000),
}
# What every command needs beside the option that is tried.
LINES = {
    "run": "{checkpoint} --arch {arch} --penalty l1",
    "fine-tune": "{checkpoint} --arch {arch} --penalty l1",
    "shrink": "{checkpoint} --arch {arch}",
    "recover": "{checkpoint} --arch {arch}",
    "prune": "{checkpoint} --arch {arch} --target-macs 0.5",
    "export": "{checkpoint} --arch {arch}",
    "benchmark": "{folder}/small.onnx",
    "compare": "{folder}/report.json {folder}/report.json",
    "costs": "{checkpoint} --arch {arch}",
    "sweep": "{checkpoint} --arch {arch} --penalty l1",
    "evaluate": "{checkpoint} --arch {arch}",
    "inspect": "{checkpoint} --arch {arch}",
    "list": "penalties",
}
# Where commands begin to work: nothing beyond that is tried.
WORK = (
    "compressor.pipeline.run",
    "compressor.pipeline.search.search",
    "compressor.pipeline.sweep.sweep",
    "compressor.stages.costs.measure_costs",
    "compressor.stages.fine_tune.fine_tune",
    "compressor.stages.recover.recover",
    "compressor.stages.prune.prune",
    "compressor.stages.shrink.shrink",
    "compressor.stages.export.export",
    "compressor.stages.evaluate.evaluate",
    "compressor.stages.inspect.inspect",
    "compressor.benchmarking.measure",
)


def numeric_options():
    """Every option of every command that reads a number, alone or in a text of its own form."""
    for name in COMMANDS:
        for option in group.get_command(None, name).params:
            own_form = isinstance(option.type, Parsed) and option.type.name != "name"
            if isinstance(option, click.Option) and (own_form or option.name == "align"):
                yield name, option.opts[0]


def test_every_command_and_its_numbers_are_tried():
    tried = list(numeric_options())
    assert {name for name, _ in tried} == set(LINES) == set(COMMANDS)
    for pair in (("fine-tune", "--strength"), ("run", "--beta"), ("compare", "--max-drop"), ("export", "--opset")):
        assert pair in tried


@pytest.fixture
def idle(monkeypatch):
    """Commands stop where their work begins."""

    def stop(*args, **kwargs):
        raise CompressorError("the work begins")

    # What is imported while these are in place would keep them for the tests that follow.
    for module in pkgutil.walk_packages(compressor.__path__, "compressor."):
        # Those of integrations need libraries that need not be there; no command imports them.
        if not module.name.endswith("__main__") and ".integrations." not in module.name:
            importlib.import_module(module.name)
    for place in WORK:
        monkeypatch.setattr(place, stop)


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(("name", "option"), list(numeric_options()))
def test_every_number_works_or_is_wrong_usage_in_one_line(name, option, tiny, finished, compress):
    line = shlex.split(LINES[name].format(**vars(tiny), folder=finished[0]))
    for what, value in NUMBERS.items():
        done = compress(name, *line, f"{option}={value}")
        begins = done.exit_code in {0, 1} and (not done.error or done.error == ["Error: the work begins"])
        gated = name == "compare" and done.exit_code == 1 and len(done.error) == 1
        if not (begins or gated):
            assert done.exit_code == 2, (what, done)
            assert len(done.error) == 1, (what, done)
            assert len(done.error[0]) < 300, (what, done)
            assert "\x1b" not in done.stderr, (what, done)


@pytest.mark.parametrize("option", ["--penalty l1-l2 --penalty-arg alpha", "--penalty scad --penalty-arg a"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e300", "9" * 5000, "x" * 5000, "None"])
def test_every_parameter_of_a_penalty_is_checked(option, value, tiny, compress):
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *shlex.split(f"{option}={value}"))
    assert (done.exit_code, len(done.error)) == (2, 1)
    assert len(done.error[0]) < 300


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[" * 100_000, "is nested too deeply"),
        ("9" * 5000, "lenet5"),
        ("NaN", "is not a finite number"),
        ("1e999", "is not a finite number"),
        ("x" * 5000, "lenet5"),
        (str(10**10), "of memory and at most 3.0 GiB is allowed; --max-memory allows more"),
    ],
)
def test_arguments_of_an_architecture_are_checked(value, words, compress):
    done = compress("inspect", "--arch", "lenet5", "--arch-arg", f"num_classes={value}")
    assert (done.exit_code, len(done.error)) == (2, 1)
    assert words in done.error[0]
    assert len(done.error[0]) < 300
