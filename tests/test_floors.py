from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structure

import compressor

ROOT = Path(compressor.__file__).parent
# Lowest first; a module imports from lower floors and from its own package only.
FLOORS = (
    {"__version__", "errors"},
    {"foreign", "launcher", "limits", "locks", "stopping"},
    {"processor", "regular_files", "shards"},
    {"files", "methods", "process_memory", "progress", "records", "registry", "teaching", "user_code", "wrappers"},
    {"codec", "hooks", "loggers", "onnx_safety", "structures"},
    {"inputs", "ranks"},
    {"precision"},
    {"tasks"},
    {"architectures", "data", "penalties", "equivalence", "runtime"},
    {"channels", "comparison", "layer_kinds", "sources"},
    {"bare_weights", "computed_weights", "products"},
    {"checkpoints", "positions", "surgery"},
    {"groups"},
    {"alignment", "saliency"},
    {"costs"},
    {"benchmarking", "export", "reconstruction", "shrinking", "splitting"},
    {"forecast", "training"},
    {"integrations", "stages"},
    {"report"},
    {"pipeline"},
    {"cli"},
    {"__main__"},
)
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py" or path.parent != ROOT)

every_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Every part of the package that is imported, also inside functions, or named in a registry."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="compressor"):
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module)) if module.startswith("compressor."):
                yield module.split(".")[1]
            case ast.Import():
                yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("compressor."))
            case ast.Constant(value=str(text)) if re.fullmatch(r"compressor(\.\w+)+(:\w+)?", text):
                # Metadata keys look alike, but name no module.
                yield from {re.split(r"[.:]", text)[1]} & FLOOR.keys()


def points_down(own: str, target: str) -> bool:
    return own == target or FLOOR.get(target, len(FLOORS)) < FLOOR[own]


@every_module
def test_imports_point_down(path):
    targets = set(imported(ast.parse(path.read_text(encoding="utf-8"))))
    upward = sorted(target for target in targets if not points_down(part(path), target))
    assert not upward, f"{path.relative_to(ROOT)} imports {', '.join(upward)}"


@every_module
def test_no_module_is_called_utils(path):
    assert not {"utils", "util", "helpers", "common", "misc"} & {*path.relative_to(ROOT).with_suffix("").parts}


def test_no_modules_import_each_other_in_a_ring():
    trees = structure.parsed(ROOT)
    imports = {name: set(structure.imported(tree, trees)) for name, tree in trees.items()}
    assert sum(map(len, imports.values())) > len(imports), "hardly any import is seen"
    assert structure.rings(imports) == []


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("from compressor.b import thing", ["compressor.b"]),
        ("from compressor import b", ["compressor.b"]),
        ("import compressor.b", ["compressor.b"]),
        ("def late():\n    from compressor.b import thing", ["compressor.b"]),
        ("from compressor import __version__", ["compressor"]),
        ("if TYPE_CHECKING:\n    from compressor.b import Thing", []),
    ],
)
def test_every_import_that_may_run_counts_for_rings(source, seen):
    assert list(structure.imported(ast.parse(source), {"compressor", "compressor.b"})) == seen


def test_a_ring_of_three_is_found_and_a_diamond_is_none():
    assert structure.rings({"a": "b", "b": "c", "c": "a", "top": "a"}) == [["a", "b", "c"]]
    assert structure.rings({"top": "ab", "a": "c", "b": "c", "c": ""}) == []


def test_groups_and_surgery_need_no_runtime_for_exported_files(environment):
    code = "import sys, compressor.groups, compressor.surgery; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0


def test_table_holds_every_module_and_nothing_else():
    assert {part(path) for path in MODULES} | {"__version__"} == set(FLOOR)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("from compressor.report.page import Page", "report"),
        ("import compressor.report", "report"),
        ("from compressor import report", "report"),
        ("def late():\n    from compressor.report import write", "report"),
        ("TABLE = {'x': 'compressor.report.page:Page'}", "report"),
    ],
)
def test_every_way_of_importing_is_seen(source, target):
    assert list(imported(ast.parse(source))) == [target]


def test_upward_import_is_found():
    assert not points_down("errors", "report")
    assert not points_down("training", "forecast")
    assert not points_down("cli", "load")
    assert points_down("report", "errors")
