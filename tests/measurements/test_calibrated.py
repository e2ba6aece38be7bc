"""Calibrated simulators: metrics, intervals, limits with a probability, and identity."""

import json
import pickle
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, StorageError
from archgym.evaluation.restriction import bare
from archgym.evaluation.simulator import BatchResult
from archgym.files.storage import file_checksums
from archgym.measurements.calibrated import CalibratedSimulator
from archgym.measurements.calibration import Declaration, calibration_of
from archgym.measurements.file import Measurement, Measurements, append_measurements
from archgym.report.commands import evaluate_command
from archgym.searching import search
from archgym.studies.spreadsheet import measured
from archgym.studies.study import Study
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator, check_simulator


def plain() -> Task:
    return Task.make(ProvingSimulator("tiny", has_failures=False), "near")


def measured_file(folder: Path, factor: float = 1.3) -> Path:
    task = plain()
    rows = []
    for design in ({"mode": "a", "count": 1}, {"mode": "a", "count": 3}):
        cost = task.evaluate(task.space.indices_of(design)[None]).values[0, 0, 0]
        rows.append(measured(task, design, {"cost_ns": factor * float(cost)}))
    append_measurements(folder / "m.jsonl", rows)
    return folder / "m.jsonl"


def calibrated(path: Path, **choices: object) -> Task:
    simulator = ProvingSimulator("tiny", has_failures=False)
    return Task.make(simulator, "near", measured=path, **choices)  # type: ignore[arg-type]


def metrics_of(task: Task, design: dict[str, object]) -> dict[str, float]:
    values = task.evaluate(task.space.indices_of(design)[None]).values[0, 0]
    return dict(zip((spec.name for spec in task.metrics), values.tolist(), strict=True))


def test_metrics_are_calibrated_next_to_the_simulators_own(tmp_path: Path) -> None:
    task = calibrated(measured_file(tmp_path))
    design: dict[str, object] = {"mode": "a", "count": 2}

    found, own = metrics_of(task, design), metrics_of(plain(), design)

    assert found["simulated_cost_ns"] == own["cost_ns"]
    assert found["cost_ns"] == pytest.approx(1.3 * own["cost_ns"], rel=0.05)
    assert found["low_cost_ns"] < found["cost_ns"] < found["high_cost_ns"]
    assert found["position"] == own["position"]


def test_shares_end_at_their_highest_value() -> None:
    simulator = ProvingSimulator("tiny", has_failures=False)
    first, gain, last = simulator.metrics
    values = simulator.evaluate({"mode": "a", "count": 1}, simulator.workload("near"))
    highest = 1.05 * values["gain_gbs"]
    simulator.spec = replace(simulator.spec, metrics=(first, replace(gain, highest=highest), last))

    found = metrics_of(Task.make(simulator, "near", confidence=0.9), {"mode": "a", "count": 1})

    assert found["high_gain_gbs"] == found["p90_gain_gbs"] == highest
    assert found["low_gain_gbs"] < found["gain_gbs"] == values["gain_gbs"]


def test_ends_of_values_below_zero_are_in_order() -> None:
    simulator = ProvingSimulator("tiny", has_failures=False)
    simulator.simulate = lambda indices, workload: BatchResult(  # type: ignore[method-assign]
        np.full((len(indices), 3), -2.0), np.zeros(len(indices), np.int16), {}
    )

    found = metrics_of(Task.make(simulator, "near", confidence=0.9), {"mode": "a", "count": 1})

    assert found["low_cost_ns"] < found["p10_cost_ns"] < -2.0 < found["p90_cost_ns"]


def test_measured_metric_leaves_others_as_they_are(tmp_path: Path) -> None:
    design: dict[str, object] = {"mode": "a", "count": 2}

    found = metrics_of(calibrated(measured_file(tmp_path)), design)

    assert found["gain_gbs"] == metrics_of(plain(), design)["gain_gbs"]


def test_limits_are_met_with_the_confidence() -> None:
    simulator = ProvingSimulator("tiny", has_failures=False)
    task = Task.make(simulator, "near", subject_to="cost_ns <= 1.5", confidence=0.9)

    found = metrics_of(task, {"mode": "a", "count": 1})

    assert [str(limit) for limit in task.limits] == ["p90_cost_ns <= 1.5"]
    assert "p90_cost_ns<=1.5" in task.id
    assert found["simulated_cost_ns"] < found["p90_cost_ns"] < found["high_cost_ns"]


