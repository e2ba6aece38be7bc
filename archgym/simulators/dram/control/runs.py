"""Memory controllers in parts: both kinds, and channels with a controller each."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, final

import numpy as np

from archgym.simulators.dram.controllers.dramsys import dramsys_of
from archgym.simulators.dram.controllers.ramulator import controllers_of
from archgym.simulators.dram.dramsys.kernel.core_power import core_power
from archgym.simulators.dram.ramulator.kernel.run import peak_bytes_per_ps
from archgym.simulators.dram.simulator import DramSimulator
from archgym.simulators.dram.space import machine_of
from archgym.simulators.kit import (
    InvalidArgumentError,
    InvalidDesignError,
    SimulatorError,
    Value,
    Workload,
    sentence,
)
from archgym.simulators.kit.control import Counter, Floats, Part, Run, completed

_AT_ONCE: Final = "Takes effect with the next command of each bank; nothing is drained."
# chosen: ten times the latency at which the counter's range ends.
_LOST_NS: Final = 1e6
"""Latency that a burst counts which is never answered."""
COUNTERS: Final = (
    Counter(name="locality", low=0.0, high=1.0,
        doc="Share of requests that go to the row of their bank's previous request."),
    Counter(name="rate", low=0.0, high=1.0, doc="Share of the data bus's time in use."),
    Counter(name="hits", low=0.0, high=1.0, doc="Share of row hits."),
    Counter(name="misses", low=0.0, high=1.0, doc="Share of requests that found no row open."),
    Counter(name="conflicts", low=0.0, high=1.0, doc="Share that found another row open."),
    Counter(name="writes", low=0.0, high=1.0, doc="Share of writes."),
    Counter(name="backlog", low=1.0, high=4096.0, is_log=True,
        doc="Requests due but not answered, and one."),
    Counter(name="latency_ns", low=10.0, high=100_000.0, is_log=True,
        doc="Mean time from when a request is due to its answer."),
    Counter(name="held_ns", low=1.0, high=100_000.0, is_log=True,
        doc="Part of that time before the request is sent."),
)  # fmt: skip


COSTS: Final = {
    "latency_from_due_ns": "Mean time from when a burst is due to its answer.",
    "p99_latency_ns": "99th percentile of that time in each epoch, their mean over bursts.",
    "energy_pj": "Energy of a burst.",
    "energy_delay": "Energy times mean time of a burst [pJ ns], in each epoch.",
}
_OF_ENERGY: Final = ("energy_pj", "energy_delay")


class _MemoryRun(Run):
    """Counters of both controllers.

    Under some settings controllers cannot continue, as published: bursts that they never answer
    are lost, and the run is over.
    """

    counters = COUNTERS
    costs = COSTS
    _run: Any
    _burst_ps: float
    _n_answered = _n_lost = 0
    _energy_pj = 0.0

    @property
    def is_over(self) -> bool:
        """True if every burst was answered or is lost."""
        return self._n_lost > 0 or bool(self._run.is_over)

    def _advance(self, choices: tuple[Any, ...], until: int) -> Part:
        """Run until bursts are answered, or accepted by Ramulator's controllers."""
        machine = self._run
        is_stuck = False
        try:
            machine.advance(choices[0], until)
        except SimulatorError:
            is_stuck = True
        (
            answered, latency, due, time, accepted, same, writes, hits, misses, conflicts, backlog,
        ) = machine.counters.tolist()  # fmt: skip
        self._n_answered += int(answered)
        lost = self._n_lost = is_stuck * (machine.n_requests - self._n_answered)
        served = max(1.0, hits + misses + conflicts)
        done = max(1.0, answered)
        values = np.array([[
            same / max(1.0, accepted), answered * self._burst_ps / max(1.0, time), hits / served,
            misses / served, conflicts / served, writes / max(1.0, accepted), 1.0 + backlog,
            due / done / 1000.0, (due - latency) / done / 1000.0,
        ]])  # fmt: skip
        cost = due / 1000.0 + _LOST_NS * lost
        return Part(np.array([answered + lost]), np.array([cost]), values)

    def count(self, names: tuple[str, ...]) -> None:
        """Fill in costs from now on; see `Run.count`."""
        super().count(names)
        if {*names} & {*_OF_ENERGY} and not self._has_energy:
            raise InvalidArgumentError(
                f"`cost` must not name {' or '.join(_OF_ENERGY)} of this device, whose energy is "
                "counted after a run; take `device=ddr3-1600` or another with public currents."
            )

    @property
    @abstractmethod
    def _has_energy(self) -> bool:
        """True if energy is counted as a run goes."""

    def _amounts(self, part: Part) -> Mapping[str, Floats]:
        """Return percentile and energy of the last part; see `Run.count`."""
        found: dict[str, Floats] = {}
        work = part.work
        if "p99_latency_ns" in self.counted:
            lost = np.full(self._n_lost, _LOST_NS)
            latencies = np.append(self._run.due_latency_ps / 1000.0, lost)
            last = np.percentile(latencies, 99.0, method="higher") if len(latencies) else 0.0
            found["p99_latency_ns"] = last * work
        if {*self.counted} & {*_OF_ENERGY}:
            before_pj, self._energy_pj = self._energy_pj, self._run.account()[0]
            energy = np.array([self._energy_pj - before_pj])
            found["energy_pj"] = energy
            found["energy_delay"] = energy * part.cost / np.maximum(work, 1.0)
        return found


