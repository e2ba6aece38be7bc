"""Power over windows of time, and temperatures of a chip's blocks by a first-order network.

The chip is a grid of cells, each with a node in the silicon, in the heat spreader and in the heat
sink below it. Heat flows down and to the neighbours; what lies beyond the chip is three further
nodes. Powers are given: leakage does not grow with temperature here.

Sources: K. Skadron et al., *Temperature-aware microarchitecture*, ISCA 2003, and W. Huang et al.,
*HotSpot: a compact thermal modeling methodology for early-stage VLSI design*, IEEE TVLSI 2006;
sizes and materials are the defaults of HotSpot 7. A package without sink: Micron, *128Mb: x4, x8,
x16 SDRAM*, data sheet, table of simulated thermal impedance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.options import Option

Floats = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.int64]

AMBIENT_C: Final = 45.0
# Thickness [m], conductivity [W/(m K)] and heat capacity [J/(m3 K)] of silicon, spreader and sink.
_LAYERS: Final = ((0.15e-3, 130.0, 1.6303e6), (1e-3, 400.0, 3.55e6), (6.9e-3, 400.0, 3.55e6))
_INTERFACE_M, _INTERFACE_K = 20e-6, 4.0
_SPREADER_M, _SINK_M = 0.03, 0.06
_USUAL_SIDE_M: Final = 0.01
"""chosen: side of a chip, from which the way to the sink's rim is measured. The chip's own side
would change the four floorplans that are compared with HotSpot by at most 0.06 K."""
# Between sink and air: resistance [K/W] and capacity [J/K].
CONVECTION_K_PER_W: Final = 0.1
_CONVECTION_J_PER_K: Final = 140.4
_CELLS: Final = 32
"""chosen: cells along each side; 64 change the hottest block of an EV6 by less than a degree."""
_CELLS_IN_SEARCH: Final = 16
"""chosen: cells of some 0.3 mm along each side of a chip of 20 mm2."""
PACKAGE_K_PER_W: Final = 46.6
"""From the die of a ball-grid package on a board of four layers to air that moves at 1 m/s [K/W];
the table has 42.8 at 2 m/s and 54.5 in still air."""
_STEP: Final = 8
"""chosen: a window of a memory ends at most this many bursts late."""
_DIE_J_PER_K: Final = 0.015
"""chosen: heat capacity of a DRAM's silicon, 60 mm2 and 0.15 mm thick [J/K]."""

WINDOW_METRICS: Final[tuple[MetricSpec, ...]] = (
    MetricSpec("peak_power_mw", "mW", "minimise", 0.1, "Largest mean power of a window."),
    MetricSpec(
        "peak_temperature_c", "C", "minimise", 1e-3,
        "Highest temperature of a structure at the end of a window, in air of 45 C.",
    ),
)  # fmt: skip
"""Further metrics where power is observed over windows."""


@dataclass(frozen=True, kw_only=True)
class ThermalWindow:
    """Options of windows of time whose peaks are metrics, for chips in a package without a sink.

    Attributes:
      window_us: Length of a window [us]; 0 for none.
      sink_k_per_w: Resistance to the air [K/W].
    """

    window_us: Annotated[
        float,
        Option(
            "Windows of time whose largest power and highest temperature are metrics; 0 for none.",
            high=1000,
            unit="us",
        ),
    ] = 0.0
    sink_k_per_w: Annotated[
        float,
        Option(
            "Resistance from the package's die to air; needs `window_us`. 46.6 has no heat sink.",
            low=0.01,
            high=100,
            unit="K/W",
        ),
    ] = PACKAGE_K_PER_W

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """Metrics of windows; none without windows.

        Raises:
          InvalidArgumentError: There are no windows, and a resistance to the air is given.
        """
        if not self.window_us and self != type(self)():
            raise InvalidArgumentError("`sink_k_per_w` needs a `window_us`, such as 1.")
        return WINDOW_METRICS if self.window_us else ()


def worst_window(seconds: Floats, joules: Floats, window_s: float) -> float:
    """Return the largest mean power of any window [W].

    Power is constant within a phase, so that some worst window begins or ends with a phase. The
    whole run counts as a window too, so that no peak is below the mean.

    Args:
      seconds: (n_phases,), lengths of phases.
      joules: (n_phases,), energies.
      window_s: Length of a window.

    Example:
      >>> worst_window(np.array([1.0, 3.0]), np.array([4.0, 3.0]), 2.0)
      2.5
    """
    ends, used = (np.append(0.0, np.cumsum(each)) for each in (seconds, joules))
    length = min(window_s, ends[-1])
    starts = np.clip(np.append(ends, ends - length), 0.0, ends[-1] - length)
    taken = np.interp(starts + length, ends, used) - np.interp(starts, ends, used)
    return float(max(taken.max() / length, used[-1] / ends[-1]))


