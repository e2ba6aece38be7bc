"""Measurements and decisions on every simulator: mixtures, fronts, held values and own files."""

import csv
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.function import FunctionSimulator
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import default_workload, simulator_class, simulator_names
from archgym.measurements.file import append_measurements
from archgym.report.decision import ROBUST, decide
from archgym.spaces.expression import P
from archgym.spaces.parameter import Integer, Parameter, PowerOfTwo
from archgym.studies.snapshot import StudyLog
from archgym.studies.spreadsheet import read_spreadsheet
from archgym.studies.study import Study
from archgym.tasks.task import Task

# Every space each night, and one of each simulator at any time.
SPACES = [
    pytest.param(name, space, marks=[pytest.mark.nightly] * (number > 0 or "+" in name))
    for name in simulator_names()
    for number, space in enumerate(simulator_class(name).spec.space_names)
]
CORPUS = Path(__file__).parents[1] / "corpus"
# Workloads from files.
FILES = [
    ("accelerator", "network/alexnet.csv"),
    ("cluster", "training-model/own.json"),
    ("dram", "dram-trace/a.stl"),
    ("kv", "kv-requests/mooncake.jsonl"),
    ("moe", "requests/azure.csv"),
]
FACTOR = 1.25
N_MEASURED, N_DESIGNS = 3, 6


def task_of(name: str, space: str, file: Path | None = None, **choices: Any) -> Task:
    """Return a task of two workloads and two metrics, with held values where that is possible.

    One value lies beyond the range of its parameter, where the simulator declares wider ranges.
    """
    simulator = make_simulator(simulator_class(name), space, None, {})
    workloads = [default_workload(simulator), *simulator.workload_names()]
    # Compositions are not made quick: one workload of each.
    workloads = workloads[:1] if "+" in name else workloads
    workloads = workloads if file is None else [str(file)]
    default = simulator.space.design_at(simulator.space.default_indices)
    goals: dict[str, Any] = {"minimise": [], "maximise": []}
    for spec in [s for s in simulator.metrics if s.goal != "none"][:2]:
        goals[spec.goal].append(spec.name)
    last = simulator.space.parameters[-1].name
    held: list[dict[str, list[Any]]] = [{last: [default[last]]}, {}]
    for parameter in simulator.space.parameters:
        widest = parameter.widened()
        if widest.size > parameter.size:
            ends = [widest.value(0), widest.value(widest.size - 1)]
            held.insert(0, {parameter.name: [*ends, default[parameter.name]]})
            break
    for values in held:
        for names in (list(dict.fromkeys(workloads))[:2], workloads[:1]):
            with suppress(InvalidArgumentError):
                return Task.make(simulator, names, values=values, **goals, **choices)
    raise AssertionError(name)


def study_of(task: Task, folder: Path) -> StudyLog:
    # Of random designs perhaps none can be built.
    start = [task.space.design_at(task.space.default_indices)]
    with Study.create(folder, task, "random", seed=1, budget=N_DESIGNS, start=start) as study:
        return study.run().log


