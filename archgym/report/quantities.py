"""Numbers for people: engineering notation with units, and no exponent such as ``e+05``."""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from archgym.evaluation.metrics import MetricSpec


Cell = str | float | int | None


@final
@dataclass(frozen=True)
class Table:
    """Rows under a title; what a reader sees, and the CSV of the same."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    decimals: int | None = None
    """Format of numbers on the page if all are of one size; files have every digit."""


_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
# Powers of ten of the prefixes in units of metrics; "u" stands for "µ" there.
_POWERS = {prefix: power for power, prefix in _PREFIXES.items()} | {"u": -6, "K": 3}
_BASES = ("s", "J", "W", "Hz", "B", "B/s", "bit/s")
# Time above a second and length of data in bytes have no smaller or larger prefix in use.
_RANGES = {"s": (-15, 0), "B": (0, 12), "B/s": (0, 12), "bit/s": (0, 12)}
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
# chosen: numbers without a prefix are written out from a thousandth to a million.
_LEAST, _MOST = 1e-3, 1e6
# chosen: units of this many letters are words, such as cycles, pins and folds.
_WORD = 4
# chosen: a smaller share is not a change; a larger one is shown as a factor.
_NO_CHANGE, _DOUBLED = 5e-4, 1.0
# chosen: three digits of a percentage would show less as 100 %.
_NEARLY_ALL = 0.99
_THREE_DIGITS = 0.9995


def quantity(value: float | None, unit: str, digits: int = 4) -> str:
    """Return a value with its unit in engineering notation, such as "119.8 µs".

    Args:
      value: Value in `unit`; a dash stands for None and NaN.
      unit: Unit of the metric, such as "ns" or "GB/s".
      digits: Significant digits.

    Example:
      >>> quantity(119_820.0, "ns"), quantity(5.3, "mm2"), quantity(1_053_000.0, "$")
      ('119.8 µs', '5.3 mm²', '$1.053 M')
    """
    if value is None or math.isnan(value):
        return "–"
    if unit == "$":
        return _dollars(value, digits)
    factor, shown = axis_unit(value, unit, digits)
    return f"{plain_number(value * factor, digits)} {shown}".rstrip()


def _dollars(value: float, digits: int) -> str:
    for factor, name in ((1e9, " bn"), (1e6, " M")):
        if abs(value) >= factor:
            return f"${plain_number(value / factor, digits)}{name}"
    return f"${plain_number(value, digits)}"


def axis_unit(value: float, unit: str, digits: int = 4) -> tuple[float, str]:
    """Return the factor and the unit in which a value has one to three digits before its point.

    Args:
      value: Value in `unit`, typical of those that are shown.
      unit: Unit of the metric. A unit that takes no prefix is returned with the factor 1.
      digits: Significant digits, so that 999.99 becomes 1 of the next unit.
    """
    for base in _BASES:
        prefix = unit.removesuffix(base)
        if unit.endswith(base) and prefix in _POWERS:
            size = abs(value) * 10.0 ** _POWERS[prefix]
            if not 0 < size < math.inf:
                return 1.0, _written(unit)
            low, high = _RANGES.get(base, (-15, 12))
            # Rounding first: 999.99 ns is 1 µs.
            power = math.floor(math.log10(float(f"{size:.{digits - 1}e}")) / 3 + 1e-12) * 3
            power = min(max(power, low), high)
            return 10.0 ** (_POWERS[prefix] - power), _PREFIXES[power] + base
    return 1.0, _written(unit)


def _written(unit: str) -> str:
    return unit.replace("mm2", "mm²").replace("ns2", "ns²").replace("uJ", "µJ")


def plain_number(value: float | None, digits: int = 4) -> str:
    """Return a number with thousands separators; very large and small ones as "1.2×10⁹".

    Args:
      value: Number; a dash stands for None and NaN.
      digits: Significant digits; a whole number below a million has all of them.
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(float(f"{value:.{digits - 1}e}"))
    if size == 0:
        return "0"
    if _LEAST <= size < _MOST:
        decimals = max(0, digits - 1 - math.floor(math.log10(size)))
        text = f"{value:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    power = math.floor(math.log10(size) / 3 + 1e-12) * 3
    mantissa = plain_number(value / 10.0**power, digits)
    return f"{mantissa}×10{str(power).translate(_SUPERSCRIPTS)}"


def change_text(share: float) -> str:
    """Return a relative change in percent or as a factor.

    Args:
      share: Change as a share of the old value, such as -0.312.

    Example:
      >>> change_text(-0.3124), change_text(2.7), change_text(1e-5), change_text(-0.998)
      ('-31.2 %', '3.7 times', 'no change', '÷500')
    """
    if not math.isfinite(share):
        return ""
    if abs(share) < _NO_CHANGE:
        return "no change"
    if share > _DOUBLED:
        return f"{plain_number(1 + share, 3)} times"
    if -1 < share < -_NEARLY_ALL:
        return f"÷{plain_number(1 / (1 + share), 3)}"
    # One decimal fits the smallest change; 100 has three digits without it.
    return f"{100 * share:+.1f} %" if abs(share) < _THREE_DIGITS else f"{100 * share:+.0f} %"


def size_text(log_ratio: float) -> str:
    """Return the difference of two rewards in percent or as a factor, without a sign.

    Args:
      log_ratio: Difference of two rewards, the logarithm of a ratio of metrics.

    Example:
      >>> size_text(0.1), size_text(math.log(3.7)), size_text(-1e-8)
      ('10.5 %', '3.7 times', 'less than 0.05 %')
    """
    # A ratio beyond this has no meaning in percent and would overflow.
    text = change_text(math.expm1(min(abs(log_ratio), 700.0)))
    return "less than 0.05 %" if text == "no change" else text.removeprefix("+")


def grouped_number(value: float | None) -> str:
    """Return a number with six significant digits and thousands separators; a dash for NaN.

    Whole millions are written out, for tables whose columns have one unit.

    Example:
      >>> grouped_number(295_563_750.0), grouped_number(171_453.75), grouped_number(0.25)
      ('295,563,750', '171,454', '0.25')
    """
    if value is None or math.isnan(value):
        return "–"
    if 1e6 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    if 1e-4 <= abs(value) < 1e6:
        return f"{value:,.6g}"
    return plain_number(value, 6)


def counted(n: int, noun: str) -> str:
    """Return a number of things in words, such as "2 runs"."""
    several = f"{noun[:-1]}ies" if noun == "study" else f"{noun}s"
    return f"{n:,} {noun if n == 1 else several}"


def metric_title(spec: "MetricSpec") -> str:
    """Return the name of a metric in words, without its unit: "total time" of `total_time_ns`.

    A unit that is a word stays: "total cycles".
    """
    if spec.unit.isalpha() and len(spec.unit) >= _WORD:
        return spec.name.replace("_", " ")
    unit = spec.unit.lower().replace("/", "_per_").replace(" ", "_").replace("%", "percent")
    bare = spec.name.removesuffix(f"_{unit}") if unit else spec.name
    # A probability of 99.5 % in a name.
    return re.sub(r"^p(\d+)_(\d+)_", r"p\1.\2_", bare).replace("_", " ")
