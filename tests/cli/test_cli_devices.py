"""``--devices``: the first process runs the command, the others help it train, and none outlives it."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from compressor.cli import launching
from compressor.errors import UsageError
from compressor.training import loop
from compressor.training.loop import Loop
from compressor.training.states import States

pytestmark = pytest.mark.filterwarnings("always::compressor.errors.CompressorWarning")

# A network without norms, and a data part that fails where and as it is told to.
CODE = '''
import os, signal, time
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))


def parts():
    drawn = torch.Generator().manual_seed(0)
    images = torch.randn(32, 8, 6, generator=drawn)
    return [(image, (image.sum(1) > 0).long()) for image in images]


class Train(list):
    """Batches that count how often they are gone through."""

    def __init__(self, batches, fail):
        super().__init__(batches)
        self.fail, self.epochs = fail, 0

    def __iter__(self):
        self.epochs += 1
        for place, batch in enumerate(list.__iter__(self)):
            # The first time is to look at the first batch.
            if self.epochs == 3 and place == 20:
                self.fail()
            yield batch


def loaders(fail=lambda: None):
    batches = parts()
    return Train(batches, fail), batches[:4], batches[:4]


def on_rank_1(fail):
    return lambda: fail() if os.environ.get("RANK") == "1" else None


def killed():
    return loaders(on_rank_1(lambda: os.kill(os.getpid(), signal.SIGKILL)))


def broken():
    def fail():
        raise RuntimeError("the disk of rank 1 is on fire")
    return loaders(on_rank_1(fail))


def missing():
    if os.environ.get("RANK") == "1":
        raise FileNotFoundError("no such folder on this machine")
    return loaders()


def others():
    batches = parts()
    validation = batches[4:8] if os.environ.get("RANK") == "1" else batches[:4]
    return batches, validation, validation
'''
COMMAND = ("fine-tune", "--task", "classification", "--arch", "own.py:build", "--input", "2x6", "--epochs", "3")


@pytest.fixture(autouse=True)
def own(monkeypatch):
    """Files of a user's, and no process left behind by a test."""
    Path("own.py").write_text(CODE)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    start, started = launching._Started._start, []

    def noted(self, *args):
        started.append(start(self, *args))
        return started[-1]

    monkeypatch.setattr(launching._Started, "_start", noted)
    yield
    assert all(process.poll() is not None for process in started)
    assert not torch.distributed.is_initialized()


@pytest.fixture
def tune(compress):
    def run(*args, data="loaders", devices=2):
        given = ("--devices", devices) if devices else ()
        return compress(*COMMAND, "--data", f"own.py:{data}", "--out", "a.pt", *given, *args)

    return run


def weights(path):
    return torch.load(path, weights_only=True)["state"]


def states():
    return sorted(path.name for path in Path().glob("*.training-*/*.state"))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("killed", "Error: rank 1 of 2 was killed by SIGKILL; the training up to epoch 1 is kept in "),
        ("broken", "Error: rank 1 of 2 ended with exit code 2: "),
        pytest.param(
            "missing", "Error: rank 1 of 2 ended with exit code 2: own.py:missing failed", marks=pytest.mark.slow
        ),
        pytest.param("others", "Error: own.py:others gives other batches on one process than", marks=pytest.mark.slow),
    ],
)
def test_a_rank_that_is_lost_ends_all_with_one_line(tune, data, told):
    began = time.monotonic()
    done = tune(data=data)
    assert done.exit_code == (2 if data == "others" else 1), done.stderr
    (line,) = done.error
    assert line.startswith(told)
    assert "the disk of rank 1 is on fire" in line or data != "broken"
    assert "no such folder on this machine" in line or data != "missing"
    assert not Path("a.pt").exists()
    assert time.monotonic() - began < 60