@final
class DramRun(_MemoryRun):
    """A controller of DRAMSys on a trace, exact in every event."""

    switchable: ClassVar[Mapping[str, str]] = {
        "page_policy": f"{_AT_ONCE} Rows that are open stay open until they are used or replaced.",
        "scheduler": _AT_ONCE,
        "request_buffer_size": "A smaller buffer takes no request until it has drained by itself.",
        "refresh_max_postponed": "Refreshes that are owed beyond it are forced at once.",
        "refresh_max_pulled_in": "Refreshes that were done ahead beyond it stay done.",
    }

    def __init__(
        self, simulator: DramSimulator, design: Mapping[str, Value], workload: Workload
    ) -> None:
        """Begin a run.

        Args:
          simulator: Simulator of the device.
          design: Values of its space; others are the default's.
          workload: The trace.
        """
        from archgym.simulators.dram.dramsys.kernel import stepping

        self._simulator = simulator
        self._design = completed(simulator.space, design)
        indices = _indices(simulator, self._design)
        controller = dramsys_of(simulator)
        self._device = device = controller.device
        arguments = controller.kernel_arguments(simulator.space, indices, workload.content)
        self._run = stepping.Run(arguments)
        self._burst_ps = device.burst_bytes * 1000.0 / device.peak_bandwidth_gbps

    @property
    def _has_energy(self) -> bool:
        """True if no log of commands is needed."""
        return core_power(self._device) is None

    def _choice(self, settings: Mapping[str, Value]) -> np.ndarray:
        """Return the kernel's row of settings; see `Run.choice`."""
        indices = _indices(self._simulator, {**self._design, **settings})
        found: np.ndarray = machine_of(self._simulator.space, indices)[0]
        return found

    def _finish(self) -> Mapping[str, float]:
        """Return the kernel's outputs by name, without energy that needs a log of commands."""
        found: dict[str, float] = self._run.finish()
        if core_power(self._device) is None:
            return found
        return {
            name: value
            for name, value in found.items()
            if "energy" not in name and name not in ("power_mw", "accounted_cycles")
        }