class Observed(Protocol):
    """Run in parts that counts its energy."""

    @property
    def is_over(self) -> bool:
        """True if all of its work is done."""

    @property
    def n_answered(self) -> int:
        """Work that is done."""

    def advance(self, settings: Any, until: int) -> Floats:
        """Run until so much work is done, and return the counters of the part."""

    def account(self) -> tuple[float, float]:
        """Return energy [pJ] and time [ns] so far."""


def power_course(
    run: Observed, settings: Any, counters: Sequence[str], window_us: float
) -> tuple[Floats, Floats]:
    """Run to the end, and return power [W] and length [s] of each window, (n_windows,).

    Args:
      run: A run before its first event.
      settings: Settings of all of it, as `run.advance` takes them.
      counters: Names of the counters of a part, `time_ps` among them.
      window_us: Least length of a window; less than half of it joins a neighbour.
    """
    ends = [(0.0, 0.0)]
    place, now_us = counters.index("time_ps"), 0.0
    while not run.is_over:
        now_us += 1e-6 * run.advance(settings, run.n_answered + _STEP)[place]
        if run.is_over or now_us - 1e-3 * ends[-1][1] >= window_us:
            ends.append(run.account())
    kept = [ends[-1]]
    for end in reversed(ends[1:-1]):
        # An account ends with a command that may come after the end of the next part's.
        if min(kept[-1][1] - end[1], end[1]) >= 500.0 * window_us and end[0] <= kept[-1][0]:
            kept.append(end)
    energy_pj, time_ns = np.diff(np.array([ends[0], *reversed(kept)]), axis=0).T
    return 1e-3 * energy_pj / time_ns, 1e-9 * time_ns


def hottest_c(
    watts: Floats, seconds: Floats, areas_mm2: Mapping[str, float], k_per_w: float
) -> float:
    """Return the highest temperature of a chip's block at the end of a window [C].

    The chip has run for long at its mean power before, under HotSpot's spreader and sink.

    Args:
      watts: (n_windows, n_blocks), powers in the order of `areas_mm2`.
      seconds: (n_windows,), lengths.
      areas_mm2: Area of each block; 0 for one that is not on the chip.
      k_per_w: Resistance from the heat sink to the air [K/W].
    """
    on_chip = watts[:, [area > 0 for area in areas_mm2.values()]]
    blocks = floorplan({name: area for name, area in areas_mm2.items() if area})
    network = ThermalNetwork(blocks, convection_k_per_w=k_per_w, cells=_CELLS_IN_SEARCH)
    return float(network.course(on_chip, seconds).max())


def package_peaks(
    watts: Floats, seconds: Floats, n_packages: int, k_per_w: float
) -> tuple[float, float]:
    """Return the largest power of a window [mW], and the highest temperature of a package [C].

    Packages share the power alike. Each is one capacity behind one resistance, and has run for long
    at its mean power before.

    Args:
      watts: (n_windows,), power of all packages.
      seconds: (n_windows,), lengths.
      n_packages: Number of packages.
      k_per_w: Resistance from a die to the air [K/W].
    """
    steady = k_per_w * watts / n_packages
    rise = hottest = float(np.average(steady, weights=seconds))
    for goal, length in zip(steady, seconds, strict=True):
        rise = goal + (rise - goal) * np.exp(-length / (k_per_w * _DIE_J_PER_K))
        hottest = max(hottest, rise)
    return 1e3 * float(watts.max()), AMBIENT_C + float(hottest)


@final
@dataclass(frozen=True)
class Block:
    """A rectangle of a floorplan, in metres.

    Attributes:
      name: Its name.
      width: Extent along x.
      height: Extent along y.
      left: Its smallest x.
      bottom: Its smallest y.
    """

    name: str
    width: float
    height: float
    left: float
    bottom: float

    @property
    def area(self) -> float:
        """Area [m2]."""
        return self.width * self.height


