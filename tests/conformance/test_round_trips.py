"""Names of tasks, and printed command lines, give the same task when they are read again.

`python -m tests.conformance.test_round_trips` draws tasks of all simulators and spaces and prints
how many ids and command lines it read back.
"""

import hashlib
import html
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from archgym.errors import ArchGymError, InvalidArgumentError, UnknownNameError
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.options import declared_options, make_simulator
from archgym.evaluation.simulator import (
    BatchResult,
    Simulator,
    Workload,
    simulator_class,
    simulator_names,
)
from archgym.report.commands import evaluate_command, task_words
from archgym.simulators.accelerator.workloads import network_csv
from archgym.simulators.dram.workloads.trace import Trace, write_trace
from archgym.tasks.task import Task

SIMULATORS = sorted(simulator_names())
_N_DRAWS, _N_WIDE = 3, 12


def in_place_of_models(
    simulator: Simulator, indices: np.ndarray, workload: Workload
) -> BatchResult:
    """Return metrics from 1 to 2 that depend on the design, its space and the workload."""
    about = f"{simulator.space.digest}{workload.digest}{simulator.options}{simulator.fidelity}"
    seed = int(hashlib.sha256(about.encode()).hexdigest()[:6], 16)
    rows = (indices * np.arange(3, 3 + indices.shape[1])).sum(axis=1) + seed
    columns = np.arange(len(simulator.metrics))
    values = 1.0 + ((rows[:, None] * 31 + columns * 17) % 101) / 101.0
    return BatchResult(values, np.zeros(len(indices), dtype=np.int16))


@pytest.fixture
def without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_models_out(monkeypatch)


def leave_models_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Simulator, "_simulated", in_place_of_models)
    for name in SIMULATORS:
        monkeypatch.setattr(simulator_class(name), "check", lambda *_: None, raising=False)
        monkeypatch.setattr(simulator_class(name), "laws", lambda *_: {}, raising=False)


def own_file(simulator: str, folder: Path) -> Path | None:
    """Write a small workload of a user's; None for simulators whose workloads are options."""
    folder.mkdir(exist_ok=True)
    if simulator == "accelerator":
        path = folder / "two layers.csv"
        rows: list[dict[str, str | int]] = [
            {"layer": "a", "kind": "conv", "count": 2, "channels": 3, "filters": 8},
            {"layer": "b", "kind": "matmul", "count": 1, "channels": 3, "filters": 8},
        ]
        path.write_text(network_csv(rows, "a test"))
    elif simulator == "dram":
        path = folder / "my trace.stl"
        addresses = np.arange(60, dtype=np.int64) * 4096
        write_trace(Trace("my trace", np.arange(60), np.zeros(60, bool), addresses), path)
    elif simulator == "moe":
        path = folder / "a day.csv"
        path.write_text("arrival_s,prompt_tokens,output_tokens\n0,8,4\n1.5,6,3\n")
    else:
        return None
    return path


def drawn_options(simulator: str, rng: np.random.Generator) -> dict[str, Any]:
    found: dict[str, Any] = {}
    options = declared_options(simulator_class(simulator))
    for number in rng.permutation(len(options))[: rng.integers(0, 3)]:
        each = options[number]
        if each.kind is bool:
            found[each.name] = not each.default
        elif each.kind in (int, float):
            low, high = each.option.low, each.option.high
            value = low + float(rng.integers(1, 5)) * (1 if each.kind is int else 0.37)
            found[each.name] = each.kind(min(value, high))
        elif each.option.names:
            found[each.name] = str(rng.choice(each.option.names))
    return found


