"""Runs of designs that can be built: an iteration, whole or extrapolated."""

from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from archgym.simulators.cluster.kernel.engine import Outcome, simulate
from archgym.simulators.cluster.kernel.iteration import training_graphs
from archgym.simulators.cluster.machine.design import (
    DEADLOCK,
    OVERLOAD,
    TOO_LARGE,
    Built,
    Infeasible,
)
from archgym.simulators.cluster.machine.parallelism import may_stand, memory_bytes
from archgym.simulators.kit import SimulatorError

# Sums of doubles: a link that is always busy is not overloaded.
_ROUNDING: Final = 1e-9


@final
@dataclass(frozen=True)
class Result:
    """Outcome of a run of a design, and its meaning for the whole cluster."""

    built: Built
    outcome: Outcome
    n_simulated: int
    memory_bytes: int

    def check_conservation(self) -> None:
        """Refuse an iteration that is shorter than bytes over bandwidth of any link.

        Only messages that share no link can exceed it; see `System.shared`.

        Raises:
          Infeasible: Says which dimension, and how much its busiest link carries.
        """
        load = self.outcome.busiest_ns / float(self.outcome.finish_ns.max())
        at = int(load.argmax())
        if load[at] > 1.0 + _ROUNDING:
            detail = f": {100.0 * load[at]:.0f} % of it"
            raise Infeasible(OVERLOAD + self.built.places[at], detail)


def run(built: Built, *, straggler: float = 1.0, shortcut: bool = True) -> Result:
    """Run a design.

    Args:
      built: A design that can run.
      straggler: Factor on the compute times of the last NPU.
      shortcut: True to simulate one NPU for each stage where that is exact.

    Raises:
      Infeasible: It ends in a deadlock.
    """
    system, parallelism = built.system, built.parallelism
    has_short = shortcut and straggler == 1.0 and may_stand(system, parallelism)
    if system.shared and not has_short:
        system = replace(system, backend="aware")
    graphs = training_graphs(system, built.layers, parallelism, shortcut=has_short)
    speeds = None
    if straggler != 1.0:
        speeds = [1.0] * (system.n_npus - 1) + [straggler]
    try:
        outcome = simulate(system, graphs, speeds=speeds)
    except SimulatorError:
        raise Infeasible(TOO_LARGE) from None
    if outcome.deadlock:
        raise Infeasible(DEADLOCK)
    memory = memory_bytes(built.layers, parallelism)
    return Result(built, outcome, len(outcome.finish_ns), memory)


def run_short(built: Built, *, straggler: float = 1.0, shortcut: bool = True) -> Result:
    """Run few microbatches of a design, and extrapolate to all of them.

    Beyond one microbatch for each stage a pipeline is full, and each further microbatch adds the
    same work. So iterations of P and 2 P microbatches on P stages are run, and the difference is
    added as often as it is missing. A schedule that interleaves chunks fills twice as slowly: there
    it is 2 P and 3 P. Memory and deadlocks of longer iterations are not extrapolated: memory is
    that of the whole iteration, and a deadlock that comes later is not seen.

    Args:
      built: A design that can run.
      straggler: Factor on the compute times of the last NPU.
      shortcut: True to simulate one NPU for each stage where that is exact.

    Raises:
      Infeasible: One of the two ends in a deadlock.
    """
    parallelism = built.parallelism
    each = parallelism.pp
    few = each if parallelism.interleave == 1 else 2 * each
    if parallelism.microbatches <= few + each:
        return run(built, straggler=straggler, shortcut=shortcut)
    first, second = (
        run(
            replace(built, parallelism=replace(parallelism, microbatches=n)),
            straggler=straggler,
            shortcut=shortcut,
        )
        for n in (few, few + each)
    )
    missing = parallelism.microbatches - few - each
    names = (
        *("finish_ns", "compute_ns", "exposed_ns", "bubble_ns", "sent_bytes"),
        *("busy_ns", "busiest_ns"),
    )
    sums = {}
    for name in names:
        begun, later = getattr(first.outcome, name), getattr(second.outcome, name)
        sums[name] = np.maximum(later + (later - begun) * missing // each, 0)
    # What is extrapolated apart may not contradict each other: no NPU ends before it has computed,
    # nor the last one before links have carried all.
    sums["finish_ns"] = np.maximum(sums["finish_ns"], sums["compute_ns"])
    if built.system.shared:
        carried = int(np.ceil(sums["busiest_ns"].max()))
        last = sums["finish_ns"].argmax()
        sums["finish_ns"][last] = max(sums["finish_ns"][last], carried)
    sums["bubble_ns"] = np.minimum(sums["bubble_ns"], sums["finish_ns"])
    memory = memory_bytes(built.layers, parallelism)
    return replace(
        second, built=built, outcome=replace(second.outcome, **sums), memory_bytes=memory
    )
