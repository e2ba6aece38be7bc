"""Searches of a simulator whose truth is measured: ways to spend five measurements.

    python -m experiments.measured_search run FILE.jsonl [--task NAME] [--seeds N]
    python -m experiments.measured_search page FILE.jsonl

The truth is the simulator with a bias that depends on the design: smooth waves over the space, with
a standard deviation of 15 %. Measurements have no noise. All ways have 250 simulations and five
measurements:

- `top`: search with `auto`, and measure the five best designs.
- `next`: search with `auto`, and measure what `decide --next` names, one after the other.
- `calibrated`: five searches of 50, each with metrics that the measurements so far calibrate, and
  each followed by a measurement of its best design.
- `few`: the agent `few` with the bench as its own fidelity and the simulator as the cheaper one.
- `none`: search with `auto`, and measure nothing.

The loss is what the chosen design's true reward lacks of the best that any way found, or that
`genetic` found in 400 evaluations of the truth. Results are appended to the file, and kept when it
runs again.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final

import numpy as np

from archgym.analysis.statistics import improvement_p_value
from archgym.bench import screened_search
from archgym.evaluation.restriction import WrappedSimulator
from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.measurements.calibration import calibration_of
from archgym.measurements.file import Measurements, append_measurements
from archgym.measurements.points import points_of
from archgym.report.decision import decide
from archgym.searching import search
from archgym.studies.snapshot import StudyLog
from archgym.studies.spreadsheet import measured
from archgym.tasks.task import Task

TASKS: Final = {
    "dram": {"simulator": "dram", "workload": "bursty-rw"},
    "soc": {"simulator": "soc", "minimise": "latency_s,energy_j,area_mm2"},
    "moe": {"simulator": "moe", "space": "closed-loop", "objective": "throughput-per-gpu"},
}  # fmt: skip
N_SIMULATED, N_MEASURED, N_TRUTH = 250, 5, 400
WAYS: Final = ("none", "top", "next", "calibrated", "few")
PAGE: Final = Path(__file__).parent / "measurements.md"
START, END = "<!-- search: begin -->", "<!-- search: end -->"
# chosen: standard deviation of the bias. Random designs differ by about this much.
_BIAS = 0.15
_WAVES: Final = 6
# chosen: a reward below this is of a design that breaks a limit.
_LEAST: Final = -10.0


@final
class Biased(WrappedSimulator):
    """A simulator with a bias that depends on the design: the truth of a study."""

    def __init__(self, whole: Simulator, seed: int) -> None:
        """Draw a bias for each quantity that has an error."""
        super().__init__(whole)
        self.space, self._seed = whole.space, seed
        found = calibration_of(whole)
        self._columns = found.errors(whole.metrics)

    def __reduce__(self) -> tuple[Any, ...]:
        return Biased, (self._whole, self._seed)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return the simulator's results, with the bias."""
        result = self._whole.simulate(indices, workload)
        values = np.array(result.values)
        position = points_of(self.space, indices, {}).position
        for column, parts in self._columns.items():
            quantity, sign = int(np.argmax(np.abs(parts))), parts[np.argmax(np.abs(parts))]
            rng = np.random.default_rng([self._seed, quantity])
            slopes = rng.standard_normal((position.shape[1], _WAVES))
            waves = np.tanh(position @ slopes + rng.standard_normal(_WAVES))
            bias = waves @ rng.standard_normal(_WAVES) / np.sqrt(_WAVES)
            values[:, column] *= np.exp(sign * _BIAS * bias)
        return BatchResult(values, result.reason, result.failures)


class Bench:
    """The truth as somebody measures it, which keeps what it is asked."""

    def __init__(self, plain: Task, truth: Task) -> None:
        """Take both tasks."""
        self._plain, self._truth = plain, truth
        self._columns = {spec.name: place for place, spec in enumerate(truth.metrics)}
        self.rows: list[Any] = []
        self.rewards: list[tuple[float, Any]] = []

    def measure(self, design: Any) -> None:
        """Measure a design."""
        result = self._truth.evaluate(self._truth.space.indices_of(design)[None])
        names = [s.name for s in self._plain.metrics if s.goal != "none" and s.formula is None]
        values = result.values[0, 0, [self._columns[name] for name in names]]
        found = dict(zip(names, values.tolist(), strict=True))
        self.rows.append(measured(self._plain, design, {n: v for n, v in found.items() if v > 0}))
        self.rewards.append((float(result.reward[0]), design))

    @property
    def best(self) -> Any:
        """Best design that was measured."""
        return max(self.rewards, key=lambda pair: pair[0])[1]

    @property
    def known(self) -> Measurements:
        """All measurements."""
        return Measurements(rows=tuple(self.rows))


def _searched(task: Task, folder: Path, seed: int, n: int, agent: str = "auto") -> StudyLog:
    return search(task, agent=agent, budget=n, seed=seed, folder=folder).log


