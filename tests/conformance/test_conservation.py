"""Laws of conservation, over all simulators, spaces, fidelities, options and workloads.

`python -m tests.conformance.test_conservation [NUMBER] [NAME ...]` draws 2,000 designs that can be
built for each simulator and prints, by law, the smallest quantity over its least value.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from archgym.errors import ArchGymError
from archgym.evaluation.capabilities import fitted
from archgym.evaluation.conservation import Laws
from archgym.evaluation.options import declared_options, make_simulator
from archgym.evaluation.restriction import restrict
from archgym.evaluation.simulator import (
    FAILED,
    FEASIBLE,
    Simulator,
    Workload,
    laws_of,
    simulator_class,
    simulator_names,
)
from tests.toys import ToySimulator

_N = 2000
_QUICK_N = 12
_AT_ONCE = 8


@dataclass
class Tally:
    """Designs of one simulator, and by law their number and smallest ratio."""

    n_designs: int = 0
    kinds: set[tuple[str, ...]] = field(default_factory=set)
    least: dict[str, tuple[int, float]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


def draw(name: str, n: int, seed: int = 0, left_out: Sequence[str] = ()) -> Tally:
    """Evaluate designs of random spaces, fidelities, options and workloads of a simulator."""
    rng, tally = np.random.default_rng(seed), Tally()
    kind = simulator_class(name)
    fidelities = [each for each in kind.spec.fidelity_names if each not in left_out]
    while tally.n_designs < n:
        options: dict[str, Any] = {}
        declared = [option for option in declared_options(kind) if option.samples]
        for option in rng.permutation(np.array(declared, dtype=object))[: rng.integers(0, 3)]:
            options[option.name] = str(rng.choice(option.samples))
        space, fidelity = (
            str(rng.choice(kind.spec.space_names)),
            str(rng.choice(fidelities)),
        )
        try:
            simulator = make_simulator(kind, space, fidelity, options)
            workload = simulator.workload(str(rng.choice(simulator.workload_names())))
            simulator = fitted(simulator, [workload])
        except ArchGymError:
            continue  # options that exclude each other, or a workload that the space has not
        designs = simulator.space.sample(_AT_ONCE, rng)
        designs = np.concatenate([simulator.space.default_indices[None, :], designs])
        _count(tally, simulator, designs, workload)
    return tally


def _count(tally: Tally, simulator: Simulator, designs: np.ndarray, workload: Workload) -> None:
    designs = simulator.space.canonical(designs)
    result = simulator.evaluate_batch(designs, workload)
    where = f"{simulator.space.name} {simulator.fidelity} {dict(simulator.options)} {workload.name}"
    tally.violations += [f"{where}: {text}" for text in result.failures.values()]
    built = result.reason == FEASIBLE
    if not built.any():
        return
    columns = zip((spec.name for spec in simulator.metrics), result.values[built].T, strict=True)
    tally.kinds.add((simulator.space.name, simulator.fidelity, workload.name))
    tally.n_designs += int(built.sum()) + len(result.failures)
    laws = laws_of(simulator, designs[built], dict(columns), workload)
    for text, (found, least) in laws.items():
        possible = np.broadcast_to(np.asarray(least, dtype=np.float64), found.shape)
        known = possible > 0
        count, lowest = tally.least.get(text, (0, np.inf))
        ratio = (found[known] / possible[known]).min(initial=np.inf)
        tally.least[text] = count + int(known.sum()), min(lowest, float(ratio))


@pytest.mark.slow
@pytest.mark.parametrize("name", simulator_names())
def test_no_result_is_beyond_what_conservation_allows(name: str) -> None:
    # It takes seconds a design; the program above draws it, too.
    tally = draw(name, _QUICK_N, left_out=["every-link", "store-and-forward"])

    assert tally.violations == []
    assert len(tally.least) >= 2
    assert any(np.isfinite(least) for _, least in tally.least.values())


class PerpetualSimulator(ToySimulator):
    """A simulator of designs whose time is half of what their bytes need, if they are shallow."""

    def laws(self, indices: np.ndarray, column: Any, workload: Workload) -> Laws:
        """Return a law that designs of the least depth break."""
        return {"time is bytes over bandwidth": (np.ones(len(indices)), 1.0 + (indices[:, 2] == 0))}


@pytest.mark.parametrize("wrapped", [False, True])
def test_result_beyond_physics_is_a_failure_and_never_feasible(wrapped: bool) -> None:
    simulator: Simulator = PerpetualSimulator()
    if wrapped:
        simulator = restrict(simulator, {"mode": "slow"})
    designs = np.array([simulator.space.indices_of(_design(depth)) for depth in (1, 2)])

    result = simulator.evaluate_batch(designs, simulator.workload("light"))

    assert result.reason.tolist() == [FAILED, FEASIBLE]
    assert np.isnan(result.values[0]).all()
    assert "time is bytes over bandwidth; got 1 where at least 2" in result.failures[0]


def _design(depth: int) -> dict[str, Any]:
    return {"mode": "slow", "banks": 4, "depth": depth, "gain": 0.5, "boost": 0}


def main(names: Sequence[str]) -> int:
    """Print the table of simulators and their laws; return 1 if a result breaks one."""
    n = int(names[0]) if names and names[0].isdecimal() else _N
    failed = False
    for name in [name for name in names if not name.isdecimal()] or simulator_names():
        began = time.perf_counter()
        tally = draw(name, n)
        took = time.perf_counter() - began
        failed |= bool(tally.violations)
        print(  # noqa: T201 - a table for people
            f"{name}: {tally.n_designs} designs of {len(tally.kinds)} spaces, fidelities and "
            f"workloads, {len(tally.violations)} violations, {took:.0f} s",
            flush=True,
        )
        for text, (count, least) in sorted(tally.least.items()):
            print(f"  {text:<72} {count:6d}  {least:.4f}")  # noqa: T201
        for text in tally.violations[:5]:
            print(f"  violation: {text}")  # noqa: T201
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