def floorplan(areas_mm2: dict[str, float]) -> tuple[Block, ...]:
    """Return a square floorplan of blocks with given areas, in their order.

    The list is halved again and again, each time across the longer side.

    Args:
      areas_mm2: Areas above 0, by block.

    Example:
      >>> blocks = floorplan({"core": 3.0, "cache": 1.0})
      >>> [(b.name, round(1e3 * b.width, 3), round(1e3 * b.height, 3)) for b in blocks]
      [('core', 1.5, 2.0), ('cache', 0.5, 2.0)]
    """
    side = (sum(areas_mm2.values()) * 1e-6) ** 0.5
    return tuple(_halved(list(areas_mm2.items()), side, side, 0.0, 0.0))


def _halved(
    areas: list[tuple[str, float]], width: float, height: float, left: float, bottom: float
) -> list[Block]:
    if len(areas) == 1:
        return [Block(areas[0][0], width, height, left, bottom)]
    sums = np.cumsum([area for _, area in areas])
    cut = int(np.argmin(np.abs(sums[:-1] / sums[-1] - 0.5))) + 1
    share = float(sums[cut - 1] / sums[-1])
    if width >= height:
        near = _halved(areas[:cut], share * width, height, left, bottom)
        return near + _halved(
            areas[cut:], (1.0 - share) * width, height, left + share * width, bottom
        )
    near = _halved(areas[:cut], width, share * height, left, bottom)
    return near + _halved(areas[cut:], width, (1.0 - share) * height, left, bottom + share * height)


