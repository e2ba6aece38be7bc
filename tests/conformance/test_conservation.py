"""Laws of conservation, over all simulators, spaces, fidelities, options and workloads.

`python -m tests.conformance.test_conservation [NUMBER] [NAME ...]` evaluates at least 2,000 designs
of each simulator that can be built, of every space with every fidelity and workload in turn, and
prints a table and, by law, the smallest quantity over its least value. It exits with 1 if a result
breaks a law.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isqrt
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from archgym.composition.composition import Composition
from archgym.errors import ArchGymError
from archgym.evaluation.capabilities import fitted
from archgym.evaluation.conservation import Laws, hold_to
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
# Designs at a time with the default one: of parts, all combinations of three designs of each.
_AT_ONCE = 9
_QUICK_AT_ONCE = 4
# Designs of parts that combinations are drawn from, whose results a composition remembers.
_OF_PARTS = 16
_TRIES = 4
# Clusters, by space, for runs that simulate all NPUs or links: larger ones take minutes a design.
_EIGHT: Final = str(Path(__file__).with_name("eight.yaml"))
_NETWORKS: Final[Mapping[str, Mapping[str, str]]] = {
    **{space: {"npus": "8"} for space in ("default", "network", "archgym-astrasim", "table")},
    "parallel": {"system": _EIGHT},
    "cosmic-2025": {"npus": "256"},
}
# Options of spaces and fidelities of which a design takes seconds even so. They are drawn two
# designs at a time, and by the program above alone.
_SLOW_AT_ONCE: Final = 2
_SLOW: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    **{(space, "every-link"): each for space, each in _NETWORKS.items()},
    **{(space, "store-and-forward"): each for space, each in _NETWORKS.items()},
    ("closed-loop", "full"): {"requests": "100"},
    # Of arrays with a memory; combinations of parts, as many as usual.
    ("default", "long"): {"accelerator.layers": "1"},
}
# Options of a run, of which one is drawn, so that runs take milliseconds; others are drawn, too.
_SMALL: Mapping[str, Sequence[Mapping[str, str]]] = {
    "cpu": ({"instructions": "12000"},),
    "cpu+dram": ({"cpu.instructions": "12000"},),
    "translation": ({"records": "10000"},),
    "accelerator+dram": ({"accelerator.layers": "3"},),
    "kv": ({"last": "150"},),
    "kv+dram": ({"kv.last": "150"},),
    "dram": (
        {"requests": "4000"},
        *(
            {"requests": "4000", "device": each}
            for each in ("ddr4", "ddr5", "gddr6", "hbm3", "lpddr5")
        ),
    ),
}


@dataclass
class Tally:
    """Designs of one simulator, and by law their number and smallest ratio."""

    n_designs: int = 0
    kinds: set[tuple[str, ...]] = field(default_factory=set)
    least: dict[str, tuple[int, float]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


def draw(name: str, n: int, seed: int = 0, at_once: int = _AT_ONCE) -> Tally:
    """Evaluate designs of a simulator, of all its spaces, fidelities and workloads in turn.

    Every space with every fidelity and workload is run once before one is run again, each time with
    other options. It ends after the first round in which there are `n` designs, or within the first
    round if there are `n` and fewer at once than usual.
    """
    rng, tally = np.random.default_rng(seed), Tally()
    kind = simulator_class(name)
    is_quick = at_once < _AT_ONCE
    runs = [
        (space, fidelity, workload)
        for space in kind.spec.space_names
        for fidelity in kind.spec.fidelity_names
        if not (is_quick and (space, fidelity) in _SLOW)
        for workload in make_simulator(kind, space, fidelity, {}).workload_names()
    ]
    parts: dict[str, tuple[Composition, np.ndarray]] = {}
    while tally.n_designs < n:
        for space, fidelity, workload in rng.permutation(runs).tolist():
            for simulator in _made(kind, space, fidelity, workload, rng):
                if isinstance(simulator, Composition):
                    key = repr((fidelity, sorted(simulator.options.items())))
                    pool = simulator.space.sample(_OF_PARTS, rng)
                    simulator, pool = parts.setdefault(key, (simulator, pool))
                    designs = _combined(simulator, pool, isqrt(at_once), rng)
                else:
                    number = _SLOW_AT_ONCE if (space, fidelity) in _SLOW else at_once
                    designs = simulator.space.sample(number - 1, rng)
                    designs = np.concatenate([simulator.space.default_indices[None, :], designs])
                _count(tally, simulator, designs, simulator.workload(workload))
            if tally.n_designs >= n and is_quick:
                return tally
    return tally


def _combined(
    simulator: Composition, pool: np.ndarray, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Return all combinations of `n` designs of each part: its default one and some of a pool."""
    chosen = rng.choice(len(pool), n - 1, replace=False)
    some = np.concatenate([simulator.space.default_indices[None, :], pool[chosen]])
    designs = some
    for names in list(simulator.spec.groups.values())[1:]:
        columns = [simulator.space.names.index(each) for each in names]
        designs, others = np.repeat(designs, n, axis=0), np.tile(some, (len(designs), 1))
        designs[:, columns] = others[:, columns]
    return designs


def _made(
    kind: type[Simulator], space: str, fidelity: str, workload: str, rng: np.random.Generator
) -> Iterator[Simulator]:
    """Yield a simulator with at most two drawn options; none if nothing that is drawn can be."""
    declared = np.array([each for each in declared_options(kind) if each.samples], dtype=object)
    for attempt in range(_TRIES):
        small, is_last = _SMALL.get(kind.spec.name, ({},)), attempt == _TRIES - 1
        options: dict[str, Any] = dict(small[0 if is_last else int(rng.integers(len(small)))])
        drawn = 0 if is_last else rng.integers(0, 3)
        for option in rng.permutation(declared)[:drawn]:
            options[option.name] = str(rng.choice(option.samples))
        options |= _SLOW.get((space, fidelity), {})
        for name in [name for name in options if name.endswith("simulated")]:
            of_part = name.removesuffix("simulated")
            options |= {of_part + each: text for each, text in _NETWORKS[space].items()}
        try:
            simulator = make_simulator(kind, space, fidelity, options)
            simulator = fitted(simulator, [simulator.workload(workload)])
        except ArchGymError:
            continue  # options that exclude each other, or a workload that the space does not have
        yield simulator
        return


