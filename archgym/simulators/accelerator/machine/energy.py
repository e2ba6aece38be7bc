"""Energy and area of components at 45 nm from published tables, and scaling to other nodes.

Sources:

- Registers, adders, multipliers, comparators: Aladdin (Shao et al., ISCA 2014), its 45 nm tables at
  5 ns, as Accelergy 0.3 (Wu et al., ICCAD 2019) uses them;
- SRAM: CACTI 7 (Balasubramonian et al., TACO 2017) run at 45 nm, `data/sram.csv`;
- DRAM: energy a bit of LPDDR4 in Accelergy's table, after Malladi et al., ISCA 2012.
"""

import csv
import math
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

import numpy as np

from archgym.physics.arrays import TABLE_NODE, cells, node_ratios
from archgym.physics.economics import NODES
from archgym.simulators.kit import InvalidArgumentError

# Clock of these components: Aladdin's tables are for 5 ns.
CLOCK_MHZ: Final = 200.0

# Aladdin, 45 nm, 5 ns [pJ, um2].
_REGISTER_BIT_PJ, _REGISTER_BIT_UM2 = 0.009, 5.98
_COMPARATOR_32_PJ, _COMPARATOR_32_UM2 = 0.029015, 70.0
_ADDER_32_PJ, _ADDER_32_IDLE_PJ, _ADDER_32_UM2 = 0.0857, 0.0119, 179.0
_MULTIPLIER_32_PJ, _MULTIPLIER_32_UM2 = 8.63, 4600.0
# Accelergy's DRAM table: LPDDR4.
DRAM_PJ_PER_BIT: Final = 8.0
# CACTI supports no memory of fewer lines; smaller ones cost the same.
_LEAST_LINES: Final = 32
# chosen: up to here the cost that is left out is met within 28 % in the median; see the README.
_MOST_TIMES_DEEPER: Final = 4
# From CACTI's own 45 and 65 nm rows of `data/sram.csv`.
_ENERGY_EXPONENT: Final = 1.6
_AREA_EXPONENT: Final = 2.0


class Cost(NamedTuple):
    """Energy of an access [pJ] and area [um2].

    `is_estimated` is true if no table has this memory, and its costs follow from those of others.
    """

    read_pj: float
    write_pj: float
    area_um2: float
    is_estimated: bool = False

    @property
    def of_level(self) -> dict[str, Any]:
        """Fields of a `Level` with this cost."""
        prices = {"read_energy_pj": self.read_pj, "write_energy_pj": self.write_pj}
        return {**prices, "area_um2": self.area_um2, "is_estimated": self.is_estimated}

    def plus(self, other: "Cost") -> "Cost":
        """Return the sum of two costs."""
        return Cost(
            self.read_pj + other.read_pj,
            self.write_pj + other.write_pj,
            self.area_um2 + other.area_um2,
            self.is_estimated or other.is_estimated,
        )

    def times(self, read: float, write: float, area: float) -> "Cost":
        """Return the cost with each part multiplied by a factor."""
        parts = (self.read_pj * read, self.write_pj * write, self.area_um2 * area)
        return Cost(*parts, self.is_estimated)


# Two 16-bit adders, one active and one idle: Accelergy's smart buffers.
_GENERATORS_PJ = (_ADDER_32_PJ + _ADDER_32_IDLE_PJ) * 16 / 32
ADDRESS_GENERATORS: Final = Cost(_GENERATORS_PJ, _GENERATORS_PJ, 2 * _ADDER_32_UM2 * 16 / 32)


def multiply_accumulate(bits: int, adder_bits: int | None = None) -> Cost:
    """Return the cost of a multiplier, which grows with the square of the bits, and an adder.

    `adder_bits` is the width of the adder, by default that of the operands.
    """
    share = bits / 32
    adder = share if adder_bits is None else adder_bits / 32
    energy = _ADDER_32_PJ * adder + _MULTIPLIER_32_PJ * share**2
    return Cost(energy, energy, _ADDER_32_UM2 * adder + _MULTIPLIER_32_UM2 * share**2)


def registers(depth: int, bits: int) -> Cost:
    """Return the cost of a register file: one row of registers and a comparator for each row.

    Source:
      Accelergy 0.3.
    """
    comparing = math.ceil(math.log2(depth)) / 32 * depth if depth > 1 else 0.0
    energy = _REGISTER_BIT_PJ * bits + _COMPARATOR_32_PJ * comparing
    return Cost(energy, energy, _REGISTER_BIT_UM2 * bits + _COMPARATOR_32_UM2 * comparing)


def buffer_registers(depth: int, bits: int) -> Cost:
    """Return the cost of a register file with address generators."""
    return registers(depth, bits).plus(ADDRESS_GENERATORS)


@cache
def _sram_rows() -> dict[tuple[int, int, int, int], Cost | None]:
    path = resources.files("archgym.simulators.accelerator").joinpath("data/sram.csv")
    rows: dict[tuple[int, int, int, int], Cost | None] = {}
    for row in csv.DictReader(path.read_text("utf-8").splitlines()):
        if row["tech"] != "45nm":
            continue
        key = (int(row["width_bits"]), int(row["rw_ports"]), int(row["n_banks"]), int(row["depth"]))
        cells = [row[name] for name in ("read_max_pJ", "write_max_pJ", "area_um2")]
        rows[key] = None
        if cells[0] != "FAIL":
            rows[key] = Cost(float(cells[0]), float(cells[1]), float(cells[2]))
    return rows