def test_limit_from_below_takes_the_lower_value() -> None:
    simulator = ProvingSimulator("tiny", has_failures=False)
    task = Task.make(simulator, "near", subject_to="gain_gbs >= 5", confidence=0.9)

    found = metrics_of(task, {"mode": "a", "count": 1})

    assert [str(limit) for limit in task.limits] == ["p10_gain_gbs >= 5"]
    assert found["low_gain_gbs"] < found["p10_gain_gbs"] < found["gain_gbs"]


def test_measurements_and_confidence_are_part_of_the_tasks_identity(tmp_path: Path) -> None:
    path = measured_file(tmp_path)
    simulator = ProvingSimulator("tiny", has_failures=False)
    digests = {
        plain().digest,
        calibrated(path).digest,
        calibrated(path, confidence=0.9).digest,
        Task.make(simulator, "near", confidence=0.9).digest,
    }

    assert len(digests) == 4
    assert calibrated(path).digest == calibrated(path, confidence=0.5).digest


def test_study_continues_with_the_measurements_that_it_was_begun_with(tmp_path: Path) -> None:
    path = measured_file(tmp_path)
    task = calibrated(path)
    with Study.create(tmp_path / "study", task, "random", budget=3) as study:
        study.run()
    append_measurements(path, [measured(plain(), {"mode": "b"}, {"cost_ns": 9.0})])

    recipe = json.loads(json.dumps(task.to_json()))
    again = Task.from_json(recipe, ProvingSimulator("tiny", has_failures=False))

    assert again.digest == task.digest
    assert calibrated(path).digest != task.digest
    with Study.open(tmp_path / "study", again) as study:
        study.run(budget=5)
        assert study.evaluations == 5


def test_file_that_was_replaced_under_a_study_is_refused(tmp_path: Path) -> None:
    path = measured_file(tmp_path)
    recipe = calibrated(path).to_json()
    path.unlink()
    measured_file(tmp_path, 1.6)

    with pytest.raises(FileFormatError, match="must begin with the measurements"):
        Task.from_json(recipe, ProvingSimulator("tiny", has_failures=False))