def drawn_choices(
    simulator: str, space: str, folder: Path, rng: np.random.Generator
) -> dict[str, Any]:
    """Return arguments of `Task.make`, which may not fit each other."""
    kind = simulator_class(simulator)
    options = drawn_options(simulator, rng)
    fidelity = str(rng.choice(kind.spec.fidelity_names))
    made = make_simulator(kind, space, fidelity, {n: str(v) for n, v in options.items()})
    choices: dict[str, Any] = {"simulator": simulator, "space": space, "fidelity": fidelity}
    names = list(made.workload_names())
    path = own_file(simulator, folder)
    workloads = [str(name) for name in rng.permutation(names)[: rng.integers(1, 3)]]
    if path is not None and rng.integers(2):
        workloads[0] = str(path)
    weights = (1.0, 2.0, 1 / 3, 0.1234567891, 1e6)
    choices["workload"] = {name: float(rng.choice(weights)) for name in workloads}
    metrics = [spec.name for spec in made.metrics if spec.goal != "none"]
    two = [str(name) for name in rng.permutation(metrics)[:2]]
    match rng.integers(4):
        case 0:
            choices["objective"] = str(rng.choice(list(made.spec.objectives)))
        case 1:
            choices["minimise"] = two
        case 2:
            choices |= {"minimise": f"0.3*{two[0]}", "maximise": two[1:]}
        case _:
            terms = (
                Term(two[0], "maximise", 1 / 3),
                *(Term(n, "at-most", 2.0, 1e7) for n in two[1:]),
            )
            choices["objective"] = Objective("my own", terms)
    if rng.integers(2):
        choices["subject_to"] = f"{rng.choice(metrics)} <= {float(1.5 + rng.integers(9) / 7)!r}"
    free = [p for p in made.space.parameters if p.size > 1]
    if rng.integers(2) and free:
        # In any order, which the names of tasks do not show.
        held = [free[int(place)] for place in rng.permutation(len(free))[:2]]
        choices["fixed"] = {p.name: p.value(int(rng.integers(p.size))) for p in held}
    return choices | options


def tasks_of(simulator: str, spaces: list[str], n: int, folder: Path) -> Iterator[Task]:
    rng = np.random.default_rng(11)
    for space in spaces:
        for _ in range(n):
            try:
                yield Task.make(**drawn_choices(simulator, space, folder, rng))
            except ArchGymError:
                # Options, values and limits were drawn without asking what fits.
                continue


def read_back(words: list[str]) -> Task:
    """Return the task that words of a command name, as the command line makes it."""
    from archgym.cli.options.task import workload_weights
    from archgym.tasks.choices import TaskChoices

    name, *rest = words
    given: dict[str, list[str]] = {}
    for option, value in zip(rest[::2], rest[1::2], strict=True):
        given.setdefault(option, []).append(value)
    options = dict(text.split("=", 1) for text in given.get("-o", ()))
    return Task.resolve(
        TaskChoices(
            simulator=name,
            space=given.get("--space", [None])[0],
            fidelity=given.get("--fidelity", [None])[0],
            objective=given.get("--objective", [None])[0],
            workload=workload_weights(given.get("-w")),
            options=options,
        )
    )


def check_reads_back(task: Task) -> None:
    recipe = task.to_json()
    again = read_back(task_words(recipe))

    assert again.digest == task.digest, task.id
    is_own = task.objective.name.startswith("my own")
    assert again.id == task.id or is_own
    assert Task.from_json(json.loads(json.dumps(recipe))).digest == task.digest
    line = shlex.split(evaluate_command(task, task.space.default_indices))
    assert line[2:] == task_words(recipe)
    if is_own:
        with pytest.raises(UnknownNameError, match="my own"):
            Task.make(task.id, {w.source: w.weight for w in task.workloads})
        return
    if all(w.source == w.workload.name for w in task.workloads):
        assert Task.make(task.id).digest == task.digest
        return
    with pytest.raises(InvalidArgumentError, match="Give the path of the file"):
        Task.make(task.id)


@pytest.mark.usefixtures("without_models")
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_names_of_tasks_read_back(simulator: str, tmp_path: Path) -> None:
    spaces = list(simulator_class(simulator).spec.space_names)[:2]
    # Some options need others, so that not every draw is a task.
    draws = (tasks_of(simulator, [space], _N_WIDE, tmp_path) for space in spaces)
    tasks = [task for found in draws for task in islice(found, _N_DRAWS)]

    assert len(tasks) >= 2
    for task in tasks:
        check_reads_back(task)


@pytest.mark.nightly
@pytest.mark.usefixtures("without_models")
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_names_of_tasks_of_all_spaces_read_back(simulator: str, tmp_path: Path) -> None:
    spaces = list(simulator_class(simulator).spec.space_names)
    tasks = list(tasks_of(simulator, spaces, _N_WIDE, tmp_path))

    assert len(tasks) >= 2 * len(spaces)
    for task in tasks:
        check_reads_back(task)