@cache
def sram(depth: int, bits: int, banks: int = 1, ports: int = 2) -> Cost | None:
    """Return the cost of an SRAM at 45 nm from CACTI 7; between rows, a power of the depth.

    An SRAM with one port that is not in the table costs a share of one with two ports: see
    `one_port_shares`. The cost says if it is estimated.

    Args:
      depth: Lines of all banks; up to four times as many as the table has. Beyond the table the
        cost grows as that of arrays of the same bytes in `physics/arrays.py`.
      bits, banks: Bits per line and number of banks, which must be in the table.
      ports: Ports that read or write.

    Returns:
      The cost, or None if CACTI rejects the SRAM because a bank is too small.

    Raises:
      InvalidArgumentError: The table lacks this width, ports and banks, or ends far below.
    """
    rows = _sram_rows()
    if ports == 1 and (bits, 1, banks, max(depth, _LEAST_LINES)) not in rows:
        double = sram(depth, bits, banks)
        if double is None:
            return None
        n_bytes = max(depth, _LEAST_LINES) * bits // 8
        shares = one_port_shares(n_bytes, banks)
        return double.times(*shares)._replace(is_estimated=True)
    depths = sorted(d for w, p, b, d in rows if (w, p, b) == (bits, ports, banks))
    if not depths or depth > _MOST_TIMES_DEEPER * depths[-1] or depth < 1:
        known = sorted({(w, p, b) for w, p, b, _ in rows})
        raise InvalidArgumentError(
            f"An SRAM must have a width, ports and banks among {known} and at most "
            f"{_MOST_TIMES_DEEPER} times the lines of the table; got {(bits, ports, banks)} and "
            f"{depth} lines."
        )
    if depth > depths[-1]:
        return _deeper(rows[bits, ports, banks, depths[-1]], depths[-1], depth, bits)
    depth = max(depth, _LEAST_LINES)
    above = min(d for d in depths if d >= depth)
    upper = rows[bits, ports, banks, above]
    below = [d for d in depths if d <= depth]
    if not below:
        return None if banks > 1 else upper
    lower = rows[bits, ports, banks, below[-1]]
    if lower is None or upper is None or above == below[-1]:
        return lower if above == below[-1] else None
    share = math.log(depth / below[-1]) / math.log(above / below[-1])
    read, write, area = (
        a ** (1 - share) * b**share for a, b in zip(lower[:3], upper[:3], strict=True)
    )
    return Cost(read, write, area, is_estimated=True)


def _deeper(end: Cost | None, end_depth: int, depth: int, bits: int) -> Cost | None:
    """Return the cost of an SRAM beyond the table: its end times what arrays of such sizes say."""
    if end is None:
        return None
    small, large = (cells("ram", lines * bits / 8192, 2) for lines in (end_depth, depth))
    return end.times(
        large.read_pj / small.read_pj,
        large.write_pj / small.write_pj,
        large.area_mm2 / small.area_mm2,
    )._replace(is_estimated=True)


def one_port_shares(
    n_bytes: int, banks: int, without: tuple[int, int, int] | None = None
) -> tuple[float, float, float]:
    """Return read energy, write energy and area of an SRAM with one port, over one with two.

    With one bank, shares are interpolated over the logarithm of the bytes between the sizes of the
    table that have both, and constant beyond them: reading takes 0.88 at 384 bytes, 0.79 at 32 KiB
    and 0.55 at 128 KiB. With several banks they are the median of the table's five, 0.39, 0.43 and
    0.43, since they follow neither bytes nor banks. The README has the errors, each row left out.

    Args:
      n_bytes: Bytes of all banks.
      banks: Number of banks.
      without: Bits, banks and lines of a row to leave out, to measure the error of the rule.
    """
    pairs = [
        (bits * depth // 8, np.array(one[:3]) / np.array(two[:3]))
        for (bits, ports, of_banks, depth), one in _sram_rows().items()
        if ports == 1
        and (of_banks > 1) == (banks > 1)
        and (bits, of_banks, depth) != without
        and one is not None
        and (two := _sram_rows().get((bits, 2, of_banks, depth))) is not None
    ]
    if banks > 1:
        found = np.median([share for _, share in pairs], axis=0)
    else:
        sizes = sorted({size for size, _ in pairs})
        # The mean of rows with as many bytes.
        shares = [np.mean([s for size, s in pairs if size == n], axis=0) for n in sizes]
        columns = np.array(shares).T
        found = [np.interp(math.log2(n_bytes), np.log2(sizes), column) for column in columns]
    return float(found[0]), float(found[1]), float(found[2])


def node_shares(node: str) -> tuple[float, float, float]:
    """Return area of memories and of logic, and energy, at a node over those at 45 nm.

    From 45 to 22 nm as `scaled`, from there on by the table of nodes.
    """
    memory, energy, _ = node_ratios(node)
    logic = NODES[node].logic / NODES[TABLE_NODE].logic
    at_22 = scaled(Cost(1.0, 1.0, 1.0), 22)
    return memory * at_22.area_um2, logic * at_22.area_um2, energy * at_22.read_pj


def scaled(cost: Cost, node_nm: float) -> Cost:
    """Scale a cost at 45 nm to another node: energy by length^1.6, area by length^2.

    Args:
      cost: Cost at 45 nm.
      node_nm: Length of the node [nm]; fitted between 45 and 65, plausible from 22 to 180.

    Raises:
      InvalidArgumentError: The node is not between 22 and 180.
    """
    if not 22 <= node_nm <= 180:
        raise InvalidArgumentError(f"`node_nm` must lie between 22 and 180; got {node_nm!r}.")
    ratio = node_nm / 45
    energy, area = ratio**_ENERGY_EXPONENT, ratio**_AREA_EXPONENT
    return cost.times(energy, energy, area)
