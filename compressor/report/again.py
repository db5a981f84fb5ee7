"""A command that was given, with other options: as text that can be copied into a shell."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePath


class Copyable(str):
    """A line that a terminal may break, but no writer: it is to be copied as a whole."""

    __slots__ = ()


@dataclass(frozen=True)
class Command:
    """The words of a command, and the folder that it wrote."""

    words: tuple[str, ...]
    out: str

    def again(self, **options: str) -> str:
        """The same command with these options instead of its own, quoted for a shell."""
        return shlex.join([*_without(self.words, {_flag(name) for name in options}), *_given(options)])

    def kept(self, *flags: str) -> tuple[str, ...]:
        """Its own words for these options, where it names code with them: files know other data themselves."""
        if _value(self.words, "--task") is None:
            return ()
        pairs = zip(self.words, (*self.words[1:], ""), strict=True)
        return tuple(
            part
            for word, after in pairs
            if word.split("=")[0] in flags
            for part in ((word, after) if word in flags else (word,))
        )


def command_of(text: str) -> Command | None:
    """The ``compress run`` that ``text`` is; None when it is another, or holds what would not show as it is."""
    try:
        words = tuple(shlex.split(text))
    except ValueError:
        return None
    if words[:2] != ("compress", "run") or len(words) < 3 or not all(word.isprintable() for word in words):
        return None
    out = _value(words, "--out")
    if out is None and words[2].startswith("-"):
        return None  # the model, after which the folder is called, stands somewhere among the options
    return Command(words, out or str(PurePath("runs", PurePath(words[2]).stem)))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _given(options: dict[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in (_flag(name), value)]


def _value(words: tuple[str, ...], flag: str) -> str | None:
    pairs = zip(words, (*words[1:], ""), strict=True)
    found = [after if word == flag else word.partition("=")[2] for word, after in pairs if word.split("=")[0] == flag]
    return found[-1] if found else None


def _without(words: tuple[str, ...], flags: set[str]) -> list[str]:
    """``words`` without these options and their values."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.split("=")[0] in flags:
            skip = "=" not in word
        else:
            kept.append(word)
    return kept