@pytest.fixture(scope="module")
def undisturbed(compress, tmp_path_factory):
    """The files of a training that nothing happens to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("undisturbed"))
        patch.setenv("OMP_NUM_THREADS", "1")
        Path("own.py").write_text(CODE)
        assert compress(*COMMAND, "--data", "own.py:loaders", "--out", "a.pt", "--devices", 2).exit_code == 0
        return contents()


def contents():
    return {name: Path(name).read_bytes() for name in ("a.pt", "a.jsonl")}


def stopped_at(step, patch):
    """Be told to stop in a step, as by who needs the machine."""
    loss, count = Loop._loss, []

    def stopped(self, *args):
        count.append(1)
        if len(count) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, *args)

    patch.setattr(Loop, "_loss", stopped)


def ended_after_an_epoch(patch):
    keep = States.keep

    def kept(self, before, total, done, run):
        keep(self, before, total, done, run)
        raise KeyboardInterrupt

    patch.setattr(States, "keep", kept)


def test_what_is_stopped_goes_on_with_the_same_bits(tune, undisturbed, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_at(20, patch)
        done = tune()
    assert done.exit_code == 143
    (line,) = done.error
    assert line.startswith("Stopped by SIGTERM: the training up to epoch 1 and 4 steps of epoch 2 is kept in ")
    assert states() == ["epoch-000001-000000004.state", "epoch-000001.state"]
    with monkeypatch.context() as patch:
        ended_after_an_epoch(patch)
        assert tune().exit_code == 130
    assert "epoch-000002.state" in states()
    done = tune()
    assert done.exit_code == 0, done.stderr
    assert contents() == undisturbed


@pytest.mark.slow
def test_what_is_stopped_in_shards_goes_on(tune, undisturbed, monkeypatch):
    """While the first rank validates; the bits are held by what trains on several ranks without a command."""

    def told(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "validated_as_it_is", told)
        assert tune("--strategy", "fsdp").exit_code == 143
    assert states() == ["epoch-000000-000000016.state"]
    assert tune("--strategy", "fsdp").exit_code == 0
    once = torch.load(io.BytesIO(undisturbed["a.pt"]), weights_only=True)["state"]
    assert all(torch.allclose(one, once[name], atol=1e-5) for name, one in weights("a.pt").items())
    assert states() == []


def test_a_method_that_needs_whole_weights_is_refused(tune):
    told = "Error: --method paper needs whole weights: use --strategy ddp, or --method budget"
    assert tune("--strategy", "fsdp", "--method", "paper").error == [told]


@pytest.mark.slow
def test_a_run_in_shards_ends_with_a_report(compress):
    options = ("--devices", 2, "--device", "cpu", "--strategy", "fsdp", "--target-macs", 0.5, "--epochs", 2)
    done = compress("run", "digits_lenet", *options, "--out", "run")
    assert done.exit_code == 0, done.stderr
    assert json.loads(Path("run/report.json").read_text())


def test_images_go_on_with_another_number_of_processes(compress, tiny, monkeypatch):
    def images(*args):
        own = ("--arch", tiny.arch, "--data", tiny.data, "--batch-size", "32", "--epochs", "2", "--out", "c.pt")
        return compress("recover", tiny.checkpoint, *own, "--teacher", tiny.checkpoint, *args)

    with monkeypatch.context() as patch:
        ended_after_an_epoch(patch)
        assert images().exit_code == 130
    done = images("--devices", 2, "--json")
    assert done.exit_code == 0, done.stderr
    assert "Warning: the training was begun by one process and goes on with 2 processes: its result is" in done.stderr
    assert json.loads(done.stdout)["processes"] == 2
    assert sorted(path.name for path in Path().iterdir()) == ["c.jsonl", "c.pt", "own.py"]


def test_a_users_batches_do_not_go_on_with_another_number_of_processes(tune, undisturbed, monkeypatch):
    with monkeypatch.context() as patch:
        ended_after_an_epoch(patch)
        assert tune(devices=None).exit_code == 130
    done = tune()
    assert "holds an unfinished training with other settings, which is left alone" in done.stderr
    assert contents() == undisturbed


def launched(monkeypatch, rank, size=2):
    """What torchrun sets for a rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
    known |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in known.items():
        monkeypatch.setenv(name, str(value))
    return {name: str(value) for name, value in known.items()}


def test_a_launcher_starts_them_all(tune, undisturbed, monkeypatch, environment):
    known = launched(monkeypatch, 0)
    command = [sys.executable, "-m", "compressor", *COMMAND, "--data", "own.py:loaders", "--out", "a.pt"]
    ours = {**environment, **known, "RANK": "1", "LOCAL_RANK": "1"}
    with subprocess.Popen(command, env=ours, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as other:
        done = tune(devices=None)
        said = other.communicate(timeout=60)[0]
    assert done.exit_code == 0, done.stderr
    assert (other.returncode, said) == (0, "")
    assert contents() == undisturbed


def test_other_commands_are_the_first_ranks_alone(compress, monkeypatch):
    launched(monkeypatch, 1)
    done = compress("list", "models")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--devices", 4), "--devices is 4, and the launcher says 2 processes on each machine; leave --devices out"),
        (("--num-nodes", 2), "--num-nodes is 2, and the launcher says 1 machines; leave --num-nodes out"),
    ],
)
def test_what_a_launcher_says_otherwise_is_refused(tune, monkeypatch, options, told):
    launched(monkeypatch, 0)
    assert tune(*options, devices=None).error == [f"Error: {told}"]


@pytest.mark.parametrize(
    ("device", "told"),
    [
        ("cuda", "2 processes need a GPU each, and 1 is visible; start 1, or use --device cpu"),
        ("cuda:0", "--device cuda:0 is one device, and 2 processes need one each; use --device cuda"),
    ],
)
def test_each_needs_a_gpu_of_its_own(tune, monkeypatch, device, told):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert tune("--device", device).error == [f"Error: {told}"]


@pytest.mark.gpu
def test_two_gpus_train_as_one(tune):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    assert tune("--device", "cuda").exit_code == 0
    found = weights("a.pt")
    assert tune("--device", "cpu", "--overwrite").exit_code == 0
    assert all(torch.allclose(one, weights("a.pt")[name], atol=1e-4) for name, one in found.items())


@pytest.mark.slow
def test_torchrun_of_two_processes_makes_the_same(undisturbed, environment):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "compressor", *COMMAND, "--data", "own.py:loaders", "--out", "a.pt"]
    done = subprocess.run([*launcher, *command], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert contents() == undisturbed


def test_a_loss_is_known_by_its_words():
    assert launching.is_loss(RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]"))
    assert launching.is_loss(torch.distributed.DistNetworkError("failed to recv, got 0 bytes"))
    assert not launching.is_loss(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not launching.is_loss(UsageError("the train part failed to give a batch: ConnectionError: refused by peer"))
