"""Spaces of systems: sizes, canonical forms, and the published parametrisation."""

import numpy as np
import pytest

from archgym.errors import InvalidSpaceError
from archgym.simulators.soc import SocSimulator
from archgym.simulators.soc.graph import unroll_values
from archgym.simulators.soc.machine import CLOCKS, WIDTHS
from archgym.spaces.space import DesignSpace

# README of the reference: parameters and designs of `default`, and designs of `farsi`.
SIZES = {
    "audio-decoder": (110, "4.7e+51", "1.9e+53"),
    "cava": (68, "9.5e+36", "1.5e+38"),
    "edge-detection": (63, "2.4e+34", "5.9e+36"),
    "ar-complex": (175, "2.8e+85", "4.4e+90"),
    "radar": (95, "9.3e+50", "8.4e+52"),
    "vio": (87, "6.0e+46", "3.6e+48"),
    "random-12": (95, "7.8e+50", "1.7e+53"),
    "random-20": (135, "4.5e+68", "3.3e+70"),
}


@pytest.mark.parametrize("graph", SIZES)
def test_spaces_have_the_stated_sizes(graph: str) -> None:
    parameters, default, farsi = SIZES[graph]
    spaces = [SocSimulator(space, graph=graph).space for space in ("default", "farsi")]

    assert [space.n_parameters for space in spaces] == [parameters, parameters]
    counts = [f"{space.count_before_renaming().value:.1e}" for space in spaces]
    assert counts == [default, farsi]


def test_unroll_values_are_thinned_evenly_in_the_logarithm() -> None:
    assert unroll_values(1) == (1,)
    assert unroll_values(151) == (1, 2, 4, 8, 16, 32, 64, 128, 151)
    assert unroll_values(151, 6) == (1, 2, 8, 16, 64, 151)
    assert unroll_values(151, 3) == (1, 16, 151)
    assert unroll_values(16)[-1] == 16
    assert len(unroll_values(10**6)) == 17
    assert unroll_values(10**6)[-1] == 10**6


def _relabelled(simulator: SocSimulator, design: dict[str, object], seed: int) -> dict[str, object]:
    """Return the same system under other names of its blocks.

    Processors and memories are permuted; buses are renumbered by a walk over the tree from
    another root. Blocks that no task uses get random values.
    """
    rng = np.random.default_rng(seed)
    graph = simulator.graph
    names = graph.names
    n_buses, n_memories, n_processors = 4, 4, 3
    linked: dict[int, set[int]] = {b: set() for b in range(n_buses)}
    for b in range(1, n_buses):
        parent = int(str(design[f"bus{b}_parent"]))
        linked[b].add(parent)
        linked[parent].add(b)
    root = int(rng.integers(n_buses))
    walk, parents = [root], {root: -1}
    while len(walk) < n_buses:
        frontier = [(b, c) for b in walk for c in linked[b] if c not in parents]
        b, c = frontier[int(rng.integers(len(frontier)))]
        parents[c] = b
        walk.append(c)
    bus = {old: new for new, old in enumerate(walk)}
    memory = rng.permutation(n_memories).tolist()
    processor = rng.permutation(n_processors).tolist()
    used = {design[f"{t}_memory"] for t in names if f"{t}_memory" in design}
    found: dict[str, object] = {}
    for old, new in bus.items():
        found[f"bus{new}_width"] = design[f"bus{old}_width"]
        found[f"bus{new}_clock"] = design[f"bus{old}_clock"]
        if new > 0:
            found[f"bus{new}_parent"] = bus[parents[old]]
    for old, new in enumerate(memory):
        is_used = old in used
        for field, values in (("width", WIDTHS), ("clock", CLOCKS), ("kind", ("sram", "dram"))):
            other = values[int(rng.integers(len(values)))]
            found[f"memory{new}_{field}"] = design[f"memory{old}_{field}"] if is_used else other
        own = bus[int(str(design[f"memory{old}_bus"]))]
        found[f"memory{new}_bus"] = own if is_used else int(rng.integers(n_buses))
    for old, new in enumerate(processor):
        found[f"processor{new}_bus"] = bus[int(str(design[f"processor{old}_bus"]))]
    for t in names:
        on = str(design[f"{t}_on"])
        found[f"{t}_on"] = on if on == "own" else f"p{processor[int(on[1:])]}"
        for field in ("unroll", "clock"):
            if f"{t}_{field}" in design:
                found[f"{t}_{field}"] = design[f"{t}_{field}"]
        if f"{t}_bus" in design:
            found[f"{t}_bus"] = bus[int(str(design[f"{t}_bus"]))]
        if f"{t}_memory" in design:
            found[f"{t}_memory"] = memory[int(str(design[f"{t}_memory"]))]
    return found


