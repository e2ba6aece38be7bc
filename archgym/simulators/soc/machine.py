"""Library of blocks: widths, clocks, CACTI's memories, and links of buses."""

import csv
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np

from archgym.physics.arrays import cells, node_ratios
from archgym.simulators.kit import FileFormatError
from archgym.simulators.soc.graph import ENERGY_SCALE, Floats

BANK_BYTES: Final = 256_000
"""FARSI: a memory's size is a multiple of this [byte]."""
KINDS: Final = ("sram", "dram")
"""Kinds of memory, by their number in the kernel."""


WIDTHS: Final = (4, 8, 16, 32, 64, 128)
"""Widths of buses and memories that FARSI's library has [byte]."""
CLOCKS: Final = (1, 4, 6, 8)
"""Clocks of buses, memories and accelerators, in units of 100 MHz."""
# FARSI scales areas of memories from CACTI's 40 nm to the target node.
_AREA_SCALE: Final = 0.07
# CACTI's energies are for 16 bytes.
_ACCESS_BYTES: Final = 16.0


def tree_links(parents: np.ndarray) -> np.ndarray:
    """Return sets of linked buses, (n, B), as bits of a number.

    Args:
      parents: (n, B), the first column is ignored.
    """
    n, n_buses = parents.shape
    links = np.zeros((n, n_buses), dtype=np.int64)
    rows = np.arange(n)
    for b in range(1, n_buses):
        links[:, b] |= np.int64(1) << parents[:, b]
        links[rows, parents[:, b]] |= np.int64(1) << b
    return links


@cache
def cacti(node: str = "") -> Floats:
    """Return J/byte read, J/byte written and m2 by kind and banks of 256,000 bytes, (2, n, 3).

    Sizes that the table leaves out are interpolated linearly; banks 0 repeats 1. Sizes of SRAM
    above its last continue its last two.

    Args:
      node: Node of SRAM, which then has the arrays of `archgym.physics` instead of FARSI's.
    """
    file = resources.files("archgym.simulators.soc").joinpath("data/cacti.csv")
    with resources.as_file(file) as path:
        table = read_cacti(path)
    if node:
        table = table.copy()
        area, energy, _ = node_ratios(node)
        for banks in range(table.shape[1]):
            found = cells("ram", max(1, banks) * BANK_BYTES / 1024, 1)
            joules = [energy * pj * 1e-12 / _ACCESS_BYTES for pj in (found.read_pj, found.write_pj)]
            table[KINDS.index("sram"), banks] = (*joules, area * found.area_mm2 * 1e-6)
        table.flags.writeable = False
    return table


def read_cacti(path: Path) -> Floats:
    """Return a table of memories as `cacti` does.

    Args:
      path: CSV with `subtype`, `bytes`, `read_nj`, `write_nj` (for 16 bytes) and `area_mm2`.

    Raises:
      FileFormatError: A line is not as it must be.
    """
    rows: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
    with path.open("r", encoding="utf-8") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            try:
                banks = float(row["bytes"]) / BANK_BYTES
                values = tuple(float(row[name]) for name in ("read_nj", "write_nj", "area_mm2"))
                rows[row["subtype"]].append((banks, *values))
            except (KeyError, TypeError, ValueError) as error:
                raise FileFormatError(
                    path, number, f"a line must hold a memory; {error}", "Copy the file again"
                ) from None
    if any(len(sizes) < 2 for sizes in rows.values()):
        raise FileFormatError(path, None, "the table must have two sizes of SRAM and of DRAM")
    n = 1 + int(max(sizes[-1][0] for sizes in rows.values()))
    table = np.empty((len(KINDS), n, 3))
    per_byte = 1e-9 / _ACCESS_BYTES * ENERGY_SCALE
    for kind, sizes in enumerate(rows.values()):
        listed = np.array(sizes)
        for column, factor in enumerate((per_byte, per_byte, 1e-6 * _AREA_SCALE)):
            table[kind, :, column] = factor * _continued(listed[:, 0], listed[:, 1 + column], n)
    table.flags.writeable = False
    return table


def _continued(listed: Floats, values: Floats, n: int) -> Floats:
    """Return values at 0 to n - 1: interpolated, then extrapolated from the last two."""
    at = np.arange(n)
    found: Floats = np.interp(at, listed, values)
    slope = (values[-1] - values[-2]) / (listed[-1] - listed[-2])
    beyond = at > listed[-1]
    found[beyond] = values[-1] + slope * (at[beyond] - listed[-1])
    return found
