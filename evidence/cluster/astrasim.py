"""Rows and event logs of ASTRA-sim 2, which the simulator must equal to the nanosecond."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from archgym.errors import FileFormatError
from archgym.simulators.cluster.kernel import state
from archgym.simulators.cluster.kernel.engine import simulate
from archgym.simulators.cluster.workloads import Model, load_model, model_names, read_model
from evidence.cluster.entries import graphs_of_entries
from evidence.cluster.reading import observed, recorded, system_of_debug
from evidence.recorded import Record, read_json, read_rows, reading
from evidence.validation import Row

_EVENTS: Final = ("issue", "done", "phase_start", "phase_end", "send", "arrive")
_RESULTS: Final = ("collectives", "graphs", "training", "cosmic")
# chosen: ten times the longest log of the reference.
_MAX_LOG: Final = 50_000


def models_of(folder: Path) -> dict[str, Model]:
    """Return the workloads of a reference folder; those that ship where it has none."""
    models = {name: load_model(name) for name in model_names()}
    for path in sorted((folder / "workloads").glob("*.json")):
        model = read_model(path)
        models[model.name] = model
    return models


def compare_rows(
    rows: list[Record], models: Mapping[str, Model]
) -> tuple[list[str], int, int, int, int]:
    """Compare rows with the simulator.

    Returns:
      Differences, one sentence for each row; deadlocks that are recognised; rows that the
      shortcut allows; those of them where it differs; largest difference of `time_ns`.
    """
    problems: list[str] = []
    deadlocks = shortcuts = short_bad = worst = 0
    for row in rows:
        with reading(row.path, row.line):
            expected = recorded(row)
            found, short = observed(row, models)
        deadlocks += expected == found == ("deadlock",)
        if expected != found:
            problems.append(f"{row.path.name}:{row.line}: {found}; recorded are {expected}")
            if len(found) > 1 and len(expected) > 1:
                worst = max(worst, abs(int(found[0]) - int(expected[0])))
        if short is not None:
            shortcuts += 1
            short_bad += tuple(short) != found[: len(short)]
    return problems, deadlocks, shortcuts, short_bad, worst


def result_lines(folder: Path, tell: Callable[[str], None]) -> list[Row]:
    """Return one line for each file of results."""
    models = models_of(folder)
    lines = []
    for name in _RESULTS:
        path = folder / "results" / f"{name}.csv"
        if not path.is_file():
            continue
        tell(f"comparing {name}")
        rows = read_rows(path)
        problems, deadlocks, shortcuts, short_bad, worst = compare_rows(rows, models)
        note = "; ".join(problems[:3])
        exact = len(rows) - len(problems)
        what = f"{name}: rows equal to ASTRA-sim in every column"
        lines.append(Row("A1", what, len(rows), exact, "rows", len(problems), 0, "rows", note=note))
        if problems:
            lines.append(Row("A1", f"{name}: worst time_ns", 0, worst, "ns", worst, 0, "ns"))
        if deadlocks:
            known = sum(row.cells["status"] == "deadlock" for row in rows)
            what = f"{name}: deadlocks recognised"
            lines.append(Row("A1", what, known, deadlocks, "rows", known - deadlocks, 0, "rows"))
        if shortcuts:
            what = f"{name}: one NPU for each stage equals the whole cluster"
            good = shortcuts - short_bad
            lines.append(Row("A2", what, shortcuts, good, "rows", short_bad, 0, "rows"))
    return lines


def event_log(case: Mapping[str, Any]) -> tuple[list[list[int | str]], list[int], list[int]]:
    """Return events, finish times and exposed communication of a debug case.

    Events are as in the reference: issue and done (node), phase_start and phase_end (chunk,
    phase, queue), send (to, tag, bytes), arrive (from, tag, bytes).
    """
    system = system_of_debug(case["design"])
    groups = {int(number): members for number, members in case["groups"].items()}
    graphs = graphs_of_entries(system, case["graphs"], case["graph_of_npu"], groups)
    outcome = simulate(system, graphs, n_log=_MAX_LOG)
    events: list[list[int | str]] = []
    for time, what, npu, a, b, c in outcome.log.tolist():
        numbers = [a] if what in (state.LOG_ISSUE, state.LOG_DONE) else [a, b, c]
        events.append([time, _EVENTS[what], npu, *numbers])
    exposed = outcome.finish_ns - outcome.compute_ns
    return events, outcome.finish_ns.tolist(), exposed.tolist()


def debug_lines(folder: Path, tell: Callable[[str], None]) -> list[Row]:
    """Return one line for all debug cases: their logs are equal, event by event.

    ASTRA-sim's log has no time for a message's start, so that 0 is not compared there.
    """
    paths = sorted((folder / "debug").glob("*.json"))
    if not paths:
        return []
    tell("comparing event logs")
    problems = []
    n_events = 0
    for path in paths:
        log = path.with_suffix(".csv")
        rows = read_rows(log)
        with reading(path):
            case = read_json(path)
            if not isinstance(case, Mapping):
                raise FileFormatError(path, None, "a debug case must be an object")
            events, finish, exposed = event_log(case)
            expected = [case["finish_ns"], case["exposed_ns"]]
        if [finish, exposed] != expected:
            problems.append(f"{path.name}: finish times differ")
        n_events += len(rows)
        if len(rows) != len(events):
            problems.append(f"{log.name}: {len(events)} events; recorded are {len(rows)}")
            continue
        for row, event in zip(rows, events, strict=True):
            with reading(row.path, row.line):
                known = _event(row)
            if known[1] == "send" and known[0] == 0:
                event = [0, *event[1:]]
            if known != event:
                problems.append(f"{log.name}:{row.line}: {event}; recorded is {known}")
                break
    what = f"event logs equal to ASTRA-sim's, {n_events} events"
    good = len(paths) - len({problem.split(".")[0] for problem in problems})
    note = "; ".join(problems[:3])
    return [Row("A3", what, len(paths), good, "logs", len(paths) - good, 0, "logs", note=note)]


def _event(row: Record) -> list[int | str]:
    cells = row.cells
    numbers = [int(cells[name]) for name in ("a", "b", "c") if cells[name] != ""]
    return [int(cells["time"]), cells["event"], int(cells["npu"]), *numbers]
