import os
import subprocess
import sys
from types import SimpleNamespace

import onnxruntime
import pytest

from compressor import runtime
from compressor.errors import CheckpointError, CompressorError, UnknownName, UsageError
from compressor.runtime import PROVIDERS, available, choose, open_session


def test_the_processor_is_always_there():
    assert "cpu" in available()


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_every_provider_is_one_that_onnx_runtime_knows(name):
    assert PROVIDERS[name].id in onnxruntime.get_all_providers()


def test_an_unknown_provider_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownName, match="Did you mean 'cuda'"):
        choose("cudo")


def test_a_provider_that_is_not_installed_is_refused_before_any_session(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UsageError, match="has no provider cuda; it offers cpu"):
        choose("cuda")


def test_a_session_on_another_provider_is_refused(monkeypatch, light):
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setitem(runtime.PROVIDERS, "cuda", runtime.Provider("CUDAExecutionProvider", "a GPU"))
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(CompressorError, match=r"was to run on CUDA.* put it on CPU"),
    ):
        open_session(light, provider="cuda", threads=1)


class Assigned:
    """A session whose nodes lie on the providers given."""

    def __init__(self, *ids):
        self.get_provider_graph_assignment_info = lambda: [SimpleNamespace(ep_name=name) for name in ids]


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (Assigned("CPUExecutionProvider"), False),
        (Assigned("CPUExecutionProvider", "CoreMLExecutionProvider"), True),
        (object(), True),
    ],
)
def test_a_provider_without_nodes_is_noticed_where_onnx_runtime_tells(session, expected):
    assert runtime.owns_nodes(session, "CoreMLExecutionProvider") is expected


def test_a_provider_that_takes_no_nodes_is_refused(monkeypatch, light):
    monkeypatch.setattr(runtime, "owns_nodes", lambda session, provider_id: False)
    with pytest.raises(CompressorError, match=r"was to run on CPU.*, but it took none of its nodes"):
        open_session(light, provider="cpu", threads=1)


def test_a_session_takes_the_threads_asked_for(light):
    session = open_session(light, provider="cpu", threads=1)
    assert session.get_session_options().intra_op_num_threads == 1


def test_a_file_that_onnx_runtime_refuses_is_named(unknown_operator):
    with pytest.raises(CheckpointError, match=r"ONNX Runtime cannot load .*odd\.onnx: .+") as caught:
        open_session(unknown_operator, provider="cpu", threads=1)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_model_is_named(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(CheckpointError, match=r"broken\.onnx is not an ONNX model; it cannot be read: .+") as caught:
        open_session(path, provider="cpu", threads=1)
    assert "\n" not in str(caught.value)


def test_nothing_is_reported_to_its_makers(light, tmp_path):
    """Left alone, a session writes a device id, and a database of what there is to send, into the user's folders."""
    home = tmp_path / "home"
    home.mkdir()
    places = {name: str(home) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    code = "import pathlib, sys; from compressor import runtime; runtime.open_session(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, light], env={**kept, **places}, check=True)
    assert not [*home.iterdir()]
