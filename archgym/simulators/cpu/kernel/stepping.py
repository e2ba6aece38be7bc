"""Runs of one core in parts: prefetchers may change between them, and a run may be copied."""

from collections.abc import Mapping
from typing import Final, final

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.layout import Ints
from archgym.simulators.cpu.kernel.run import Ideal, copy_of, counters_of, state_of, warm_up
from archgym.simulators.cpu.kernel.state import make_weights
from archgym.simulators.cpu.kernel.warmup import key_of
from archgym.simulators.cpu.machine import Machine
from archgym.simulators.cpu.workloads import InstructionTrace

SWITCHABLE: Final[Mapping[str, int]] = {
    "l1i_prefetcher": lay.L1I,
    "l1d_prefetcher": lay.L1D,
    "l2_prefetcher": lay.L2C,
}
"""Cache of each parameter that may change during a run."""
STRIDES: Final = (lay.L1D, lay.L2C)


def switch_prefetchers(state: Ints, wanted: Mapping[int, int], now: int) -> None:
    """Choose the prefetchers of a core from the next cycle on.

    A prefetcher that is off sees nothing, so that its table is that of before when it is on again.
    Prefetches that were queued, and a look-ahead that has begun, still come.

    Args:
      state: State of the core, changed.
      wanted: Number of the prefetcher by cache.
      now: Last cycle that ran.
    """
    for component, number in wanted.items():
        place = lay.CACHES + lay.CACHE_SIZE * component + lay.K_PREFETCHER
        if state[place] != number:
            state[place] = number
            # A cache that has refused look-ups shows them to its prefetcher in every cycle.
            state[lay.WAKE + component] = now


@final
class Core:
    """A core in the counted phase, whose run may stop and continue.

    Attributes:
      state: The machine.
      now: Last cycle that ran.
    """

    def __init__(
        self,
        parameters: Machine,
        trace: InstructionTrace,
        warmup: int,
        length: int,
        ideal: Ideal | None = None,
    ) -> None:
        """Warm the core up; arguments are those of `run.run`."""
        from archgym.simulators.cpu.kernel import core

        self._kernel = core
        self._trace, self._region = trace, (warmup, length)
        self.state = state_of(parameters, trace, self._region, ideal, strides=STRIDES)
        self._weights = make_weights(parameters)
        key = key_of(parameters, trace, warmup, (ideal, STRIDES))
        self.now = warm_up(self.state, self._weights, trace, warmup, key)
        self._begin, self._retired = self.now, int(self.state[lay.G_RETIRED])
        self._begins = 1

    @property
    def n_retired(self) -> int:
        """Instructions that have retired since counting began."""
        return int(self.state[lay.G_RETIRED]) - self._retired

    @property
    def n_cycles(self) -> int:
        """Cycles since counting began."""
        return self.now - self._begin

    @property
    def is_over(self) -> bool:
        """True if all instructions have retired, or the machine cannot continue."""
        status = int(self.state[lay.G_STATUS])
        return self.n_retired >= self._region[1] or status != lay.STATUS_OK

    def advance(self, until: int) -> None:
        """Run until instructions have retired; the last cycle may retire a few more."""
        until = self._retired + min(until, self._region[1])
        self.now = self._kernel.advance(
            self.state, self._weights, self._trace.records, self.now, until, self._begins
        )
        self._begins = 0

    def copy(self, into: "Core | None" = None) -> "Core":
        """Return an independent core that continues alike; `into` is one that is used again."""
        return copy_of(self, into, ("state", "_weights"))

    def finish(self) -> Ints | None:
        """Return the counters as `run.run` does; the core stays as it is."""
        state = self.state.copy()
        self._kernel.settle(state, self.now, 0)
        return counters_of(state, (self.n_cycles, self.n_retired), self._trace, self._region)
