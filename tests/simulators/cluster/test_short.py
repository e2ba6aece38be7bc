"""Iterations of few microbatches, extrapolated, are near the whole ones."""

from dataclasses import replace

import numpy as np
import pytest

from archgym.errors import UnknownNameError
from archgym.simulators.cluster import ClusterSimulator
from archgym.simulators.cluster.machine.design import Built
from archgym.simulators.cluster.runs import Result, run, run_short


def built(microbatches: int) -> Built:
    """Return the default design of space parallel with another number of microbatches."""
    simulator = ClusterSimulator("parallel")
    workload = simulator.workload("llama2-70b")
    made = simulator.built(
        dict(simulator.space.design_at(simulator.space.default_indices)), workload
    )
    return replace(made, parallelism=replace(made.parallelism, microbatches=microbatches))


def results(fidelity: str) -> tuple[np.ndarray, np.ndarray]:
    simulator = ClusterSimulator("parallel", fidelity=fidelity)
    designs = simulator.space.canonical(simulator.space.sample(24, np.random.default_rng(11)))
    found = simulator.simulate(designs, simulator.workload("llama2-70b"))
    names = [spec.name for spec in simulator.metrics]
    return found.values[:, names.index("time_ms")], found.values[:, names.index("memory_gb")]


def test_short_iterations_are_as_long_as_whole_ones_within_the_stated_error() -> None:
    (whole, memory), (short, same) = results("standard"), results("short")

    is_built = np.isfinite(whole)
    assert is_built.sum() == 11
    assert (np.isfinite(short) == is_built).all()
    assert np.abs(short[is_built] / whole[is_built] - 1.0).max() <= 0.12
    # Memory is that of the whole iteration.
    assert (same[is_built] == memory[is_built]).all()


def test_interleaved_chunks_fill_a_pipeline_later() -> None:
    # By 8 and 16 microbatches on 8 stages the time would be 21 % too short.
    simulator = ClusterSimulator("default")
    changes = {
        **{"npus": (16, 2, 8), "role_1": "ep", "role_2": "pp", "interleave": 2},
        **{"bandwidth_0": 50, "bandwidth_1": 400, "bandwidth_2": 100},
    }
    default = simulator.space.design_at(simulator.space.default_indices)
    design = simulator.built({**default, **changes}, simulator.workload("mixtral-8x7b"))
    assert design.parallelism.microbatches > 24

    whole, short = run(design).outcome, run_short(design).outcome

    assert short.finish_ns.max() == pytest.approx(int(whole.finish_ns.max()), rel=0.02)


def test_iterations_of_few_microbatches_are_run_whole() -> None:
    design = built(microbatches=2)

    assert (run_short(design).outcome.finish_ns == run(design).outcome.finish_ns).all()


def test_each_microbatch_beyond_the_stages_adds_the_same_time() -> None:
    times = [int(run_short(built(microbatches=n)).outcome.finish_ns.max()) for n in (8, 16, 24)]

    assert times[2] - times[1] == pytest.approx(times[1] - times[0], abs=8)
    assert times[0] == pytest.approx(
        int(run(built(microbatches=8)).outcome.finish_ns.max()), rel=0.01
    )


def test_unknown_fidelity_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'short'"):
        ClusterSimulator(fidelity="shrt")


def test_no_npu_ends_before_it_has_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Times of 2 and then 1 would extrapolate to less than nothing.
    whole = run(built(microbatches=2))

    def falling(design: Built, **_: object) -> Result:
        n = design.parallelism.microbatches
        outcome = replace(
            whole.outcome,
            finish_ns=whole.outcome.finish_ns * 0 + 100 - n,
            compute_ns=whole.outcome.compute_ns * 0 + 50 + n,
            busiest_ns=whole.outcome.busiest_ns * 0,
        )
        return replace(whole, outcome=outcome)

    monkeypatch.setattr("archgym.simulators.cluster.runs.run", falling)

    outcome = run_short(built(microbatches=200)).outcome

    assert (outcome.finish_ns == outcome.compute_ns).all()
    assert (outcome.bubble_ns <= outcome.finish_ns).all()
