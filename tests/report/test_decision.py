"""Decisions under a simulator's error."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.function import FunctionSimulator
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.restriction import bare
from archgym.evaluation.simulator import BatchResult
from archgym.measurements import calibration
from archgym.measurements.file import MEASURED_NAME, Measurements, append_measurements
from archgym.measurements.prior import chosen_prior
from archgym.report import decision
from archgym.report.decision import Decision, decide
from archgym.report.study_summary import StudySummary
from archgym.searching import SearchResult, search
from archgym.spaces.expression import P
from archgym.spaces.parameter import PowerOfTwo
from archgym.studies.front import study_front
from archgym.studies.snapshot import read_study
from archgym.studies.spreadsheet import measured
from archgym.studies.study import Study
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator

SIMULATOR = ProvingSimulator("mixed", has_failures=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decision") / "study"
    search(SIMULATOR, workload="near", budget=40, agent="random", folder=folder)
    return folder


def test_probabilities_and_losses_fit_together(folder: Path) -> None:
    found = decide(read_study(folder))

    assert sum(c.p_best for c in found.candidates) == pytest.approx(1.0)
    assert all(c.loss >= 0.0 for c in found.candidates)
    assert found.best.loss == min(c.loss for c in found.candidates)
    assert found.best.low < found.best.reward < found.best.high
    together = sum(c.p_best for c in found.alternatives)
    assert together >= 0.9 - 1e-9
    assert together - min(c.p_best for c in found.alternatives) < 0.9
    assert found.beats(0, 1) + found.beats(1, 0) == pytest.approx(1.0)


def test_recommendation_is_the_best_of_the_study_before_anything_is_measured(folder: Path) -> None:
    log = read_study(folder)
    best = log.best()

    assert best is not None
    assert decide(log).best.seq == best.seq


def test_measurements_of_close_designs_settle_the_choice(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    log = search(SIMULATOR, workload="near", budget=40, agent="random", folder=folder).log
    before = decide(log)
    # The second is in truth 20 % faster than simulated, all others are as simulated.
    rival = before.candidates[1]
    with Study.open(folder, Task.make(SIMULATOR, "near")) as study:
        for candidate in before.candidates[:12]:
            factor = 0.8 if candidate.seq == rival.seq else 1.0
            cost = candidate.metrics["cost_ns"][0] * factor
            study.measure(candidate.design, {"cost_ns": cost}, machine="bench")

    after = SearchResult.read(folder).decide()

    assert (folder / MEASURED_NAME).is_file()
    assert after.best.seq == rival.seq
    assert after.best.is_measured
    assert after.best.p_best > 0.6 > before.candidates[1].p_best
    assert after.best.loss < before.best.loss
    assert after.calibration.n_runs == 12


def test_next_measurement_is_expected_to_reduce_the_loss(folder: Path) -> None:
    found = decide(read_study(folder))

    steps = found.next(3)

    assert len({step.candidate.seq for step in steps}) == 3
    assert steps[0].loss_before == pytest.approx(found.best.loss, rel=0.2)
    for one, other in pairwise(steps):
        assert one.loss_after == other.loss_before
    assert steps[-1].loss_after < 0.9 * steps[0].loss_before


def test_designs_to_measure_for_nothing_are_the_most_likely_ones(tmp_path: Path) -> None:
    path = tmp_path / "study"
    search("dram", workload="stream", budget=12, agent="random", folder=path)
    found = decide(read_study(path))

    named = [step.candidate for step in found.next(2)]

    assert named == list(found.candidates[:2])


def test_metric_that_no_measurement_has_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    task = Task.make(SIMULATOR, "near", maximise="gain_gbs", subject_to="cost_ns <= 1e9")
    with Study.create(folder, task, "random", seed=0, budget=8) as study:
        best = study.run().log.best()
        assert best is not None
        study.measure(best.design, {"cost_ns": 12.0})

    sentences = decide(read_study(folder)).sentences()

    assert "No measurement has gain_gbs: its error is the prior's." in sentences


def test_design_that_misses_a_limit_least_is_named_where_none_meets_it(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    limit = "gain_gbs <= 0.001"
    search(
        SIMULATOR, workload="near", maximise="gain_gbs", subject_to=limit, budget=20,
        agent="random", folder=folder,
    )  # fmt: skip
    log = read_study(folder)

    found = decide(log)

    gains = {c.seq: c.metrics["gain_gbs"][0] for c in found.candidates}
    assert found.best.p_limits == {limit: 0.0}
    assert found.best.seq == min(gains, key=lambda seq: gains[seq])
    assert found.beats(0, 1) > 0.5


def test_measured_metric_beyond_an_exact_prior_counts(tmp_path: Path) -> None:
    folder, task = tmp_path / "study", Task.make("dram", "stream", minimise="mean_latency_ns")
    with Study.create(folder, task, "random", seed=0, budget=6) as study:
        best = study.run().log.best()
        assert best is not None
        # No quantity has an error before it is measured.
        assert decide(read_study(folder)).next(1)[0].candidate.seq == best.seq
        study.measure(best.design, {"mean_latency_ns": 1.2 * best.metrics["mean_latency_ns"]})

    found = decide(read_study(folder))

    assert (found.origin, found.calibration.n_runs) == ("chosen", 1)
    assert any("exact against" in note for note in found.calibration.notes)
    likely = found.candidates[[c.seq for c in found.candidates].index(best.seq)]
    assert likely.metrics["mean_latency_ns"][0] > 1.15 * best.metrics["mean_latency_ns"]
    assert likely.is_measured


def test_measurements_of_the_task_and_of_the_study_count_together(tmp_path: Path) -> None:
    earlier = tmp_path / "m.jsonl"
    rows = [measured(Task.make(SIMULATOR, "near"), {"banks": n}, {"cost_ns": 3.0}) for n in (1, 2)]
    append_measurements(earlier, rows)
    folder, task = tmp_path / "study", Task.make(SIMULATOR, "near", measured=earlier)
    with Study.create(folder, task, "random", seed=0, budget=6) as study:
        study.run()
        study.measure({"banks": 4}, {"cost_ns": 3.0})
    append_measurements(folder / MEASURED_NAME, rows[:1])

    assert decide(read_study(folder)).calibration.n_runs == 3


def test_exact_simulator_is_settled(tmp_path: Path) -> None:
    log = search(
        "dram", workload="bursty-rw", minimise="total_time_ns,power_mw", budget=12, agent="random",
        folder=tmp_path / "runs",
    ).log  # fmt: skip

    found = decide(log)

    assert found.origin == "exact"
    assert found.is_settled
    assert found.best.p_best == 1.0
    assert found.best.loss == 0.0
    assert found.best.low == found.best.high


def test_designs_that_are_alike_are_called_equally_good(tmp_path: Path) -> None:
    simulator = ProvingSimulator("tiny", has_failures=False)
    simulator.simulate = lambda indices, workload: BatchResult(  # type: ignore[method-assign]
        np.full((len(indices), 3), 2.0), np.zeros(len(indices), np.int16), {}
    )
    log = search(simulator, workload="near", budget=6, agent="random", folder=tmp_path / "runs").log
    found = decide(log)
    alike = replace(found, utility=np.zeros_like(found.utility))

    text = " ".join(alike.sentences())

    assert f"is as good as {found.best.evaluation} in all that counts" in text
    assert "beats" not in text
    coin = np.tile([[1.0], [-1.0]], (len(found.utility) // 2, 1)) * np.eye(len(found.candidates))[0]
    text = " ".join(replace(found, utility=coin).sentences())
    one, other = (c.evaluation for c in found.candidates[:2])
    assert f"It is even whether evaluation {one} or {other} is better" in text
    assert "beats" not in text


def test_limit_has_the_probability_to_be_met(tmp_path: Path) -> None:
    log = search(
        SIMULATOR, workload="near", subject_to="gain_gbs <= 6", budget=40, agent="random",
        folder=tmp_path / "runs",
    ).log  # fmt: skip

    usual, sure = decide(log), decide(log, confidence=0.9)

    chance = usual.best.p_limits["gain_gbs <= 6"]
    assert 0.4 < chance < 1.0
    assert sure.best.p_limits["gain_gbs <= 6"] >= 0.9
    assert sure.best.reward <= usual.best.reward


def test_derived_metric_with_an_own_error_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = (
        MetricSpec("time_s", "s", "minimise", 1e-9, "Time."),
        MetricSpec("square", "", "minimise", 1e-9, "Its square.", formula=P("time_s") ** 2),
    )
    space = [PowerOfTwo("ways", 1, 16)]
    simulator = FunctionSimulator(lambda design: {"time_s": 8.0 / design["ways"]}, space, specs)
    log = search(simulator, budget=4, minimise="square", folder=tmp_path / "runs").log

    def spread() -> float:
        return decide(log).best.margin("square")

    inherited = spread()
    # One of its own, of the same size as that of the time.
    own = chosen_prior([replace(spec, formula=None) for spec in specs], "both were measured")
    monkeypatch.setattr(calibration, "shipped_prior", lambda name, specs: own)

    assert inherited == pytest.approx(2.0 * spread(), rel=0.1)


def test_evaluations_are_counted_as_by_a_summary(tmp_path: Path) -> None:
    task = Task.make(SIMULATOR, "near")
    designs = task.space.sample(8, np.random.default_rng(0))
    with Study.log(tmp_path / "study", task) as study:
        study.evaluate(np.repeat(designs, 3, axis=0))
    log = read_study(tmp_path / "study")

    found = decide(log)

    assert found.best.evaluation == StudySummary.read(log).best_evaluation
    for candidate in found.candidates:
        assert candidate.seq == 3 * (candidate.evaluation - 1)
    assert f"Evaluation {found.best.evaluation} is the best of" in " ".join(found.sentences())
    (step,) = found.to_json(1)["next"]
    assert step["seq"] == 3 * (step["evaluation"] - 1)


def test_robust_choice_never_has_a_worse_low_end(folder: Path) -> None:
    log = read_study(folder)

    likely, robust = decide(log), decide(log, robust="p10")

    low = [float(np.quantile(d.utility[:, 0], 0.1)) for d in (likely, robust)]
    assert low[1] >= low[0]
    assert decide(log, robust="expected").best.loss == min(c.loss for c in likely.candidates)


def traded(folder: Path, n: int = 20) -> Decision:
    """Return the decision of a study that trades two terms."""
    log = search(
        SIMULATOR, workload="near", minimise="cost_ns,gain_gbs", budget=n,
        agent="random", folder=folder,
    ).log  # fmt: skip
    return decide(log)


def test_terms_that_are_traded_give_a_set(tmp_path: Path) -> None:
    found = traded(tmp_path / "runs")

    exact = set(study_front(read_study(tmp_path / "runs")).rows.tolist())
    seqs = {c.seq for c in found.front}
    assert exact <= seqs
    assert found.best.seq in exact
    costs = [c.metrics["cost_ns"][0] for c in found.front]
    assert costs == sorted(costs)
    # Somebody is on the front in each draw of the error.
    assert sum(c.p_front for c in found.candidates) >= 1.0
    assert all(c.p_front >= 0.5 or c.seq in exact for c in found.front)
    text = " ".join(found.sentences())
    assert f"{len(found.front)} designs may be on their front." in text
    # Two designs alone are another question than all of them.
    one, other = (c.evaluation for c in found.candidates[:2])
    assert f"Evaluation {one} has the best weighted sum of {len(found.candidates)} with" in text
    assert f"Of {one} and {other} alone, {one} has the better sum with" in text
    assert [c["seq"] for c in found.to_json()["front"]] == [c.seq for c in found.front]


def test_front_keeps_its_ends_where_there_are_too_many_designs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision, "_MOST_DESIGNS", 6)

    found = traded(tmp_path / "runs", 40)

    log = read_study(tmp_path / "runs")
    rows = study_front(log).rows
    ends = {int(log.records.seq[row]) for row in (rows[0], rows[-1])}
    assert len(found.candidates) == 6
    assert len(rows) > 3
    assert ends <= {c.seq for c in found.candidates}


def test_one_term_has_no_set(folder: Path) -> None:
    assert decide(read_study(folder)).front == ()


def test_rate_goes_down_where_the_measured_time_goes_up(tmp_path: Path) -> None:
    study, limit = tmp_path / "study", "tokens_per_s >= 1e-3"
    task = Task.make("cluster", minimise="time_ms", subject_to=limit)
    start = [task.space.design_at(task.space.default_indices)]
    with Study.create(study, task, "random", seed=0, budget=2, start=start) as opened:
        best = opened.run().log.best()
        assert best is not None
        opened.measure(best.design, {"time_ms": 1.25 * best.metrics["time_ms"]})

    found = next(c for c in decide(read_study(study)).candidates if c.seq == best.seq)

    slower, rate = (found.metrics[n][0] / best.metrics[n] for n in ("time_ms", "tokens_per_s"))
    assert slower > 1.2
    assert slower * rate == pytest.approx(1.0)


def test_energy_goes_up_with_the_measured_time(tmp_path: Path) -> None:
    study, limit = tmp_path / "study", "time_ms <= 1e9"
    task = Task.make("cluster", minimise="energy_kj", subject_to=limit)
    start = [task.space.design_at(task.space.default_indices)]
    with Study.create(study, task, "random", seed=0, budget=2, start=start) as opened:
        best = opened.run().log.best()
        assert best is not None
        opened.measure(best.design, {"time_ms": 1.25 * best.metrics["time_ms"]})

    found = decide(read_study(study))

    likely = next(c for c in found.candidates if c.seq == best.seq).metrics["energy_kj"]
    # Power is as uncertain as before.
    assert likely[0] / best.metrics["energy_kj"] == pytest.approx(1.25, abs=0.06)
    assert likely[2] / likely[0] > 1.1
    text = " ".join(found.sentences())
    assert "Errors of time_ms, memory_gb, power_kw are taken as independent" in text


def test_errors_that_count_as_independent_are_named(tmp_path: Path) -> None:
    text = " ".join(traded(tmp_path / "runs").sentences())

    assert "Errors of cost_ns, gain_gbs are taken as independent of each other." in text


def test_study_without_a_feasible_design_is_refused(tmp_path: Path) -> None:
    with Study.create(tmp_path / "study", Task.make(SIMULATOR, "near"), "random", budget=1):
        pass

    with pytest.raises(InvalidArgumentError, match="no feasible design to decide among"):
        decide(read_study(tmp_path / "study"))


def test_two_workloads_are_weighed(tmp_path: Path) -> None:
    log = search(
        SIMULATOR, workload={"near": 2.0, "far": 1.0}, objective="balanced", budget=20,
        agent="random", folder=tmp_path / "runs",
    ).log  # fmt: skip

    found = decide(log)

    best = log.best()
    assert best is not None
    assert found.best.reward == pytest.approx(best.reward)
    assert found.best.metrics["cost_ns"][0] == pytest.approx(best.metrics["cost_ns"])


def test_closest_design_is_the_one_that_misses_the_limit_by_least(tmp_path: Path) -> None:
    folder, limit = tmp_path / "study", "time_ms <= 5.5"
    space = [PowerOfTwo("ways", 1, 16)]
    simulator = FunctionSimulator(
        lambda d: {"time_ms": 6.0 + d["ways"] / 9.0, "gain": float(d["ways"])},
        space, {"time_ms": "none", "gain": "maximise"},
    )  # fmt: skip
    search(simulator, budget=5, agent="grid", subject_to=limit, folder=folder)

    found = decide(read_study(folder), confidence=0.9)

    assert dict(found.best.design) == {"ways": 1}
    assert found.missed == [limit]
    assert found.best.loss == min(c.loss for c in found.candidates)
    text = " ".join(found.sentences())
    assert "comes closest of 5" in text
    assert "To search on: `archgym resume`." in text


def test_equal_designs_have_their_chance_together(tmp_path: Path) -> None:
    held = dict(Task.make("dram", "stream").space.default)
    free = {"scheduler": ["Fifo", "FrFcfs", "FrFcfsGrp"], "request_buffer_size": [1, 2]}
    held = {name: value for name, value in held.items() if name not in free}
    found = decide(
        search("dram", workload="stream", minimise="total_time_ns", fixed=held, values=free,
               budget=6, agent="grid", folder=tmp_path / "s").log
    )  # fmt: skip

    assert found.best.n_equal == 3
    assert found.best.p_equal == pytest.approx(1.0)
    assert found.best.p_best == pytest.approx(1 / 3)
    assert len(found.alternatives) == 1
    assert found.is_settled
    text = " ".join(found.sentences())
    assert "is one of 3 equal designs, and one of them is the best of 4 with 100 %" in text
    assert found.beats(0, 3) == 1.0


def test_next_measurement_starts_from_the_loss_of_the_recommended_design(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    simulator = FunctionSimulator(
        lambda d: {"area": 10.0 - 0.02 / d["ways"], "gain": float(d["ways"])},
        [PowerOfTwo("ways", 1, 256)], {"area": "none", "gain": "maximise"},
    )  # fmt: skip
    specs = (MetricSpec("area", "", "minimise", 1e-6, "A."), simulator.metrics[1])
    simulator = FunctionSimulator(simulator._function, simulator.space, specs)
    search(simulator, budget=9, agent="grid", maximise="gain", subject_to="area <= 10",
           folder=folder)  # fmt: skip

    found = decide(read_study(folder))
    safest = min(found.candidates, key=lambda c: c.loss)

    assert found.next(1)[0].loss_before == pytest.approx(found.best.loss)
    named = f"Evaluation {safest.evaluation} has the least expected loss"
    assert (named in " ".join(found.sentences())) == (found.best.loss - safest.loss >= 0.002)


def test_unknown_error_of_the_objective_gives_no_chance(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    task = Task.make("dram", "stream", minimise="mean_latency_ns")
    Study.create(folder, task, "random", seed=0, budget=4).run()

    found = decide(read_study(folder))

    assert not found.is_settled
    assert "the error of mean_latency_ns is not known." in found.sentences()[-1]


@pytest.mark.parametrize("digits", [4, 5, 7])
def test_measurement_that_agrees_in_its_digits_confirms_an_exact_simulator(digits: int) -> None:
    task = Task.make("dram", "stream", minimise="total_time_ns")
    design = dict(task.space.default)
    simulated = task.evaluate(task.space.indices_of(design)[None]).values[0, 0]
    value = float(simulated[[spec.name for spec in task.metrics].index("total_time_ns")])
    near = float(f"{value:.{digits}g}")

    agrees = calibration.calibration_of(
        bare(task.simulator),
        Measurements(rows=(measured(task, design, {"total_time_ns": near}),)),
    )
    differs = calibration.calibration_of(
        bare(task.simulator),
        Measurements(rows=(measured(task, design, {"total_time_ns": 1.01 * near}),)),
    )

    assert (agrees.prior.origin, agrees.n_runs, agrees.notes) == ("exact", 1, ())
    assert differs.prior.origin == "chosen"


def test_decision_keeps_to_the_measurements_of_its_task(tmp_path: Path) -> None:
    path, task = tmp_path / "m.jsonl", Task.make(SIMULATOR, "near")
    rows = [measured(task, {"banks": n}, {"cost_ns": 3.0}) for n in (1, 2, 4)]
    append_measurements(path, rows[:2])
    calibrated = Task.make(SIMULATOR, "near", measured=path)
    Study.create(tmp_path / "study", calibrated, "random", seed=0, budget=4).run()
    append_measurements(path, rows[2:])

    assert decide(read_study(tmp_path / "study")).calibration.n_runs == 2


def test_measured_values_stand_next_to_calibrated_ones(folder: Path, tmp_path: Path) -> None:
    log = read_study(folder)
    best = decide(log).best
    rows = [measured(Task.make(SIMULATOR, "near"), best.design, {"cost_ns": v}) for v in (2.0, 4.0)]
    append_measurements(tmp_path / "m.jsonl", rows)

    found = decide(log, tmp_path / "m.jsonl")

    (again,) = [c for c in found.candidates if c.seq == best.seq]
    assert again.measured == {"cost_ns": 3.0}
