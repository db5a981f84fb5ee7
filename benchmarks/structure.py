"""How large the package is, and how well it hangs together, in numbers.

    python benchmarks/structure.py                     counts compressor/ beside this folder
    python benchmarks/structure.py ../old/compressor   counts another version of it

Rings are sets of modules that import each other, directly or through others; imports inside functions count,
those under ``if TYPE_CHECKING`` do not, and `tests/test_floors.py` allows none. Look-ups are reads: ``row["name"]``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from statistics import median

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parsed(root: Path) -> dict[str, ast.Module]:
    """Every module of the package in the folder ``root``, by its dotted name."""
    names = {path: ".".join((root.name, *path.relative_to(root).with_suffix("").parts)) for path in root.rglob("*.py")}
    return {
        names[path].removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(names)
    }


def imported(tree: ast.AST, known: Collection[str]) -> Iterator[str]:
    """The ``known`` modules that are imported at the top or inside functions."""
    for node in _running(tree):
        match node:
            case ast.ImportFrom(module=str(module)):
                whole = [f"{module}.{alias.name}" for alias in node.names]
                yield from (name if name in known else module for name in whole if name in known or module in known)
            case ast.Import():
                yield from (alias.name for alias in node.names if alias.name in known)


def rings(imports: Mapping[str, Collection[str]]) -> list[list[str]]:
    """The sets of modules that all reach each other, sorted."""
    reach = {module: _reached(imports, module) for module in imports}
    return sorted(map(list, {tuple(sorted(b for b in reach[a] if a in reach[b])) for a in reach if a in reach[a]}))


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything below but what stands under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _running(node)


def _reached(imports: Mapping[str, Collection[str]], start: str) -> set[str]:
    reached: set[str] = set()
    ahead = [start]
    while ahead:
        new = set(imports[ahead.pop()]) - reached
        reached |= new
        ahead += new
    return reached


def _is_look_up(node: ast.AST) -> bool:
    match node:
        case ast.Subscript(value=ast.Name(id="Literal")):
            return False
        case ast.Subscript(slice=ast.Constant(value=str()), ctx=ast.Load()):
            return True
    return False


def _says_any(function: Function) -> bool:
    """Whether a public function takes or gives `Any`."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    arguments += [extra for extra in (function.args.vararg, function.args.kwarg) if extra is not None]
    annotations = [*(argument.annotation for argument in arguments), function.returns]
    names = [node for annotation in annotations if annotation is not None for node in ast.walk(annotation)]
    return not function.name.startswith("_") and any(isinstance(n, ast.Name) and n.id == "Any" for n in names)


def _public(body: list[ast.stmt]) -> Iterator[Function]:
    """Functions of a module and methods of its classes; those inside functions are nobody's to call."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public(node.body)
        elif isinstance(node, Function):
            yield node


def counts(root: Path) -> dict[str, object]:
    """Each number by what it counts."""
    trees = parsed(root)
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in root.rglob("*.py")]
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    sizes = [node.end_lineno - node.lineno + 1 for node in nodes if isinstance(node, Function) and node.end_lineno]
    imports = {name: set(imported(tree, trees)) for name, tree in trees.items()}
    return {
        "files": len(lines),
        "lines": sum(lines),
        "lines of the median and the largest file": f"{median(lines):g} and {max(lines)}",
        "functions": len(sizes),
        "lines of the median and the largest function": f"{median(sizes):g} and {max(sizes)}",
        "rings of imports": len(rings(imports)),
        "modules in them": sum(map(len, rings(imports))),
        "look-ups by text": sum(map(_is_look_up, nodes)),
        "public functions with Any": sum(_says_any(f) for tree in trees.values() for f in _public(tree.body)),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "compressor"
    for what, number in counts(folder.resolve()).items():
        print(f"{what:<46}{number}")
