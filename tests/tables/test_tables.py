"""Tests of exhaustive tables: building, reading, looking up, and what damage does."""

import base64
import json
import pickle
import resource
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from archgym.analysis.pareto import front
from archgym.errors import (
    ArchGymError,
    FileFormatError,
    InvalidArgumentError,
    SimulatorError,
    StorageError,
    StudyInterrupted,
)
from archgym.evaluation.simulator import BatchResult, Workload
from archgym.measurements.file import append_measurements
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.studies.spreadsheet import measured
from archgym.tables import (
    TablePlan,
    TableSimulator,
    build_table,
    partial_folder,
    verify_table,
)
from archgym.tables.simulation import Pace
from archgym.tables.writing import parameter_array
from archgym.tasks.task import Task
from archgym.testing import check_simulator
from tests.tables.making import N_DESIGNS, with_metadata
from tests.toys import SPACE, ToySimulator, toy_task


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts the toy's space into eleven parts, one of which has no design."""
    monkeypatch.setattr("archgym.tables.build.PART_SIZE", 512)


def all_rows() -> np.ndarray:
    """All combinations of the toy's space."""
    return SPACE.unflat(np.arange(SPACE.size))


# ---- looking up


def test_every_combination_is_equal_to_the_simulator_in_every_bit(built: Path) -> None:
    on_table = Task.make(stand_in=built, workload={"heavy": 2.0, "light": 1.0})
    own = toy_task({"heavy": 2.0, "light": 1.0}, "low-latency")

    there, here = on_table.evaluate(all_rows()), own.evaluate(all_rows())

    assert there.values.tobytes() == here.values.tobytes()
    assert there.reason.tolist() == here.reason.tolist()
    assert there.reward.tobytes() == here.reward.tobytes()
    assert (on_table.id, on_table.digest) == (own.id, own.digest)


