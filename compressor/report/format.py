"""Numbers, metrics and verdicts as text: one format for terminal, Markdown and HTML.

A speed-up never appears without its 95 % confidence interval, and a ratio of MACs is never called one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal
from unicodedata import category

from compressor.records import Metric
from compressor.records.benchmark import Comparison, Verdict

Tone = Literal["good", "bad", "open", "plain"]

TONES: dict[Verdict, Tone] = {"faster": "good", "slower": "bad", "same": "plain", "inconclusive": "open"}
UNKNOWN = "n/a"


def plain(value: object) -> str:
    """``value`` as one line in which every character shows, so that text from a file can neither steer nor deceive.

    Line ends and blanks of any width become a space; what else is not printable becomes its escape: control characters
    (``\\x1b``), overrides of the direction of writing, characters of no width (``\\u200b``), lone surrogates.
    """
    text = str(value)
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character in "\n\t" or category(character) == "Zs" else ascii(character)[1:-1]


COUNTS = ("", " k", " M", " G", " T")
BYTES = (" B", " kB", " MB", " GB", " TB")


def count(number: float | None) -> str:
    """``41.0 M``, ``812 k``, ``950``."""
    return UNKNOWN if number is None else _scaled(number, COUNTS)


def size(number: float | None) -> str:
    """Bytes in decimal units: ``1.08 MB``."""
    return UNKNOWN if number is None else _scaled(number, BYTES)


def in_one_unit(numbers: Sequence[float], units: tuple[str, ...]) -> list[str]:
    """Numbers in the unit of the largest, so that they can be compared: ``1.08 MB``, ``0.741 MB``."""
    step = _step(max(numbers, key=abs), units)
    return [_in_unit(number, step, units) for number in numbers]


def milliseconds(number: float | None) -> str:
    """Three significant digits: ``1.23 ms``, ``0.0937 ms``."""
    return UNKNOWN if number is None else f"{_three_digits(number)} ms"


def microseconds(number: float | None) -> str:
    """``645``, ``3.9``: a bare number, for columns whose heading says the unit."""
    return UNKNOWN if number is None else f"{number:.1f}" if number < 9.95 else f"{number:,.0f}"


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


def metric(measured: Metric | None) -> str:
    """``98.33 % [96.4–99.2]``: the value, with the 95 % interval when there is one."""
    if measured is None:
        return UNKNOWN
    value = metric_value(measured)
    if measured.ci95 is None:
        return value
    factor, decimals = (100, ".1f") if measured.unit == "share" else (1, ".4g")
    low, high = (f"{factor * bound:{decimals}}" for bound in measured.ci95)
    return f"{value} [{low}–{high}]"


def metric_value(measured: Metric) -> str:
    """A share as ``98.33 %``, anything else as ``3.142 dB``."""
    if measured.unit == "share":
        return f"{100 * measured.value:.2f} %"
    return f"{measured.value:.4g} {plain(measured.unit)}".rstrip()


def metric_change(before: Metric, after: Metric) -> str:
    """``−0.28 points`` for shares, ``−0.28 dB`` for a unit of its own."""
    difference = after.value - before.value
    if after.unit == "share":
        return points(difference)
    sign = "±" if difference == 0 else "−" if difference < 0 else "+"
    return f"{sign}{abs(difference):.4g} {plain(after.unit)}".rstrip()


def metric_step(difference: float, measured: Metric) -> str:
    """A difference without its unit, already in points for a share: ``+0.28``."""
    shown = f"{abs(difference):.2f}" if measured.unit == "share" else f"{abs(difference):.4g}"
    return f"{'±' if float(shown) == 0 else '−' if difference < 0 else '+'}{shown}"


def metric_title(measured: Iterable[Metric | None]) -> str:
    """The heading of a column of metrics: the name of the first, ``Accuracy`` where none was measured."""
    name = next((plain(one.name) for one in measured if one is not None), "accuracy")
    return name[:1].upper() + name[1:]


def metric_axis(measured: Metric) -> tuple[str, float]:
    """The label of an axis, and what values are multiplied by on it: ``("accuracy, %", 100)``."""
    unit, factor = ("%", 100.0) if measured.unit == "share" else (plain(measured.unit), 1.0)
    return f"{plain(measured.name)}, {unit}".rstrip(", "), factor


def points(difference: float) -> str:
    """A difference of two shares in percentage points: ``−0.28 points``."""
    shown = f"{abs(100 * difference):.2f}"
    sign = "±" if float(shown) == 0 else "−" if difference < 0 else "+"
    return f"{sign}{shown} points"


def verdict(comparison: Comparison) -> str:
    """The whole statement: ``1.90x faster (CI 1.86–1.94, noise floor ±1.3 %, 8x6 rounds)``."""
    if comparison.verdict in ("faster", "slower"):
        effort = f"{comparison.pairs}x{comparison.rounds} rounds"
        return f"{speed(comparison)} (CI {speed_interval(comparison)}{_noise(comparison)}, {effort})"
    meaning = "no measurable difference" if comparison.verdict == "same" else "inconclusive"
    return f"{meaning} (CI {speed_interval(comparison)})"


def short_verdict(comparison: Comparison) -> str:
    """The same for a table cell: ``1.90x faster [1.86–1.94]``."""
    return f"{speed(comparison)} [{speed_interval(comparison)}]"


def speed(comparison: Comparison) -> str:
    """``1.90x faster``, ``no difference`` or ``inconclusive``; never shown without `speed_interval`."""
    match comparison.verdict:
        case "faster":
            return f"{comparison.speedup:.2f}x faster"
        case "slower":
            return f"{comparison.ratio:.2f}x slower"
    return "no difference" if comparison.verdict == "same" else "inconclusive"


def speed_interval(comparison: Comparison) -> str:
    """``1.86–1.94``: of the speed-up, unless the verdict is slower."""
    low, high = comparison.ci95 if comparison.verdict == "slower" else comparison.speedup_ci95
    return f"{low:.2f}–{high:.2f}"


def _noise(comparison: Comparison) -> str:
    floor = comparison.noise_floor
    return "" if floor is None else f", noise floor ±{100 * floor:.1f} %"


def _scaled(number: float, units: tuple[str, ...]) -> str:
    return _in_unit(number, _step(number, units), units)


def _step(number: float, units: tuple[str, ...]) -> int:
    """The place of the unit; 999.6 would round to a fourth digit."""
    amount, step = abs(float(number)), 0
    while amount >= 999.5 and step < len(units) - 1:
        amount, step = amount / 1000, step + 1
    return step


def _in_unit(number: float, step: int, units: tuple[str, ...]) -> str:
    amount = float(number) / 1000**step
    return f"{amount:.0f}{units[0]}" if step == 0 else f"{_three_digits(amount)}{units[step]}"


def _three_digits(number: float) -> str:
    if number == 0:
        return "0"
    for limit, decimals in ((99.95, 0), (9.995, 1), (0.9995, 2), (0.09995, 3)):
        if abs(number) >= limit:
            return f"{number:.{decimals}f}"
    return f"{number:.4f}"