QUICK: dict[str, list[str]] = {
    "accelerator": ["--space", "systolic"],
    "cluster": ["--space", "table", "--fidelity", "short"],
    "cpu": ["--space", "core", "-o", "instructions=2000"],
    "dram": ["-o", "requests=60"],
    "kv": ["-o", "last=60"],
    "moe": ["--space", "single-server", "-o", "requests=2", "-o", "output_tokens=2"],
    "soc": ["--space", "table", "--minimise", "power_w"],
    "translation": ["-o", "records=1000", "-o", "core=in-order"],
}
Command = Callable[..., Any]


@pytest.fixture
def command(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Run a command line in this process and return its output."""
    from archgym.cli.app import run

    monkeypatch.chdir(tmp_path)

    def call(*words: str, accepted: tuple[int, ...] = (0,)) -> str:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run(list(words))
        written = capfd.readouterr()
        assert int(ended.value.code or 0) in accepted, (shlex.join(words), written.err)
        return written.out

    return call


def printed_commands(text: str) -> list[list[str]]:
    found = re.findall(r"archgym (?:evaluate|search) [^\n<`]+", text)
    return [shlex.split(html.unescape(line))[1:] for line in dict.fromkeys(found)]


@pytest.mark.parametrize("simulator", sorted(QUICK))
def test_printed_commands_run_and_give_the_same_task(
    simulator: str, command: Command, tmp_path: Path
) -> None:
    path = own_file(simulator, tmp_path / "my files")
    words = ["search", simulator, *QUICK[simulator], "-a", "hill_climbing", "-n", "4"]
    words += ["--start", "default", "--patience", "3", "--max-asks", "70"]
    command(*words, "--out", "study", *(["-w", str(path)] if path else []))
    digest = json.loads((tmp_path / "study/study.json").read_text())["task"]["digest"]
    told = command("show", "study")
    told += command("explain", "study")
    told += command("export", "study", "--as", "markdown")
    command("report", "study", "-o", "report.html")
    told += (tmp_path / "report.html").read_text()

    lines = printed_commands(told)
    evaluated = [line for line in lines if line[0] == "evaluate"]
    (searched,) = [line for line in lines if line[0] == "search"]
    assert len(evaluated) >= 2
    for line in evaluated[:3]:
        assert json.loads(command(*line, "--json"))["digest"] == digest, line
    # Before, the line left out start designs and ends: another search of the same task.
    command(*searched, "--out", "again")
    again = json.loads((tmp_path / "again/study.json").read_text())["task"]["digest"]
    assert again == digest
    journals = [(tmp_path / name / "journal.jsonl").read_bytes() for name in ("study", "again")]
    assert journals[0] == journals[1]

    command("simplify", "study", "--out", "simple.json")
    command("export", "simple.json", "--as", "json", "--out", "exported.json")
    simple = json.loads((tmp_path / "exported.json").read_text())
    evaluation = json.loads(command("evaluate", "exported.json", "--json"))
    assert evaluation["digest"] == simple["digest"] == digest
    assert evaluation["metrics_by_workload"] == simple["metrics"]


def main() -> None:
    """Print the numbers of ids and command lines that were read back, by simulator."""
    total = 0
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        leave_models_out(patch)
        for simulator in SIMULATORS:
            spaces, n, faults = list(simulator_class(simulator).spec.space_names), 0, []
            for task in tasks_of(simulator, spaces, _N_WIDE, Path(folder) / simulator):
                n += 1
                try:
                    check_reads_back(task)
                except (AssertionError, ArchGymError) as error:
                    faults.append(f"{task.id}: {error}")
            total += n
            sys.stdout.write(
                f"{simulator}: {n} tasks in {len(spaces)} spaces, {len(faults)} faults\n"
            )
            sys.stdout.writelines(f"  {fault}\n" for fault in faults)
            sys.stdout.flush()
    sys.stdout.write(f"{total} ids and {total} command lines were read back\n")


if __name__ == "__main__":
    main()