def _none(log: StudyLog, bench: Bench) -> Any:
    return decide(log, bench.known).best.design


def _top(log: StudyLog, bench: Bench) -> Any:
    for row in log.top_rows(N_MEASURED):
        bench.measure(log.outcome(int(row)).design)
    return bench.best


def _next(log: StudyLog, bench: Bench) -> Any:
    for _ in range(N_MEASURED):
        (step,) = decide(log, bench.known).next(1)
        bench.measure(step.candidate.design)
    return decide(log, bench.known).best.design


def _calibrated(plain: Task, truth: Task, folder: Path, seed: int) -> Any:
    bench, path = Bench(plain, truth), folder / "measured.jsonl"
    task = plain
    for number in range(N_MEASURED):
        log = _searched(task, folder / f"s{number}", seed + number, N_SIMULATED // N_MEASURED)
        designs = [log.outcome(int(row)).design for row in log.top_rows(N_MEASURED)]
        seen = [design for _, design in bench.rewards]
        bench.measure(next(design for design in designs if design not in seen))
        append_measurements(path, bench.rows[-1:])
        task = _with_measurements(plain, path)
    return bench.best


def _with_measurements(plain: Task, path: Path) -> Task:
    return Task.make(
        plain.simulator, [w.source for w in plain.workloads], objective=plain.objective,
        measured=path,
    )  # fmt: skip


def _few(plain: Task, truth: Task, folder: Path, seed: int) -> Any:
    found = screened_search(
        folder / "s", truth, plain, relative_cost=N_MEASURED / N_SIMULATED,
        cost=2.0 * N_MEASURED, agent="few", seed=seed,
    )  # fmt: skip
    best = found.search.best()
    assert best is not None
    return best.design


_AFTER: Final[dict[str, Callable[[StudyLog, Bench], Any]]] = {
    "none": _none, "top": _top, "next": _next
}  # fmt: skip
_DURING: Final[dict[str, Callable[[Task, Task, Path, int], Any]]] = {
    "calibrated": _calibrated, "few": _few
}  # fmt: skip


def run(path: Path, only: str | None, n_seeds: int) -> None:
    """Append the rewards of each task, seed and way."""
    done = {(row["task"], row["seed"]) for row in _rows(path)}
    plains = {name: Task.make(**TASKS[name]) for name in TASKS if only in (None, name)}
    for seed in range(n_seeds):
        for name, plain in plains.items():
            if (name, seed) in done:
                continue
            truth = Task.make(
                Biased(plain.simulator, seed), [w.source for w in plain.workloads],
                objective=plain.objective,
            )  # fmt: skip
            with TemporaryDirectory() as folder:
                log = _searched(plain, Path(folder) / "plain", seed, N_SIMULATED)
                designs = {w: way(log, Bench(plain, truth)) for w, way in _AFTER.items()}
                for name_of_way, way in _DURING.items():
                    path_of_way = Path(folder) / name_of_way
                    path_of_way.mkdir()
                    designs[name_of_way] = way(plain, truth, path_of_way, seed)
                log = _searched(truth, Path(folder) / "truth", seed, N_TRUTH, "genetic")
            at = np.array([truth.space.indices_of(design) for design in designs.values()])
            rewards = truth.evaluate(at).reward.tolist()
            best = max(float(log.curve()[-1]), *rewards)
            row = {"task": name, "seed": seed, "best": best}
            row |= dict(zip(designs, rewards, strict=True))
            with path.open("a") as handle:
                handle.write(json.dumps(row) + "\n")
            print(row, flush=True)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def losses(rows: Sequence[dict[str, Any]], way: str) -> np.ndarray:
    """Return what the chosen designs lack of the best, in percent."""
    gaps = np.array([max(row[way], _LEAST) - row["best"] for row in rows])
    return np.abs(100.0 * np.expm1(np.minimum(gaps, 0.0)))


def page(path: Path) -> None:
    """Write the table into the page."""
    rows = _rows(path)
    lines = [
        f"| task | seeds | {' | '.join(f'`{way}`' for way in WAYS)} | p, `few` against `top` |",
        "|---|---:|" + "---:|" * (len(WAYS) + 1),
    ]
    for name in TASKS:
        of_task = [row for row in rows if row["task"] == name]
        if not of_task:
            continue
        found = {way: losses(of_task, way) for way in WAYS}
        cells = [
            f"{each.mean():.1f} [{each.min():.1f}, {each.max():.1f}]" for each in found.values()
        ]
        p = improvement_p_value([-found["few"]], [-found["top"]])
        lines.append(f"| {name} | {len(of_task)} | {' | '.join(cells)} | {p:.3f} |")
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    table = "\n".join(lines)
    PAGE.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}", encoding="utf-8")
    print(table)


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("run", "page"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--task", choices=tuple(TASKS))
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    page(given.path) if given.command == "page" else run(given.path, given.task, given.seeds)


if __name__ == "__main__":
    main()