def _count(tally: Tally, simulator: Simulator, designs: np.ndarray, workload: Workload) -> None:
    designs = simulator.space.canonical(designs)
    where = f"{simulator.space.name} {simulator.fidelity} {dict(simulator.options)} {workload.name}"
    try:
        result = simulator.evaluate_batch(designs, workload)
    except ArchGymError as error:
        tally.violations.append(f"{where}: {error}")
        return
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
    tally = draw(name, _QUICK_N, at_once=_QUICK_AT_ONCE)

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


_MISSES_OF_BUFFER = "time is the row misses' latency over the entries of the buffer"
_ROWS = "time is the rows that were opened over the banks"
_MISSES_AT_ONCE = "cycles are the DRAM's misses times their latency over those at once"


@pytest.mark.parametrize(
    ("options", "changes", "law", "most"),
    [
        ({}, {"request_buffer_size": 1}, _MISSES_OF_BUFFER, 1.5),
        ({"device": "ddr4-2400"}, {"arbiter": "Fifo", "page_policy": "Closed"}, _ROWS, 2.5),
        ({"device": "ddr5"}, {}, _ROWS, 4.5),
    ],
)
def test_time_of_a_memory_that_is_shorter_than_its_misses_take_is_caught(
    options: dict[str, str], changes: dict[str, Any], law: str, most: float
) -> None:
    simulator = make_simulator(simulator_class("dram"), "default", "exact", options)
    workload, design = simulator.workload("random"), simulator.space.default_indices
    names = {parameter.name for parameter in simulator.space.parameters}
    values = {**simulator.space.design_at(design), **changes}
    design = simulator.space.indices_of({name: values[name] for name in names & values.keys()})

    _is_caught_below(simulator, design[None, :], workload, law, most)


@pytest.mark.slow
def test_cycles_of_a_core_that_are_fewer_than_its_misses_take_are_caught() -> None:
    simulator = make_simulator(
        simulator_class("cpu"), "default", "standard", {"instructions": "12000"}
    )
    values = {**simulator.space.design_at(simulator.space.default_indices), "llc_mshr": 8}
    values |= {"dram_queue": 2}
    design = simulator.space.indices_of(values)

    workload = simulator.workload("hash-join")
    _is_caught_below(simulator, design[None, :], workload, _MISSES_AT_ONCE, 4.0)


def _is_caught_below(
    simulator: Simulator, designs: np.ndarray, workload: Workload, law: str, most: float
) -> None:
    """Assert that the law allows a result and its time divided by `most`, and no other one."""
    result = simulator.evaluate_batch(designs, workload)
    names = [spec.name for spec in simulator.metrics]
    rates = [i for i, name in enumerate(names) if name in ("bandwidth_gb_per_s", "ipc")]
    rates += [i for i, name in enumerate(names) if name == "dram_bandwidth_gb_per_s"]
    times = [i for i, name in enumerate(names) if name in ("total_time_ns", "total_cycles")]
    found, least = laws_of(
        simulator, designs, dict(zip(names, result.values.T, strict=True)), workload
    )[law]
    ratio = float((found / least)[0])
    assert 1.0 <= ratio <= most

    for factor, is_caught in ((0.99 * ratio, False), (1.01 * ratio, True)):
        values = result.values.copy()
        values[:, times] /= factor
        values[:, rates] *= factor
        columns = dict(zip(names, values.T, strict=True))
        broken = {law: laws_of(simulator, designs, columns, workload)[law]}
        held = hold_to(simulator.name, broken, np.arange(1), replace(result, values=values))
        assert held.reason.tolist() == [FAILED if is_caught else FEASIBLE]
        assert (law in held.failures.get(0, "")) == is_caught


def main(names: Sequence[str]) -> int:
    """Print tables of simulators and of their laws; return 1 if a result breaks one."""
    n = int(names[0]) if names and names[0].isdecimal() else _N
    tallies: dict[str, Tally] = {}
    heads = ("designs", "spaces", "fidelities", "workloads", "least ratio", "violations", "seconds")
    _print(f"| {'simulator':<20} | " + " | ".join(heads) + " |")
    _print(f"|{'-' * 22}|" + "|".join(f"{'-' * (len(head) + 1)}:" for head in heads) + "|")
    for name in [name for name in names if not name.isdecimal()] or simulator_names():
        began = time.perf_counter()
        tally = tallies[name] = draw(name, n)
        counts = [len({run[i] for run in tally.kinds}) for i in range(3)]
        least = min((least for _, least in tally.least.values()), default=np.inf)
        took = time.perf_counter() - began
        cells = (tally.n_designs, *counts, f"{least:.4f}", len(tally.violations), f"{took:.0f}")
        row = (f"{cell:>{len(head)}}" for head, cell in zip(heads, cells, strict=True))
        _print(f"| {name:<20} | " + " | ".join(row) + " |")
    for name, tally in tallies.items():
        _print("")
        for text, (count, least) in sorted(tally.least.items()):
            _print(f"{name}: {text:<76} {count:6d}  {least:.4f}")
        for text in tally.violations[:5]:
            _print(f"{name}: violation: {text}")
    return int(any(tally.violations for tally in tallies.values()))


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a table for people


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
