"""Warm-ups that several machines share: a run continues from a copy of the state after one.

In a warm-up nothing takes time but hits, and instructions have no registers. So it neither reads
nor writes some parameters of the machine, and machines that differ only in those share it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.layout import Ints
from archgym.simulators.cpu.machine import Machine
from archgym.simulators.cpu.workloads.programs import InstructionTrace

_TIMED: Final = (lay.STLB, lay.L2C, lay.L1I, lay.L1D, lay.ITLB, lay.DTLB, lay.LLC)
_CORE: Final = (
    "registers", "mispredict_penalty", "decode_latency", "dispatch_latency", "schedule_latency",
    "execute_latency",
)  # fmt: skip
_LATE: Final = frozenset(
    (
        *(f"CPU.{name}" for name in _CORE),
        *(f"{lay.COMPONENTS[component]}.fill_latency" for component in _TIMED),
    )
)
# Words of a state that hold parameters of `_LATE`.
_LATE_WORDS: Final = (
    *(lay.G_N_REGISTERS, lay.G_FREE_COUNT, *range(lay.FREE_RING, lay.FREE_RING + 256)),
    *(lay.G_MISPREDICT_PENALTY, lay.G_DECODE_LATENCY, lay.G_DISPATCH_LATENCY),
    *(lay.G_SCHEDULE_LATENCY, lay.G_EXECUTE_LATENCY),
    *(lay.CACHES + lay.CACHE_SIZE * component + lay.K_FILL_LATENCY for component in _TIMED),
)
# By whether the memory is another one, whose parameters then are in the core's words as well.
_OWN: Final = (
    np.array(_LATE_WORDS),
    np.array((*_LATE_WORDS, *range(lay.MEMORY, lay.MEMORY_CHANNELS))),
)
# chosen: a dozen states of the default design; a search needs few at a time.
LIMIT_BYTES: Final = 64 * 2**20
_MOST_SEEN: Final = 4096

Weights = npt.NDArray[np.int8]
Key = tuple[bool, str, int, Hashable, Hashable]
"""Result of `key_of`."""


@final
class WarmUps:
    """States after warm-ups; the one that was not used for longest goes first.

    A state is kept from the second time on that its warm-up is asked for, since a copy costs a
    tenth of a warm-up, and most designs of a search have one of their own.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        """Hold nothing."""
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held: OrderedDict[Key, tuple[Ints, Weights, int]] = OrderedDict()
            self._seen: OrderedDict[int, None] = OrderedDict()
            self.n_shared = 0

    @property
    def n_bytes(self) -> int:
        """Size of the states that are held [byte]."""
        return sum(held[0].nbytes + held[1].nbytes for held in self._held.values())

    def expect(self, key: Key) -> None:
        """Keep the state of this warm-up when it is asked for first."""
        with self._lock:
            self._see(key)

    def warm(self, key: Key, state: Ints, weights: Weights, run: Callable[[], int]) -> int:
        """Bring a machine to the end of its warm-up, and return the last cycle.

        Args:
          key: Result of `key_of`.
          state: State before the first cycle; changed.
          weights: Untrained weights; changed.
          run: Runs the warm-up on both, and returns the last cycle.
        """
        with self._lock:
            found = self._held.get(key)
            is_wanted = found is None and self._see(key)
            if found is not None:
                self._held.move_to_end(key)
                self.n_shared += 1
        if found is not None:
            own = state[_OWN[key[0]]]
            np.copyto(state, found[0])
            state[_OWN[key[0]]] = own
            np.copyto(weights, found[1])
            return found[2]
        now = run()
        if is_wanted and state.nbytes + weights.nbytes <= self._limit:
            kept = state.copy(), weights.copy(), now
            with self._lock:
                self._held[key] = kept
                while self.n_bytes > self._limit:
                    self._held.popitem(last=False)
        return now

    def _see(self, key: Key) -> bool:
        """Return True if a warm-up was seen before, and remember it."""
        number = hash(key)
        is_known = number in self._seen
        self._seen[number] = None
        if len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)
        return is_known


WARM_UPS: Final = WarmUps()
"""The warm-ups of this process."""


def key_of(
    parameters: Machine,
    trace: InstructionTrace,
    warmup: int,
    choices: Hashable,
    has_own_memory: bool = False,
) -> Key:
    """Return the key that machines with an equal warm-up share.

    Args:
      parameters: Every parameter.
      trace: Their trace.
      warmup: Instructions of the warm-up.
      choices: Further choices that decide the state before the first cycle.
      has_own_memory: True where controllers of the DRAM simulator stand for the core's DRAM; they
        answer a warm-up at once.
    """
    own = tuple(
        (name, value)
        for name, value in parameters.items()
        if name not in _LATE and not (has_own_memory and name.startswith("DRAM."))
    )
    return has_own_memory, trace.digest, warmup, choices, own