@final
class RamulatorRun(_MemoryRun):
    """Controllers of Ramulator on a trace."""

    switchable: ClassVar[Mapping[str, str]] = {
        "scheduler": _AT_ONCE,
        "row_policy": f"{_AT_ONCE} Precharges that were asked for still come.",
        "cap": _AT_ONCE,
        "wr_low": _AT_ONCE,
        "wr_high": _AT_ONCE,
    }

    def __init__(
        self, simulator: DramSimulator, design: Mapping[str, Value], workload: Workload
    ) -> None:
        """Begin a run; arguments are those of `DramRun`."""
        from archgym.simulators.dram.ramulator.kernel.stepping import Run as Controllers

        self._simulator = simulator
        self._design = completed(simulator.space, design)
        self._controller = controller = controllers_of(simulator)
        c = controller.configuration(self._design)
        self._bursts = controller.bursts(workload.content)
        if controller.refusal(c, self._bursts.end_address):
            raise InvalidArgumentError(
                f"The design must hold workload {workload.name!r}; its capacity or its refreshes "
                "do not fit."
            )
        self._run = Controllers(controller.made, c, self._bursts.requests)
        self._burst_ps = controller.burst_bytes / peak_bytes_per_ps(controller.made, c)

    @property
    def _has_energy(self) -> bool:
        """True if currents are known."""
        return self._controller.has_energy

    def _choice(self, settings: Mapping[str, Value]) -> Any:
        """Return the configuration; see `Run.choice`."""
        design = {**self._design, **settings}
        _indices(self._simulator, design)
        return self._controller.configuration(design)

    def _finish(self) -> Mapping[str, float]:
        """Return the metrics by name."""
        run = self._run
        if self._n_lost:
            raise SimulatorError(f"The controllers never answered {self._n_lost} bursts.")
        return self._controller.metrics_of(run.configuration, self._bursts, run.finish())


@final
class ChannelsRun(Run):
    """Channels with a controller each, an agent each; epochs are in bursts of each channel."""

    switchable: ClassVar[Mapping[str, str]] = {**RamulatorRun.switchable, **DramRun.switchable}
    counters = COUNTERS
    costs = COSTS
    _written = ("_runs",)

    def __init__(self, runs: Sequence[Run]) -> None:
        """Take a run for each channel."""
        self._runs = tuple(runs)
        self.n_agents = len(self._runs)

    @property
    def is_over(self) -> bool:
        """True if every channel is done."""
        return all(run.is_over for run in self._runs)

    def count(self, names: tuple[str, ...]) -> None:
        """Fill in costs from now on; see `Run.count`."""
        super().count(names)
        for run in self._runs:
            run.count(names)

    def _choice(self, settings: Mapping[str, Value]) -> Any:
        """Return settings as every channel takes them; see `Run.choice`."""
        return self._runs[0].choice(settings)

    def _advance(self, choices: tuple[Any, ...], until: int) -> Part:
        """Run every channel until its bursts are answered; see `Run.advance`."""
        pairs = zip(self._runs, choices, strict=True)
        parts = [run.advance((choice,), until) for run, choice in pairs]
        fields = zip(*((part.work, part.cost, part.values) for part in parts), strict=True)
        self._parts = parts
        work, cost, values = map(np.concatenate, fields)
        return Part(work, cost, values)

    def _amounts(self, part: Part) -> Mapping[str, Floats]:
        """Return those of all channels; see `Run.count`."""
        return {n: np.concatenate([each.amounts[n] for each in self._parts]) for n in self.counted}

    def _finish(self) -> Mapping[str, float]:
        """Return the metrics of each channel by name."""
        return {
            f"{name}_{channel}": value
            for channel, run in enumerate(self._runs)
            for name, value in run.finish().items()
        }


def _indices(simulator: Any, design: Mapping[str, Value]) -> np.ndarray:
    """Return (1, n_parameters) of a design.

    Raises:
      InvalidDesignError: The space does not allow it.
    """
    space = simulator.space
    found: np.ndarray = space.canonical(space.indices_of(design)[None, :])
    broken = int(space.violations(found)[0])
    if broken >= 0:
        why = sentence(space.constraints[broken].reason)
        raise InvalidDesignError(f"The design with these settings is infeasible: {why}")
    return found