def measurements_of(task: Task, log: StudyLog, path: Path) -> Path:
    """Write what was measured as a user does, read it, and return its file."""
    metrics = [s for s in task.simulator.metrics if s.goal != "none"]
    rows = np.flatnonzero(log.is_feasible)[:N_MEASURED]
    with path.with_suffix(".csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["evaluation", "workload", *(f"{s.name} [{s.unit}]" for s in metrics)])
        names = [spec.name for spec in log.metrics]
        places = [names.index(s.name) for s in metrics]
        for row in rows:
            for at, weighted in enumerate(task.workloads):
                shown = FACTOR * log.records.values[row, at, places]
                at_most = [
                    log.records.values[row, at, names.index(s.below)]
                    if s.below in names
                    else s.highest
                    for s in metrics
                ]
                found = zip(np.minimum(shown, at_most), metrics, strict=True)
                texts = [repr(float(v)) if v > 0 or s.signed else "" for v, s in found]
                if any(texts):
                    writer.writerow([log.records.seq[row], weighted.workload.name, *texts])
    designs = {str(log.records.seq[row]): log.outcome(int(row)).design for row in rows}
    append_measurements(path, read_spreadsheet(path.with_suffix(".csv"), task, designs).rows)
    return path


@pytest.mark.usefixtures("quick_simulators")
@pytest.mark.parametrize(("name", "space"), SPACES)
def test_measurements_calibrate_and_decide(name: str, space: str, tmp_path: Path) -> None:
    check_measured(partial(task_of, name, space), tmp_path)


@pytest.mark.usefixtures("quick_simulators")
@pytest.mark.parametrize(("name", "file"), FILES)
def test_workloads_from_files_are_measured(name: str, file: str, tmp_path: Path) -> None:
    space = "serving" if name == "kv" else simulator_class(name).spec.space_names[0]
    check_measured(partial(task_of, name, space, CORPUS / file), tmp_path)


@pytest.mark.parametrize(
    "goals",
    [
        {"minimise": "time_ns,energy_pj"},
        {"minimise": "loss", "subject_to": "share_percent >= 50"},
        {"maximise": "slack_ns,share_percent", "subject_to": ["loss <= 1e9", "time_ns <= 1e3"]},
        {"minimise": "size_kib", "fixed": {"banks": 3}},
    ],
)
def test_own_metrics_of_all_kinds_are_measured(goals: dict[str, Any], tmp_path: Path) -> None:
    specs = (
        MetricSpec("time_ns", "ns", "minimise", 1e-3, "Time."),
        MetricSpec("power_mw", "mW", "minimise", 1e-3, "Power."),
        MetricSpec("energy_pj", "pJ", "minimise", 1e-3, "Both.", tied="power_mw * time_ns"),
        MetricSpec("slack_ns", "ns", "maximise", 1e-3, "May be below 0.", signed=True),
        MetricSpec("share_percent", "%", "maximise", 0.1, "At most 100.", highest=100.0),
        MetricSpec("size_kib", "KiB", "minimise", 1.0, "Set by the design.", exact=True),
        MetricSpec("loss", "", "minimise", 1e-6, "Derived.", formula=P("time_ns") * P("size_kib")),
    )

    def run(design: Mapping[str, Any]) -> dict[str, float]:
        ways, banks = design["ways"], design["banks"]
        time, power = 1.0 + 8.0 / ways + banks, 3.0 + banks * ways
        return {
            "time_ns": time, "power_mw": power, "energy_pj": time * power, "slack_ns": 6.0 - time,
            "share_percent": min(100.0, 40.0 + 9.0 * ways), "size_kib": 4.0 * ways,
        }  # fmt: skip

    space: list[Parameter] = [PowerOfTwo("ways", 1, 16), Integer("banks", 0, 4)]
    own = FunctionSimulator(run, space, specs)
    check_measured(lambda **choices: Task.make(own, **goals, **choices), tmp_path)


def check_measured(make: Callable[..., Task], folder: Path) -> None:
    """Check decisions without and with measurements of a task, and its calibrated metrics."""
    task = make()
    log = study_of(task, folder / "study")
    path = measurements_of(task, log, folder / "m.jsonl")

    for robust in ROBUST:
        for known in (None, path):
            found = decide(log, known, confidence=0.9, robust=robust)
            shares = np.array([c.p_best for c in found.candidates])
            assert shares.sum() == pytest.approx(1.0)
            assert all(c.low <= c.high and c.loss >= 0.0 for c in found.candidates)
            ends = [end for c in found.candidates for ends in c.metrics.values() for end in ends]
            assert np.isfinite(ends).all()
            assert found.sentences()
            assert found.to_json(2)["next"]

    calibrated = make(measured=path, confidence=0.9)
    if task.simulator.name in simulator_names():
        assert Task.from_json(calibrated.to_json()).id == calibrated.id
    row = int(np.flatnonzero(log.is_feasible)[0])
    index = calibrated.space.indices_of(log.outcome(row).design)[None]
    values = calibrated.evaluate(index).values[0]
    names = [spec.name for spec in calibrated.metrics]
    own = dict(zip((s.name for s in log.metrics), log.records.values[row].T, strict=True))
    corrected = [plain for plain in own if f"simulated_{plain}" in names]
    assert corrected
    assert not {f"simulated_{s.name}" for s in log.metrics if s.exact or s.formula is not None} & {
        *names
    }
    for plain in corrected:
        text = f"simulated_{plain}"
        given, exact = values[:, names.index(plain)], values[:, names.index(text)]
        assert exact.tolist() == own[plain].tolist()
        low, high = (values[:, names.index(end + plain)] for end in ("low_", "high_"))
        assert (low <= given).all()
        assert (given <= high).all()
