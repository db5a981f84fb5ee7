"""Operations and modules of users' own: what they do to channels, said in a signature.

A signature names the axes of what goes in and comes out, as einsum does:

    teach("mine::scan", "b c t, b c t, c n, b n t -> b c t", macs="b c n t")

Places along a named axis are treated alike and each by itself, or summed over where the result lacks the axis: without
places that are zero the rest of the result is the same. ``_`` is an axis that must stay as it is, for example because
places along it are normalised together; ``...`` in front stands for any number of such axes.

An operand is a tensor that the operation gets, in their order; ``weight: o c`` is the parameter of that name of a
module that is taught. A parameter is cut along every axis that it shares with the channels. It makes the channels of an
axis that no other tensor has, and must then be zero for these to go; so must one marked with +, which is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from compressor.errors import UsageError

FIXED_AXIS, ANY = "_", "..."


@dataclass(frozen=True)
class Operand:
    """The axes of one tensor; ``name`` is that of a parameter, ``added`` whether it is added to the others."""

    axes: tuple[str, ...]
    name: str | None = None
    added: bool = False

    def at(self, ndim: int) -> tuple[str, ...] | None:
        """A name for each of ``ndim`` axes; None when there are more or fewer."""
        rest = self.axes[1:] if self.axes[:1] == (ANY,) else self.axes
        free = ndim - len(rest) if len(rest) < len(self.axes) else 0
        return (FIXED_AXIS,) * free + rest if free >= 0 and free + len(rest) == ndim else None


@dataclass(frozen=True)
class Lesson:
    """What an operation or a module does."""

    operands: tuple[Operand, ...]
    results: tuple[Operand, ...]
    macs: tuple[str, ...] = ()
    sizes: Mapping[str, str] = field(default_factory=dict)

    @property
    def given(self) -> tuple[Operand, ...]:
        """The operands that are arguments."""
        return tuple(operand for operand in self.operands if operand.name is None)


OPERATIONS: dict[str, Lesson] = {}
MODULES: dict[type[nn.Module], Lesson] = {}


def teach(
    what: str | type[nn.Module], signature: str, *, macs: str = "", sizes: Mapping[str, str] | None = None
) -> None:
    """Say what an operation, called "namespace::name", or a class of modules does to channels.

    ``signature``: see `compressor.teaching`. ``macs``: the axes of which the sizes, multiplied, are the
    multiply-accumulates. ``sizes``: attributes of the module that calls the operation, or is taught, and the axis of
    which each states the size. `UsageError` for a signature that cannot be read.
    """
    lesson = _lesson(signature, macs, sizes or {})
    if isinstance(what, type) and issubclass(what, nn.Module):
        MODULES[what] = lesson
    elif isinstance(what, str) and "::" in what:
        if len(lesson.given) < len(lesson.operands):
            raise UsageError(f"{what} is an operation, so the operands of {signature!r} have no names")
        OPERATIONS[what] = lesson
    else:
        raise UsageError(f"only an operation 'namespace::name' or a class of modules can be taught, got {what!r}")


def lesson_for(module: nn.Module) -> Lesson | None:
    """What was taught about the class of ``module`` or one that it inherits from."""
    return next((MODULES[kind] for kind in type(module).__mro__ if kind in MODULES), None)


def _lesson(signature: str, macs: str, sizes: Mapping[str, str]) -> Lesson:
    before, arrow, after = signature.partition("->")
    if not arrow:
        raise UsageError(f"a signature is 'operands -> results', got {signature!r}")
    operands, results = ([_operand(part, signature) for part in side.split(",")] for side in (before, after))
    known = {axis for operand in operands for axis in operand.axes} - {FIXED_AXIS, ANY}
    asked = {axis for result in results for axis in result.axes} - {FIXED_AXIS, ANY}
    if unknown := sorted((asked | set(macs.split()) | set(sizes.values())) - known):
        raise UsageError(f"no operand of {signature!r} has an axis {', '.join(unknown)}")
    return Lesson(tuple(operands), tuple(results), tuple(macs.split()), dict(sizes))


def _operand(text: str, signature: str) -> Operand:
    name, colon, axes = text.rpartition(":")
    added = axes.strip().startswith("+")
    names = tuple(axes.strip().removeprefix("+").split())
    letters = [axis for axis in names if axis != FIXED_AXIS]
    wrong = [axis for place, axis in enumerate(names) if not axis.isidentifier() and (axis != ANY or place)]
    if wrong or len(set(letters)) < len(letters) or (colon and not name.strip()):
        raise UsageError(f"{text.strip()!r} in {signature!r} is no list of axes, each once, such as 'b c h w'")
    return Operand(names, name.strip() or None, added)
