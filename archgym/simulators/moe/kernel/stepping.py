"""Serving at the level of steps in parts: scheduling may change, and a run may be copied."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.control import branch_of
from archgym.simulators.moe.kernel.state import NOW, State, Work, new_state
from archgym.simulators.moe.kernel.steps import N_STATISTICS, serve_steps
from archgym.simulators.moe.machine import columns as col
from archgym.simulators.moe.machine.plan import Plan

_WRITTEN: Final = ("choices", "state", "counters", "waits", "statistics")


class Server(NamedTuple):
    """Requests that are being served; fields are the arguments of `serve_steps`."""

    costs: npt.NDArray[np.float64]
    choices: npt.NDArray[np.int64]
    work: Work
    state: State
    table: npt.NDArray[np.float64]
    counters: npt.NDArray[np.float64]
    waits: npt.NDArray[np.float64]
    statistics: npt.NDArray[np.float64]

    @property
    def now_ns(self) -> float:
        """Time at which the run has stopped [ns]."""
        return float(self.state.clocks[NOW])

    def advance(self, until_ns: float = np.inf) -> None:
        """Serve until a time, by default until all requests have ended."""
        serve_steps(*self, until_ns)

    def copy(self, into: "Server | None" = None) -> "Server":
        """Return an independent run that continues alike; `into` is one that is used again."""
        work = branch_of(self.work, into and into.work, ("requests",))
        return branch_of(self, into, _WRITTEN)._replace(work=work)


def begin(ready: Plan, work: Work, table: npt.NDArray[np.float64]) -> Server:
    """Return a run before its first step, with an `occupancy` table of the routing."""
    n = work.requests.shape[1]
    state = new_state(n, max(1, int(ready.choices[col.N_LAYERS])), 1, 1)
    return Server(
        ready.costs, ready.choices.copy(), work, state, table, np.zeros(len(col.COUNTERS)),
        np.zeros((2, n)), np.zeros((2, N_STATISTICS)),
    )  # fmt: skip