def test_id_with_measurements_reads_back_with_their_file(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    task = Task.make("dram", "bursty-rw")
    append_measurements(path, [measured(task, {}, {"total_time_ns": 1e5})])
    made = Task.make("dram", "bursty-rw", measured=path, confidence=0.8)

    assert Task.make(made.id, measured=path).digest == made.digest
    assert Task.from_json(made.to_json()).digest == made.digest
    with pytest.raises(InvalidArgumentError, match="--measured FILE"):
        Task.make(made.id)


def test_calibrated_simulator_keeps_the_promises_of_simulators(tmp_path: Path) -> None:
    whole = ProvingSimulator("tiny", has_failures=False)
    simulator = CalibratedSimulator(whole, measured_file(tmp_path), 0.9)

    check_simulator(simulator)
    copy = pickle.loads(pickle.dumps(simulator))
    near = simulator.workload("near")
    indices = simulator.space.default_indices[None]
    assert np.array_equal(
        copy.evaluate_batch(indices, near).values, simulator.evaluate_batch(indices, near).values
    )


def test_confidence_alone_needs_no_file_and_survives_other_processes() -> None:
    simulator = CalibratedSimulator(ProvingSimulator("tiny", has_failures=False), None, 0.9)
    task = Task.make(simulator, "near", subject_to="cost_ns <= 2")

    copy = pickle.loads(pickle.dumps(simulator))

    assert copy.options == simulator.options
    assert Task.from_json(task.to_json(), copy).digest == task.digest
    again = Task.from_json(task.to_json(), ProvingSimulator("tiny", has_failures=False))
    assert again.digest == task.digest


def test_command_line_of_a_calibrated_design_names_the_measurements(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    task = Task.make("dram", "bursty-rw")
    append_measurements(path, [measured(task, {}, {"total_time_ns": 1e5})])
    made = Task.make("dram", "bursty-rw", measured=path, confidence=0.8)

    words = shlex.split(evaluate_command(made, made.space.default_indices))

    assert words[:3] == ["archgym", "evaluate", made.id]
    assert words[-2:] == ["--measured", str(path)]


def test_measurements_of_another_space_say_nothing(tmp_path: Path) -> None:
    other = Task.make(ProvingSimulator("mapping", has_failures=False), "near")
    append_measurements(tmp_path / "m.jsonl", [measured(other, {}, {"cost_ns": 3.0})])
    design: dict[str, object] = {"mode": "a", "count": 2}

    found = metrics_of(calibrated(tmp_path / "m.jsonl"), design)

    assert found["cost_ns"] == found["simulated_cost_ns"]


def test_parameters_can_be_held_under_calibration(tmp_path: Path) -> None:
    task = calibrated(measured_file(tmp_path), fixed={"mode": "a"})

    assert metrics_of(task, {"mode": "a", "count": 2})["cost_ns"] == pytest.approx(
        metrics_of(calibrated(tmp_path / "m.jsonl"), {"mode": "a", "count": 2})["cost_ns"]
    )


def test_search_takes_measurements(tmp_path: Path) -> None:
    simulator = ProvingSimulator("tiny", has_failures=False)

    found = search(
        simulator, workload="near", measured=measured_file(tmp_path), budget=4, agent="random",
        folder=tmp_path / "runs",
    )  # fmt: skip

    assert found.best is not None
    assert "simulated_cost_ns" in found.best.metrics


def test_held_task_with_measurements_is_read_again(tmp_path: Path) -> None:
    append_measurements(
        tmp_path / "m.jsonl",
        [measured(Task.make("cluster"), {}, {"time_ms": 900.0})],
    )
    whole = Task.make("cluster").space.parameter("splits")
    beyond = whole.widened().value(whole.widened().size - 1)

    task = Task.make("cluster", fixed={"splits": beyond}, measured=tmp_path / "m.jsonl")
    plain = Task.make("cluster", fixed={"splits": beyond})

    assert Task.from_json(task.to_json()).id == task.id
    at = task.space.default_indices[None]
    found = dict(zip((s.name for s in task.metrics), task.evaluate(at).values[0, 0], strict=True))
    assert found["simulated_time_ms"] == plain.evaluate(at).values[0, 0, 0]


def test_several_machines_are_named() -> None:
    task = plain()
    rows = [
        measured(task, {"mode": "a", "count": 1}, {"cost_ns": 3.0}, machine=machine)
        for machine in ("one", "two")
    ]
    simulator = task.simulator

    found = calibration_of(simulator, Measurements(rows=tuple(rows)))

    assert any("2 machines (one, two)" in note for note in found.notes)


def test_rows_with_other_options_do_not_correct_a_guessed_error() -> None:
    other = Task.make("dram", "stream", device="ddr4-2400")
    row = measured(other, {}, {"total_time_ns": 1e6})
    simulator = Task.make("dram", "stream").simulator

    found = calibration_of(simulator, Measurements(rows=(row,)))

    assert (found.prior.origin, found.n_runs) == ("exact", 0)
    assert found.notes == (
        "1 measurement has other options (device=ddr4-2400): it says nothing here",
    )


def test_content_of_files_that_options_name_decides(tmp_path: Path) -> None:
    task, path = plain(), tmp_path / "hw.yaml"
    path.write_text("fast")
    made = replace(
        measured(task, {"mode": "a", "count": 1}, {"cost_ns": 9.0}),
        options={"hardware": str(path)},
        files=file_checksums([str(path)]),
    )

    def counted(row: Measurement, named: Path) -> tuple[int, str]:
        source = task.simulator
        options = {"hardware": str(named)}
        of = Declaration(source.name, source.version, source.space, source.metrics, options)
        found = calibration_of(of, Measurements(None, (row,)))
        return found.n_runs, "".join(found.notes)

    path.with_name("copy.yaml").write_text("fast")
    before, copy = counted(made, path), counted(made, path.with_name("copy.yaml"))
    path.write_text("slow")

    assert before[0] == copy[0] == 1
    assert counted(made, path)[0] == 0
    assert "held something else" in counted(made, path)[1]
    # Rows of old do not say what their files held.
    assert counted(replace(made, files={}), path)[0] == 1


def test_spelling_of_a_path_changes_no_learned_correction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("hardware: {preset: h100, n_gpus: 8}\n")
    whole, short, dotted = (
        {"space": "closed-loop", "hardware": text, "clients": "1"}
        for text in (str(tmp_path / "mine.yaml"), "mine.yaml", "./mine.yaml")
    )
    row = measured(Task.make("moe", **whole), {}, {"tpot_mean_ms": 9.0})  # type: ignore[arg-type]
    append_measurements("m.jsonl", [row])

    by_whole, by_short, by_dotted = (
        Task.make("moe", measured="m.jsonl", **options)  # type: ignore[arg-type]
        for options in (whole, short, dotted)
    )

    assert (by_short.id, by_short.digest) == (by_dotted.id, by_dotted.digest)
    assert np.array_equal(by_whole.reference, by_short.reference)


def test_measuring_keeps_the_checksums_of_files(tmp_path: Path) -> None:
    servers = tmp_path / "mine.yaml"
    servers.write_text("hardware: {preset: h100, n_gpus: 8}\n")
    task = Task.make("moe", space="closed-loop", hardware=str(servers), clients="1")

    row = measured(task, {}, {"tpot_mean_ms": 9.0})

    assert row.files == task.to_json()["files"]
    assert append_measurements(tmp_path / "m.jsonl", [row]).rows == (row,)


def test_study_that_moves_with_its_measurements_goes_on(tmp_path: Path) -> None:
    (tmp_path / "old" / "first").mkdir(parents=True)
    plain_task = Task.make("dram", "bursty-rw")
    path = tmp_path / "old" / "first" / "measured.jsonl"
    append_measurements(path, [measured(plain_task, {}, {"total_time_ns": 1e5})])
    task = Task.make("dram", "bursty-rw", measured=path)
    with Study.create(tmp_path / "old" / "study", task, "random", budget=2) as study:
        study.run()
    (tmp_path / "old").rename(tmp_path / "new")
    # Another file of that name is not taken for it.
    other = [measured(plain_task, {}, {"total_time_ns": 2e5})]
    append_measurements(tmp_path / "new" / "study" / "measured.jsonl", other)

    with Study.open(tmp_path / "new" / "study") as study:
        study.run(budget=3)
        assert study.task.digest == task.digest
    (tmp_path / "new" / "first" / "measured.jsonl").rename(tmp_path / "far.jsonl")
    with pytest.raises(StorageError, match="--measured FILE"):
        Study.open(tmp_path / "new" / "study")


def test_metric_with_the_name_of_an_end_is_refused() -> None:
    simulator = ProvingSimulator("tiny", has_failures=False)
    first, second, third = simulator.metrics
    simulator.spec = replace(
        simulator.spec, metrics=(first, replace(second, name=f"low_{first.name}"), third)
    )

    with pytest.raises(InvalidArgumentError, match=f"`low_{first.name}` must have another name"):
        Task.make(simulator, "near", confidence=0.9)


def test_outlier_alone_is_named_as_one_of_the_prior(tmp_path: Path) -> None:
    row = measured(plain(), {"mode": "a", "count": 1}, {"cost_ns": 90.0})

    found = calibration_of(plain().simulator, Measurements(rows=(row,)))

    assert "from what the prior says: it counts less" in "".join(found.notes)


def test_measurements_that_are_gone_are_named_before_the_version_of_a_space(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    append_measurements(path, [])
    data = Task.make("moe", space="closed-loop", measured=path).to_json()
    path.unlink()

    with pytest.raises(StorageError, match="must hold the measurements"):
        Task.from_json(data)


def test_measurements_of_another_space_with_another_version_name_the_space() -> None:
    task = Task.make("moe", space="closed-loop")
    row = measured(task, task.space.default, {"tpot_mean_ms": 30.0})

    found = calibration_of(bare(Task.make("moe").simulator), Measurements(rows=(row,)))

    (note,) = found.notes
    assert note.startswith("1 measurement is of space 'closed-loop' of moe, and not of ")