@final
class ThermalNetwork:
    """A chip on a spreader and a sink.

    Example:
      >>> network = ThermalNetwork(floorplan({"core": 10.0, "cache": 10.0}))
      >>> hot, cool = network.steady([4.0, 1.0])
      >>> 45.0 < cool < hot < 60.0
      True
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        ambient_c: float = AMBIENT_C,
        convection_k_per_w: float = CONVECTION_K_PER_W,
        cells: int = _CELLS,
    ) -> None:
        """Build the network.

        Args:
          blocks: Rectangles that cover the chip and do not overlap.
          ambient_c: Temperature of the air [C].
          convection_k_per_w: Resistance from the whole sink to the air [K/W].
          cells: Cells along each side of the chip.
        """
        self._ambient = ambient_c
        left, right = _extent([(b.left, b.width) for b in blocks])
        bottom, top = _extent([(b.bottom, b.height) for b in blocks])
        wide, high = (right - left) / cells, (top - bottom) / cells
        along = np.array([_covered(b.left - left, b.width, wide, cells) for b in blocks])
        across = np.array([_covered(b.bottom - bottom, b.height, high, cells) for b in blocks])
        covered = np.einsum("bx,by->bxy", along, across).reshape(len(blocks), -1)
        self._shares = covered / covered.sum(axis=1, keepdims=True)
        self._n = cells * cells
        self._out, self._capacity = _network(wide, high, cells, convection_k_per_w)

    def steady(self, watts: Sequence[float] | Floats) -> Floats:
        """Return the mean temperature of every block under constant powers [C].

        Args:
          watts: (n_blocks,), power of each block.
        """
        return self._of_blocks(self._solver(0.0)(self._powers(watts)))

    def course(self, watts: Floats, seconds: Floats | float) -> Floats:
        """Return temperatures after each of several windows, (n_windows, n_blocks) [C].

        The chip begins at the steady state of the mean powers, as it does after running for long.

        Args:
          watts: (n_windows, n_blocks), powers.
          seconds: Length of each window, or of all.
        """
        lengths = np.broadcast_to(seconds, len(watts))
        rise = self._solver(0.0)(self._powers(np.average(watts, axis=0, weights=lengths)))
        last = 0.0
        found = np.empty(watts.shape)
        for window, powers in enumerate(watts):
            if lengths[window] != last:
                last = lengths[window]
                held = self._capacity / last
                step = self._solver(held)
            rise = step(held * rise + self._powers(powers))
            found[window] = self._of_blocks(rise)
        return found

    def _solver(self, held: Floats | float) -> Callable[[Floats], Floats]:
        """Return a function from heat into nodes to their rise, with heat held per degree."""
        # Loaded where it is needed, as it takes a while.
        from scipy.sparse import csc_matrix
        from scipy.sparse.linalg import splu

        n = len(self._capacity)
        nodes = np.arange(n)
        rows, columns, values = self._out
        rows, columns = np.append(rows, nodes), np.append(columns, nodes)
        values = np.append(values, np.broadcast_to(held, n))
        solve: Callable[[Floats], Floats] = splu(
            csc_matrix((values, (rows, columns)), (n, n))
        ).solve
        return solve

    def _powers(self, watts: Sequence[float] | Floats) -> Floats:
        found = np.zeros(len(self._capacity))
        found[: self._n] = np.asarray(watts) @ self._shares
        return found

    def _of_blocks(self, rise: Floats) -> Floats:
        found: Floats = self._ambient + self._shares @ rise[: self._n]
        return found


def _extent(sides: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in sides), max(low + size for low, size in sides)


def _covered(low: float, size: float, cell: float, cells: int) -> Floats:
    """Return how much of each cell along a side a block covers [m]."""
    edges = cell * np.arange(cells + 1)
    length: Floats = np.minimum(edges[1:], low + size) - np.maximum(edges[:-1], low)
    return np.clip(length, 0.0, None)


def _network(
    wide: float, high: float, cells: int, convection_k_per_w: float
) -> tuple[tuple[Nodes, Nodes, Floats], Floats]:
    """Return conductances by row and column [W/K], and the capacity of each node [J/K].

    A row times the rises of all nodes is the heat that flows out of its node. Entries of the same
    row and column add up.
    """
    n = cells * cells
    grid = np.arange(n).reshape(cells, cells)
    pairs: list[tuple[Nodes, Nodes, float]] = []
    area, width, height = wide * high, cells * wide, cells * high
    capacity = np.zeros(3 * n + 3)
    for layer, (thick, k, heat) in enumerate(_LAYERS):
        at = layer * n + grid
        capacity[at.ravel()] = heat * thick * area
        pairs.append((at[:-1].ravel(), at[1:].ravel(), k * thick * high / wide))
        pairs.append((at[:, :-1].ravel(), at[:, 1:].ravel(), k * thick * wide / high))
    (chip_t, chip_k, _), (spread_t, spread_k, spread_heat), (sink_t, sink_k, sink_heat) = _LAYERS
    first = grid.ravel()
    to_spreader = chip_t / 2 / chip_k + _INTERFACE_M / _INTERFACE_K + spread_t / 2 / spread_k
    # As in HotSpot, the sink begins where the spreader ends.
    to_sink = spread_t / spread_k
    pairs.append((first, n + first, area / to_spreader))
    pairs.append((n + first, 2 * n + first, area / to_sink))
    # Rim of the spreader; sink below it; rim of the sink.
    spreader, below, rim = 3 * n, 3 * n + 1, 3 * n + 2
    spread_m2, sink_m2 = _SPREADER_M**2 - width * height, _SINK_M**2 - _SPREADER_M**2
    for layer, node in ((1, spreader), (2, below)):
        thick, k, _ = _LAYERS[layer]
        for line, length, side in (
            (grid[0], high, width), (grid[-1], high, width),
            (grid[:, 0], wide, height), (grid[:, -1], wide, height),
        ):  # fmt: skip
            # The rim widens outwards: the mean of its inner and outer lengths.
            wider = (1.0 + _SPREADER_M / side) / 2.0
            conductance = k * thick * length * wider / ((_SPREADER_M - side) / 4.0)
            pairs.append((layer * n + line, np.full(cells, node), conductance))
    one = np.array([0])
    pairs.append((one + spreader, one + below, spread_m2 / to_sink))
    ring = 4.0 * (_SPREADER_M + _SINK_M) / 2.0
    # From the middle of the ring below the spreader to that of the rim.
    apart = (_SINK_M - _USUAL_SIDE_M) / 4.0
    pairs.append((one + below, one + rim, sink_k * sink_t * ring / apart))
    capacity[[spreader, below, rim]] = (
        spread_heat * spread_t * spread_m2,
        sink_heat * sink_t * spread_m2,
        sink_heat * sink_t * sink_m2,
    )
    to_air = np.zeros(3 * n + 3)
    to_air[2 * n : 3 * n], to_air[below], to_air[rim] = area, spread_m2, sink_m2
    to_air /= _SINK_M**2
    capacity += _CONVECTION_J_PER_K * to_air
    a = np.concatenate([p[0] for p in pairs])
    b = np.concatenate([p[1] for p in pairs])
    each = np.concatenate([np.full(len(p[0]), p[2]) for p in pairs])
    nodes = np.arange(3 * n + 3)
    rows, columns = np.concatenate([a, b, a, b, nodes]), np.concatenate([b, a, a, b, nodes])
    values = np.concatenate([-each, -each, each, each, to_air / convection_k_per_w])
    return (rows, columns, values), capacity
