"""Units of metrics, and factors between those of one quantity."""

import re
from collections.abc import Mapping
from typing import Final

_PREFIXES: Final[Mapping[str, float]] = {
    "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0,
    "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip
_BASES: Final = ("Hz", "W", "J", "s", "B", "bit", "m2", "m")
_UNIT: Final = re.compile(rf"(?P<prefix>[pnumkKMGTµ]?i?)(?P<base>{'|'.join(_BASES)})")
_PLAIN: Final[Mapping[str, tuple[str, float]]] = {
    "min": ("s", 60.0), "h": ("s", 3600.0), "bytes": ("B", 1.0), "%": ("%", 1.0),
    "percent": ("%", 1.0), "$": ("$", 1.0), "dollars": ("$", 1.0),
}  # fmt: skip


def unit_factor(given: str, wanted: str) -> float | None:
    """Return the factor from one unit to another, or None if they measure different things.

    Prefixes of ten and of two are known, squares of lengths, and quotients such as GB/s.

    Args:
      given: Unit of a number.
      wanted: Unit to convert it to.

    Example:
      >>> unit_factor("us", "ns"), unit_factor("GiB", "MiB"), unit_factor("W", "ns")
      (1000.0, 1024.0, None)
    """
    parts = given.replace("²", "2").split("/"), wanted.replace("²", "2").split("/")
    if len(parts[0]) != len(parts[1]):
        return None
    factor = 1.0
    for place, (one, other) in enumerate(zip(*parts, strict=True)):
        if one == other:
            continue
        mine, theirs = _in_base(one), _in_base(other)
        if mine is None or theirs is None or mine[0] != theirs[0]:
            return None
        ratio = mine[1] / theirs[1]
        factor = factor * ratio if place == 0 else factor / ratio
    # Without the rounding of powers of ten.
    return float(f"{factor:.12g}")


def _in_base(unit: str) -> tuple[str, float] | None:
    """Return the base of a unit and the factor to it, or None for an unknown one."""
    unit = unit.strip()
    if unit in _PLAIN:
        return _PLAIN[unit]
    match = _UNIT.fullmatch(unit)
    if match is None or match["prefix"] not in _PREFIXES:
        return None
    power = 2 if match["base"] == "m2" else 1
    return match["base"], _PREFIXES[match["prefix"]] ** power
