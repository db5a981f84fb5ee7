"""What is in the wheel, what a package index shows of it, and what type checkers see of it."""

import email
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXAMPLE = re.compile(r"<!-- run -->\s*```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SMALL = """
from pathlib import Path

from torch import nn

from compressor import load, save, shrink


def smaller(path: Path) -> nn.Module:
    network = load(path)
    small: nn.Module = shrink(network.model, network.example_input())
    save(network.with_model(small), path.with_suffix(".small.pt"), overwrite=True)
    return small
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built as for a release, but with the build tools that are installed."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "-w", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("torch_compressor-*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_holds_the_whole_package_and_the_models(wheel):
    files = {path.relative_to(ROOT) for path in (ROOT / "compressor").rglob("*") if path.is_file()}
    package = {path.as_posix() for path in files if "__pycache__" not in path.parts}
    models = {f"compressor/models/{path.name}" for path in (ROOT / "models").glob("*.pt")}
    assert {"compressor/py.typed", "compressor/data/digits.npz", "compressor/report/report.html.j2"} <= package
    assert models
    with zipfile.ZipFile(wheel) as archive:
        assert package | models <= set(archive.namelist())


def test_links_and_images_of_the_readme_work_on_a_package_index(metadata):
    targets = re.findall(r"\]\(([^)]+)\)", metadata.get_payload())
    relative = re.findall(r"\]\((?!https?:|#)([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    home, release = PROJECT["urls"]["Homepage"], f"v{metadata['Version']}"
    assert f"{home}/raw/{release}/docs/report.png" in targets
    assert {f"{home}/blob/{release}/{target}" for target in relative if not target.endswith(".png")} <= {*targets}
    assert not [target for target in targets if not target.startswith(("https://", "#"))]


def test_every_address_of_the_repository_is_the_same():
    found = re.findall(r"https://[^\s'\"\\]+", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert len(found) >= 5
    assert not [address for address in found if not address.startswith(PROJECT["urls"]["Homepage"])]


def test_the_workflow_tests_every_python_version_that_is_promised():
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    (tested,) = re.findall(r"python: \[(.+)\]", workflow)
    promised = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert [version.strip('" ') for version in tested.split(",")] == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"


@pytest.fixture(scope="module")
def type_check(wheel, tmp_path_factory):
    """``mypy --strict`` where the wheel is installed beside the other packages of this environment."""
    folder = tmp_path_factory.mktemp("user")
    venv.create(folder / "venv", symlinks=True)
    paths = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    packages = sysconfig.get_path("purelib", "venv", paths)
    # Folders in a .pth file are searched, but the .pth files in them are not: the editable installation stays outside.
    (Path(packages) / "others.pth").write_text(sysconfig.get_path("purelib"))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages, wheel]
    subprocess.run(install, check=True, capture_output=True)

    def check(code):
        (folder / "script.py").write_text(code)
        python = folder / "venv" / "bin" / "python"
        # torch's own Tensor.backward is not annotated.
        options = ["--strict", "--untyped-calls-exclude", "torch", "--python-executable", python]
        command = [sys.executable, "-m", "mypy", *options, "script.py"]
        environment = {"PATH": "", "PYTHONPATH": ""}
        return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True).stdout

    return check


@pytest.mark.slow
@pytest.mark.parametrize("code", [SMALL, *EXAMPLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))])
def test_a_users_script_is_checked_against_the_installed_wheel(type_check, code):
    assert type_check(code) == "Success: no issues found in 1 source file\n"


@pytest.mark.slow
def test_a_users_mistake_is_found(type_check):
    found = type_check(SMALL.replace("load(path)", "load(path, normalise=1)"))
    assert 'Unexpected keyword argument "normalise" for "load"' in found