def test_large_space_is_looked_up_by_searching(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archgym.tables.simulator._MAX_DENSE", 1)
    found = TableSimulator(built)
    toy = ToySimulator()

    there = found.evaluate_batch(all_rows(), found.workload("light"))

    here = toy.evaluate_batch(all_rows(), toy.workload("light"))
    assert there.values.tobytes() == here.values.tobytes()


def test_table_keeps_what_simulators_promise(built: Path) -> None:
    check_simulator(TableSimulator(built), n_designs=12)


def test_table_pickles_as_its_path(built: Path) -> None:
    found = TableSimulator(built)
    found.results("light")

    assert len(pickle.dumps(found)) < 500


# ---- the file


def test_file_is_read_by_pandas_alone(built: Path) -> None:
    frame = pd.read_parquet(built)

    assert len(frame) == N_DESIGNS == SPACE.count().value
    assert frame.columns[:6].tolist() == ["design", *SPACE.names]
    assert "latency_ns@light" in frame
    assert "power_mw@heavy" in frame
    assert set(frame["reason@light"].dropna()) == {"The toy overheats."}
    assert (frame["reason@light"].notna() == frame["latency_ns@light"].isna()).all()
    assert frame["mode"].unique().tolist() == ["off", "slow", "fast"]
    assert pq.read_schema(built).field("latency_ns@light").metadata[b"unit"] == b"ns"


def test_single_workload_has_plain_names_of_columns(tmp_path: Path) -> None:
    path = build_table(toy_task("light"), tmp_path / "table.parquet", workers=1)

    assert "latency_ns" in pq.read_schema(path).names


def test_optimum_and_front_are_those_of_all_designs(built: Path) -> None:
    task = toy_task(["light", "heavy"])
    designs = next(SPACE.enumerate(canonical=True))
    result = task.evaluate(designs)
    terms = task.term_rewards(result.values, result.reason)
    feasible = terms[(result.reason == 0).all(axis=1)]

    found = next(
        o
        for o in TableSimulator(built).optima
        if o.objective.name == "balanced" and len(o.weights) > 1
    )

    assert found.reward == result.reward.max()
    assert found.number == SPACE.flat(designs)[np.argmax(result.reward)]
    assert found.n_ties == (result.reward == result.reward.max()).sum()
    assert found.n_infeasible == len(designs) - len(feasible)
    expected = np.unique(feasible[front(feasible)], axis=0)
    assert found.front_size == len(expected)
    assert [list(point.terms) for point in found.front] == expected[::-1].tolist()


def test_optima_are_of_each_workload_and_of_their_mixture(built: Path) -> None:
    optima = TableSimulator(built).optima

    assert [tuple(o.weights) for o in optima[::3]] == [("light",), ("heavy",), ("light", "heavy")]
    assert [o.objective.name for o in optima[:3]] == ["low-latency", "low-power", "balanced"]


# ---- building


def test_workers_change_no_byte(tmp_path: Path, built: Path, small_parts: None) -> None:
    task = toy_task(["light", "heavy"])
    for workers in (1, 3):
        build_table(task, tmp_path / f"{workers}.parquet", workers)

    one, three = (tmp_path / f"{workers}.parquet" for workers in (1, 3))
    assert one.read_bytes() == three.read_bytes()
    assert TableSimulator(one).digest == TableSimulator(built).digest


def test_digest_does_not_depend_on_the_order_of_workloads(tmp_path: Path, built: Path) -> None:
    path = build_table(toy_task(["heavy", "light"]), tmp_path / "table.parquet")

    assert TableSimulator(path).digest == TableSimulator(built).digest


def test_stopped_build_goes_on_and_gives_the_same_file(
    tmp_path: Path, built: Path, small_parts: None
) -> None:
    out = tmp_path / "table.parquet"
    task = toy_task(["light", "heavy"])

    def stop(done: int, total: int, known: int) -> None:
        if done > total // 2:
            raise StudyInterrupted("stop")

    with pytest.raises(StudyInterrupted, match="what is done lies in"):
        build_table(task, out, 2, stop)
    assert not out.exists()
    seen: list[tuple[int, int, int]] = []
    build_table(task, out, 2, lambda *counts: seen.append(counts))

    assert seen[0][0] == seen[0][2] > N_DESIGNS // 2
    assert seen[-1][:2] == (2 * N_DESIGNS, 2 * N_DESIGNS)
    assert TableSimulator(out).digest == TableSimulator(built).digest
    assert not partial_folder(out).exists()


def test_damaged_part_is_simulated_again(tmp_path: Path, built: Path, small_parts: None) -> None:
    out = tmp_path / "table.parquet"
    task = toy_task(["light", "heavy"])

    def stop(done: int, total: int, known: int) -> None:
        if done == total:
            raise StudyInterrupted("stop")

    with pytest.raises(StudyInterrupted):
        build_table(task, out, 1, stop)
    parts = sorted(partial_folder(out).glob("part-?????"))
    assert len(parts) == 10
    content = bytearray(parts[3].read_bytes())
    content[100] ^= 1
    parts[3].write_bytes(content)
    parts[5].write_bytes(parts[5].read_bytes()[:-1])
    build_table(task, out, 1)

    assert TableSimulator(out).digest == TableSimulator(built).digest


def test_full_disk_is_said_in_a_line_and_costs_no_part(
    tmp_path: Path, built: Path, small_parts: None
) -> None:
    out = tmp_path / "table.parquet"
    task = toy_task(["light", "heavy"])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Large enough for each part, and not for the table.
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"table.parquet cannot be written: a file may not"):
            build_table(task, out, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert len(list(partial_folder(out).glob("part-?????"))) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["table.parquet.partial"]
    build_table(task, out, 1)
    assert TableSimulator(out).digest == TableSimulator(built).digest


def test_parts_of_another_table_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "table.parquet"
    folder = partial_folder(out)
    folder.mkdir()
    (folder / "plan.json").write_text('{"key": "other"}')

    with pytest.raises(InvalidArgumentError, match="parts of this very table"):
        build_table(toy_task("light"), out)
    (folder / "plan.json").rename(folder / "mine.txt")
    with pytest.raises(InvalidArgumentError, match=r"holds 'mine.txt'"):
        build_table(toy_task("light"), out)


def test_simulator_that_breaks_proves_nothing(tmp_path: Path) -> None:
    # With several threads, any of the batches that run side by side may be the first to break.
    with pytest.raises(SimulatorError, match="'light': ZeroDivisionError: the toy broke") as caught:
        build_table(toy_task("light", trouble="raise"), tmp_path / "table.parquet", 1)

    assert "broke on {'mode': 'off', 'banks': 1, 'depth': 3, 'gain': 0.0" in str(caught.value)


def test_error_of_several_lines_is_told_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(trouble: str) -> None:
        raise ValueError("boom\nline 2")

    monkeypatch.setattr("tests.toys._make_trouble", broken)

    with pytest.raises(SimulatorError, match=r"ValueError: boom line 2. Results so far stay in "):
        build_table(toy_task("light", trouble="raise"), tmp_path / "table.parquet", 1)


def test_build_that_fails_without_a_result_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("boom")

    task = toy_task("light")
    monkeypatch.setattr(ToySimulator, "simulate", broken)

    with pytest.raises(SimulatorError, match=r"boom$"):
        build_table(task, tmp_path / "table.parquet", 1)
    assert not list(tmp_path.iterdir())


def test_file_that_exists_is_not_built_again(built: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="must be a new file"):
        build_table(toy_task("light"), built)


def test_space_that_is_too_large_is_refused(tmp_path: Path) -> None:
    toy = ToySimulator()
    many = [Integer(name=f"p{n}", low=0, high=9, doc="A digit.") for n in range(9)]
    toy.spec = replace(toy.spec, space=DesignSpace("wide", many))
    task = Task(toy, "wide", toy_task().workloads, toy_task().objective, toy_task().reference)

    with pytest.raises(InvalidArgumentError, match="1,000,000,000"):
        build_table(task, tmp_path / "table.parquet")


# ---- verifying


def test_table_of_the_simulator_is_verified(built: Path) -> None:
    assert list(verify_table(TableSimulator(built), ToySimulator(), 50)) == []


def test_single_bit_is_found(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = TableSimulator(built)
    values, _ = found.results("heavy")
    row = int(np.flatnonzero(np.isfinite(values[:, 1]))[7])
    values[row, 1] = np.nextafter(values[row, 1], np.inf)

    problems = list(verify_table(found, ToySimulator(), N_DESIGNS))

    assert "1 of 2376 designs differ from the simulator" in problems[0]


def test_wrong_optimum_is_found(built: Path, tmp_path: Path) -> None:
    about = json.loads(pq.read_metadata(built).metadata[b"archgym"])
    about["optima"][0]["n_ties"] += 1
    path = with_metadata(built, tmp_path / "table.parquet", optima=about["optima"])

    problems = list(verify_table(TableSimulator(path), ToySimulator(), 1))

    assert problems == ["The optimum for 'low-latency' on light is not that of its rows."]


def test_changed_copy_of_the_metadata_is_found(built: Path, tmp_path: Path) -> None:
    copy = pq.read_metadata(built).metadata[b"ARROW:schema"]
    # In the middle of the JSON, in the coding of three bytes as four characters.
    place = 4 * base64.b64decode(copy).index(b'"doc": "') // 3 + 16
    content = bytearray(built.read_bytes())
    content[content.index(copy) + place] ^= 1
    (tmp_path / "table.parquet").write_bytes(content)

    with pytest.raises(FileFormatError, match="two copies of the metadata differ"):
        TableSimulator(tmp_path / "table.parquet")


def test_table_of_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"`out` must end in \.parquet"):
        build_table(toy_task("light"), tmp_path / "table.csv")


def test_parameters_that_are_not_those_of_the_design_are_found(built: Path, tmp_path: Path) -> None:
    content = pq.read_table(built)
    for name in ("mode", "depth"):
        place = content.schema.names.index(name)
        column = content.column(name).combine_chunks()
        same = column.take(np.zeros(N_DESIGNS, dtype=np.int64))
        content = content.set_column(place, content.schema.field(name), same)
    path = tmp_path / "table.parquet"
    pq.write_table(content, path)

    problems = list(verify_table(TableSimulator(path), ToySimulator(), 1))

    assert len(problems) == 2
    assert problems[0].startswith("Parameter 'mode' is not what the numbers of the designs say in")
    assert "it has '1' for '2'" in problems[1]


def test_absent_optima_are_found(built: Path, tmp_path: Path) -> None:
    about = json.loads(pq.read_metadata(built).metadata[b"archgym"])
    path = with_metadata(built, tmp_path / "table.parquet", optima=about["optima"][1:-1])
    none = with_metadata(built, tmp_path / "none.parquet", optima=[])

    assert list(verify_table(TableSimulator(path), ToySimulator(), 1)) == [
        "The optimum for 'low-latency' on light is not there.",
        "The optimum for 'balanced' on light+heavy is not there.",
    ]
    assert len(list(verify_table(TableSimulator(none), ToySimulator(), 1))) == 9


def test_table_stays_where_a_rebuild_fails(tmp_path: Path, built: Path) -> None:
    copy = tmp_path / "table.parquet"
    shutil.copy(built, copy)

    with pytest.raises(ArchGymError):
        build_table(toy_task("light"), copy)
    assert copy.read_bytes() == built.read_bytes()


# ---- slow and broken simulators


def test_slow_build_that_is_stopped_keeps_single_results(tmp_path: Path, built: Path) -> None:
    task, out = toy_task(["light", "heavy"], pace_s=0.02), tmp_path / "table.parquet"

    def stop(done: int, total: int, known: int) -> None:
        if done >= 30:
            raise StudyInterrupted("stop")

    with pytest.raises(StudyInterrupted):
        build_table(task, out, 2, stop)
    assert len(list(partial_folder(out).glob("unfinished-*"))) == 1

    told: list[tuple[int, int]] = []
    build_table(
        toy_task(["light", "heavy"]), out, 2, lambda done, _, known: told.append((done, known))
    )

    assert 30 <= told[0][0] == told[0][1] < 200
    assert TableSimulator(out).digest == TableSimulator(built).digest
    assert not partial_folder(out).exists()


def test_batches_of_a_slow_simulator_are_small() -> None:
    slow, quick = Pace(), Pace()
    for _ in range(4):
        slow.take(slow.batch, 0.1 * slow.batch)
        quick.take(quick.batch, 1e-5 * quick.batch)

    assert slow.batch == 2
    assert quick.batch == 8**4


def test_plan_is_announced_before_anything_is_simulated(tmp_path: Path) -> None:
    told: list[TablePlan | int] = []

    build_table(
        toy_task("light"),
        tmp_path / "table.parquet",
        1,
        lambda done, total, known: told.append(done),
        announce=told.append,
    )

    (plan, *rest) = told
    assert isinstance(plan, TablePlan)
    assert (plan.n_designs, plan.n_combinations, plan.n_simulations) == (N_DESIGNS, 5280, N_DESIGNS)
    assert plan.out == tmp_path / "table.parquet"
    assert plan.seconds is None
    assert rest[0] == 0


def test_estimate_follows_once_it_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archgym.tables.build._MEASURE_S", 0.0)
    plans: list[TablePlan] = []

    build_table(toy_task("light"), tmp_path / "table.parquet", 1, announce=plans.append)

    assert [plan.seconds is None for plan in plans] == [True, False]
    assert plans[1].seconds is not None
    assert plans[1].seconds >= 0


class LateSimulator(ToySimulator):
    """Breaks on every design of depth 3, and the sooner, the later the design comes."""

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        broken = indices[:, 2] == 2
        if broken.any():
            numbers = self.space.flat(indices)
            time.sleep(0.05 * float(1.0 - numbers.max() / self.space.size))
            raise ZeroDivisionError("it broke")
        return super().simulate(indices, workload)


def test_first_design_that_breaks_is_named_whichever_thread_is_quicker(tmp_path: Path) -> None:
    task = Task.make(LateSimulator(), ["light", "heavy"])
    numbers = np.arange(task.space.size)
    designs = task.space.unflat(numbers)
    kept = task.space.is_canonical(designs) & task.space.feasible(designs)
    first = dict(task.space.design_at(designs[kept & (designs[:, 2] == 2)][0]))

    messages = set()
    for workers in (1, 2, 7):
        with pytest.raises(SimulatorError) as caught:
            build_table(task, tmp_path / f"{workers}.parquet", workers)
        messages.add(str(caught.value).partition(" Results so far stay in ")[0])

    (message,) = messages
    assert f"broke on {first!r} on workload 'light': ZeroDivisionError" in message


def test_table_of_a_held_space_is_searched_as_its_simulator_is(tmp_path: Path) -> None:
    choices: dict[str, Any] = {"space": "systolic", "fixed": {"array_height": 8}}
    held = Task.make("accelerator", **choices)
    build_table(held, tmp_path / "held.parquet")

    table = Task.make("accelerator", stand_in=tmp_path / "held.parquet", **choices).simulator

    # The stated time decides what an agent does between designs.
    assert table.spec.evaluation_s == held.simulator.spec.evaluation_s == 1e-4


def test_table_of_a_held_space_refuses_measurements_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fixed = {"array_height": 8, "array_width": 8}
    held = Task.make("accelerator", space="systolic", fixed=fixed)
    build_table(held, tmp_path / "held.parquet")
    other = measured(Task.make("dram", "bursty-rw"), {}, {"total_time_ns": 1e5})
    append_measurements(tmp_path / "m.jsonl", [other])

    with pytest.raises(InvalidArgumentError, match="need the simulator itself"):
        Task.make(stand_in=tmp_path / "held.parquet", measured=tmp_path / "m.jsonl")

    assert "other simulators" not in caplog.text


def test_columns_of_factors_and_orders_have_a_row_for_each_design() -> None:
    space = Task.make("accelerator", space="mapping", layer="resnet-18/fc").space
    indices = space.sample(50, np.random.default_rng(0))

    for place, parameter in enumerate(space.parameters):
        column = parameter_array(parameter, indices[:, place])

        expected = [parameter.value(int(index)) for index in indices[:, place]]
        assert [tuple(value) for value in column.to_pylist()] == expected