@pytest.mark.parametrize("graph", ["cava", "radar"])
def test_relabelled_systems_are_one_design(graph: str) -> None:
    simulator = SocSimulator(graph=graph)
    space = simulator.space
    workload = simulator.workload(graph)
    rng = np.random.default_rng(7)
    # Raw index vectors, not canonical ones, so that all numberings occur.
    indices = rng.integers(space.sizes, size=(1000, space.n_parameters), dtype=np.int64)
    other = space.indices_of_many(
        [_relabelled(simulator, dict(d), seed) for seed, d in enumerate(space.designs(indices))]
    )

    assert (indices != other).any(axis=1).mean() > 0.99
    assert np.array_equal(space.canonical(indices), space.canonical(other))
    first = simulator.evaluate_batch(indices, workload)
    second = simulator.evaluate_batch(other, workload)
    assert np.array_equal(first.values, second.values)
    # Without renaming, the metrics are the same but for rounding.
    raw = simulator.simulate(space._resolved(other), workload).values
    assert np.allclose(raw, first.values, rtol=1e-12, atol=0.0)


def test_canonical_form_is_a_fixed_point_and_designs_that_differ_stay_apart() -> None:
    simulator = SocSimulator()
    space = simulator.space
    designs = space.sample(2000, np.random.default_rng(3))

    assert np.array_equal(space.canonical(designs), designs)
    values = simulator.evaluate_batch(designs, simulator.workload("cava")).values
    assert len(np.unique(designs, axis=0)) >= len(np.unique(values, axis=0))


def test_inactive_parameters_change_nothing_and_active_ones_the_design() -> None:
    simulator = SocSimulator(graph="edge-detection")
    space = simulator.space
    rng = np.random.default_rng(5)
    designs = space.sample(60, rng)
    active = space.active(designs)

    changed = rng.integers(space.sizes, size=designs.shape, dtype=np.int64)
    assert np.array_equal(space.canonical(np.where(active, designs, changed)), designs)
    for row in range(10):
        for column in np.flatnonzero(active[row]):
            other = designs[row].copy()
            other[column] = (other[column] + 1) % space.sizes[column]
            name = space.names[column]
            # A block's bus or a task's place may be another label of the same system.
            if name.endswith(("_width", "_clock", "_kind", "_unroll")):
                assert not np.array_equal(space.canonical(other[None])[0], designs[row]), name


def test_space_keeps_its_canonical_form_in_json() -> None:
    space = SocSimulator().space
    back = DesignSpace.from_json(space.to_json())
    raw = np.random.default_rng(1).integers(space.sizes, size=(50, space.n_parameters))

    assert back == space
    assert np.array_equal(back.canonical(raw), space.canonical(raw))


@pytest.mark.parametrize(
    "form",
    [
        3,
        {"form": "../os"},
        {"form": "absent"},
        {"form": "soc"},
        {
            "form": "soc",
            "buses": 10**9,
            "memories": 1,
            "processors": 1,
            "tasks": ["a"],
            "edges": [],
        },
        {
            "form": "soc",
            "buses": 1,
            "memories": 1,
            "processors": 1,
            "tasks": ["a"],
            "edges": [[0, 9]],
        },
    ],
)
def test_hostile_canonical_form_is_refused(form: object) -> None:
    data = {**SocSimulator().space.to_json(), "canonical_form": form}

    with pytest.raises(InvalidSpaceError):
        DesignSpace.from_json(data)


def test_distinct_systems_of_a_space_are_estimated() -> None:
    space = SocSimulator("small").space
    counted = space.count()

    # Two memories: nearly every design has a twin with the memories swapped.
    assert not counted.exact
    assert counted.low <= counted.value <= counted.high
    assert 0.49 < counted.value / space.count_before_renaming().value < 0.51


@pytest.mark.parametrize(
    ("graph", "percent"), [("edge-detection", 0.68), ("cava", 0.61), ("audio-decoder", 0.47)]
)
def test_share_of_valid_published_actions_is_as_stated(graph: str, percent: float) -> None:
    simulator = SocSimulator("archgym-2023", graph=graph)
    space = simulator.space
    rng = np.random.default_rng(0)
    n = 100_000
    indices = rng.integers(space.sizes, size=(n, space.n_parameters), dtype=np.int64)

    _, reason = simulator._space.machine_of(indices)

    share = 100.0 * float((reason == 0).mean())
    # Three standard deviations of 100,000 draws.
    assert abs(share - percent) < 3 * 100 * np.sqrt(percent / 100 / n)


def test_published_designs_never_meet_the_budgets() -> None:
    # SPEC of the reference, section 18: the least power is 0.031 to 0.043 W, the budget 0.0087 W.
    simulator = SocSimulator("archgym-2023", "farsi", graph="edge-detection")
    indices = simulator.space.sample(20_000, np.random.default_rng(1))
    result = simulator.evaluate_batch(indices, simulator.workload("edge-detection"))
    column = [spec.name for spec in simulator.metrics].index("power_w")

    assert (result.reason == 0).sum() > 50
    assert np.nanmin(result.values[:, column]) > 0.03
