from __future__ import annotations

import ast
import re
from collections.abc import Collection, Container, Iterator, Mapping
from pathlib import Path

import pytest

import compressor

ROOT = Path(compressor.__file__).parent
# Lowest first; a module imports from lower floors and from its own package only.
FLOORS = (
    {"__version__", "errors"},
    {"files", "methods", "records", "registry"},
    {"architectures", "data", "penalties", "equivalence", "hooks"},
    {"channels", "layer_kinds", "sources"},
    {"checkpoints", "surgery"},
    {"groups"},
    {"alignment", "costs"},
    {"benchmarking", "export", "shrinking", "splitting"},
    {"inspecting", "training"},
    {"evaluating"},
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


def dotted(path: Path) -> str:
    return ".".join(("compressor", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything that can run: what stands under `if TYPE_CHECKING` is left out."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from statements(node)


def modules_imported(tree: ast.AST, known: Container[str]) -> Iterator[str]:
    """The modules of the package that are imported, also inside functions."""
    for node in statements(tree):
        match node:
            case ast.ImportFrom(module=str(module)):
                whole = [f"{module}.{alias.name}" for alias in node.names]
                yield from (name if name in known else module for name in whole if name in known or module in known)
            case ast.Import():
                yield from (alias.name for alias in node.names if alias.name in known)


def cycle(imports: Mapping[str, Collection[str]]) -> list[str]:
    """Modules that import each other in a ring, the first of them again at the end; empty when there are none."""
    done: set[str] = set()

    def search(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        rings = [] if module in done else [search(target, [*path, module]) for target in sorted(imports[module])]
        done.add(module)
        return next((ring for ring in rings if ring), [])

    return next((ring for module in imports if (ring := search(module, []))), [])


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
    trees = {dotted(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
    imports = {name: set(modules_imported(tree, trees)) for name, tree in trees.items()}
    assert sum(map(len, imports.values())) > len(imports), "hardly any import is seen"
    assert not cycle(imports), " imports ".join(cycle(imports))


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
def test_a_ring_is_found_however_it_is_imported(source, seen):
    known = {"compressor", "compressor.b"}
    assert list(modules_imported(ast.parse(source), known)) == seen


def test_a_ring_of_three_is_found_and_a_diamond_is_none():
    assert cycle({"a": "b", "b": "c", "c": "a"}) == ["a", "b", "c", "a"]
    assert cycle({"t": "ab", "a": "c", "b": "c", "c": ""}) == []


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
    assert not points_down("training", "inspecting")
    assert not points_down("cli", "load")
    assert points_down("report", "errors")
