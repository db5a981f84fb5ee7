"""Numbers and verdicts in words: one wording for terminal, Markdown and HTML.

A speed-up never appears without its 95 % confidence interval, and a ratio of MACs is never called one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

Tone = Literal["good", "bad", "open", "plain"]

TONES: dict[str, Tone] = {"faster": "good", "slower": "bad", "same": "plain", "inconclusive": "open"}
UNKNOWN = "n/a"


def plain(value: object) -> str:
    """``value`` as one line of printable text, so that a name from a file cannot steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def count(number: float | None) -> str:
    """``41.0 M``, ``812 k``, ``950``."""
    return UNKNOWN if number is None else _scaled(number, ("", " k", " M", " G", " T"))


def size(number: float | None) -> str:
    """Bytes in decimal units: ``1.08 MB``."""
    return UNKNOWN if number is None else _scaled(number, (" B", " kB", " MB", " GB", " TB"))


def milliseconds(number: float | None) -> str:
    """Three significant digits: ``1.23 ms``, ``0.0937 ms``."""
    return UNKNOWN if number is None else f"{_three_digits(number)} ms"


def moment(iso: str) -> str:
    """``2025-06-01 10:00 UTC``; text that is no ISO 8601 moment stays as it is."""
    try:
        return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M %Z}".rstrip()
    except ValueError:
        return iso


def duration(seconds: float) -> str:
    """``41 s``, ``2 min 31 s``, ``3 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def share(part: float | None, whole: float | None) -> str:
    """``part`` of ``whole`` in per cent."""
    return UNKNOWN if part is None or not whole else percent(part / whole)


def percent(fraction: float | None) -> str:
    """``50.1 %``."""
    return UNKNOWN if fraction is None else f"{100 * fraction:.1f} %"


def scientific(number: float | None) -> str:
    """``4.4e-16``, and ``0`` when it is exactly that."""
    return UNKNOWN if number is None else "0" if number == 0 else f"{number:.1e}"


def accuracy(figure: dict[str, Any] | None) -> str:
    """``98.33 % [96.4–99.2]``: per cent, with the 95 % interval when there is one."""
    if figure is None:
        return UNKNOWN
    value = f"{100 * figure['value']:.2f} %"
    return f"{value} {accuracy_interval(figure)}" if figure["ci95"] else value


def accuracy_interval(figure: dict[str, Any]) -> str:
    """``[96.4–99.2]``."""
    low, high = figure["ci95"]
    return f"[{100 * low:.1f}–{100 * high:.1f}]"


def points(difference: float) -> str:
    """A difference of two accuracies in percentage points: ``−0.28 points``."""
    shown = f"{abs(100 * difference):.2f}"
    sign = "±" if float(shown) == 0 else "−" if difference < 0 else "+"
    return f"{sign}{shown} points"


def verdict(comparison: dict[str, Any]) -> str:
    """The whole statement: ``1.90x faster (CI 1.86–1.94, noise floor ±1.3 %, 8x6 rounds)``."""
    word = comparison["verdict"]
    if word in ("faster", "slower"):
        factor, interval = _factor(comparison)
        return f"{factor:.2f}x {word} (CI {_range(interval)}{_noise(comparison)}, {_effort(comparison)})"
    meaning = "no measurable difference" if word == "same" else "inconclusive"
    return f"{meaning} (CI {_range(comparison['speedup_ci95'])})"


def short_verdict(comparison: dict[str, Any]) -> str:
    """The same for a table cell: ``1.90x faster [1.86–1.94]``."""
    word = comparison["verdict"]
    factor, interval = _factor(comparison)
    meaning = {"same": "no difference", "inconclusive": "inconclusive"}.get(word, f"{factor:.2f}x {word}")
    return f"{meaning} [{_range(interval)}]"


def _factor(comparison: dict[str, Any]) -> tuple[float, tuple[float, float]]:
    """The factor in the direction of the verdict; a speed-up unless it is slower."""
    prefix = ("ratio", "ci95") if comparison["verdict"] == "slower" else ("speedup", "speedup_ci95")
    low, high = comparison[prefix[1]]
    return comparison[prefix[0]], (low, high)


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.2f}–{interval[1]:.2f}"


def _noise(comparison: dict[str, Any]) -> str:
    floor = comparison["noise_floor"]
    return "" if floor is None else f", noise floor ±{100 * floor:.1f} %"


def _effort(comparison: dict[str, Any]) -> str:
    return f"{comparison['pairs']}x{comparison['rounds']} rounds"


def _scaled(number: float, units: tuple[str, ...]) -> str:
    amount, step = float(number), 0
    # 999.6 would round to a fourth digit.
    while abs(amount) >= 999.5 and step < len(units) - 1:
        amount, step = amount / 1000, step + 1
    shown = f"{amount:.0f}" if step == 0 else _three_digits(amount)
    return f"{shown}{units[step]}"


def _three_digits(number: float) -> str:
    if number == 0:
        return "0"
    for limit, decimals in ((99.95, 0), (9.995, 1), (0.9995, 2), (0.09995, 3)):
        if abs(number) >= limit:
            return f"{number:.{decimals}f}"
    return f"{number:.4f}"
