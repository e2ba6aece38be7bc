"""Prior of the serving simulator's error, from measured serving rows.

    python -m evidence.moe.errors REFERENCE

It writes `archgym/simulators/moe/data/error.json`, which ships. Each fold predicts rows with
constants that were fitted without them: without a GPU, a model or an engine, and without a third of
the configurations.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.measurements.points import SPACE, Points, facts_of, joined, points_of
from archgym.measurements.prior import Component, ErrorPrior
from evidence.errors import MOST_ROWS, Fold, apart_from_repeats, learned_prior, matched, write_prior
from evidence.moe.fitting import Problem, problem
from evidence.moe.measured import WORKLOAD, Measured, read_serving
from evidence.moe.serving import configuration_folds, held_out

Floats = npt.NDArray[np.float64]

QUANTITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "ttft": tuple(f"ttft_{name}_ms" for name in ("mean", "p50", "p90", "p99")),
    "tpot": tuple(f"tpot_{name}_ms" for name in ("mean", "p50", "p90", "p99")),
    "rate": ("output_per_s", "input_per_s", "goodput_per_s"),
}
"""Metrics of each quantity."""
COLUMNS: Final = ("TTFT", "TPOT", "output/s")
"""The same quantities, as `evidence.moe.serving` names them."""
LEVELS: Final = (("GPU", "hardware", 2), ("model", "model", 0), ("engine", "engine", 3))
"""Kinds of what is left out: name, fact, and place among the names of a row."""
_DEPLOYMENT: Final = ("hardware", "engine", "model", "precision")
_LAYOUT: Final = ("tensor", "data", "spread")
# The simulated time of a token says what limits a step: overheads, weights, products or links.
# Errors of one limit do not carry to another, so that its length is the shortest.
# chosen: the length scales in doublings that predict left-out rows best, of half and twice these.
_LOAD: Final = {
    "clients": 6.0, "prompt, mean": 4.0, "output, mean": 4.0,
    "tpot_mean_ms": 1.5, "ttft_mean_ms": 6.0,
}  # fmt: skip
_SHARDS: Final = {"tensor": 4.0}
_OWN: Final = (SPACE, "workload", "lengths", "release", "clients")
# chosen: times differ by less than a percent where a parameter hardly matters.
_SAME_TIMES: Final = {"tpot_mean_ms": 0.01}
_OUT: Final = Path(__file__).parents[2] / "archgym" / "simulators" / "moe" / "data" / "error.json"


def guess(known: Mapping[str, frozenset[str]], source: str) -> ErrorPrior:
    """Return the components of the error with spreads that are chosen.

    Hardware, engine and model each shift all times alike: peaks that software does not reach,
    overheads of the engine, layers that are costed wrongly. What is new shifts more. A deployment
    (all of them and the precision) has kernels of its own, which releases change. A space without
    measured rows counts as new. Load shifts errors smoothly: overheads matter at small batches,
    attention at long contexts.
    """

    def part(
        name: str, spread: tuple[float, float, float], same: Sequence[str] = (),
        near: Mapping[str, float] | None = None, news: Sequence[str] = (), factor: float = 3.0,
    ) -> Component:  # fmt: skip
        new = tuple(factor * s for s in spread) if news else ()
        news = (*news, SPACE) if news else ()
        return Component(name, tuple(same), near, None, spread, news, new)

    wide = {name: 2.0 * length for name, length in {**_LOAD, **_SHARDS}.items()}
    return ErrorPrior(
        "chosen",
        source,
        tuple(QUANTITIES),
        {metric: name for name, metrics in QUANTITIES.items() for metric in metrics},
        (
            part("all", (0.05, 0.02, 0.02)),
            part("hardware", (0.05, 0.02, 0.02), ("hardware",), news=("hardware",)),
            part("engine", (0.10, 0.02, 0.02), ("engine",), news=("engine",)),
            part("model", (0.05, 0.02, 0.02), ("model",), news=("model",)),
            part("kind", (0.10, 0.03, 0.03), ("hardware", "engine"), news=("hardware", "engine")),
            part("release", (0.10, 0.02, 0.02), ("hardware", "release")),
            part("deployment", (0.10, 0.03, 0.03), _DEPLOYMENT, news=_DEPLOYMENT[:3]),
            part("deployment release", (0.10, 0.03, 0.03), (*_DEPLOYMENT, "release")),
            part("engine load", (0.10, 0.03, 0.03), ("engine",), wide, ("engine",)),
            part("kind load", (0.10, 0.03, 0.03), ("hardware", "engine"), wide,
                 ("hardware", "engine")),
            part("deployment load", (0.10, 0.03, 0.03), _DEPLOYMENT, {**_LOAD, **_SHARDS},
                 _DEPLOYMENT[:3]),
            part("layout", (0.05, 0.02, 0.02), (*_DEPLOYMENT, *_LAYOUT)),
            part("layout load", (0.10, 0.03, 0.03), (*_DEPLOYMENT, *_LAYOUT), _LOAD),
        ),
        (0.10, 0.03, 0.03),
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        5.0,
        known,
    )  # fmt: skip


def known_values(rows: Sequence[Measured]) -> dict[str, frozenset[str]]:
    """Return the values of facts that rows have, and the empty text of a default."""
    found = {fact: frozenset({row.options[fact] for row in rows} | {""}) for _, fact, _ in LEVELS}
    return {**found, SPACE: frozenset({"closed-loop"})}


def points(rows: Iterable[Measured]) -> Points:
    """Return measured rows as points, without what is simulated."""
    found = []
    for row in rows:
        simulator = row.simulator()
        indices = simulator.space.indices_of(row.design)[None, :]
        facts = facts_of(simulator, simulator.workload(WORKLOAD))
        found.append(points_of(simulator.space, indices, facts))
    return joined(found)


def with_simulated(at: Points, rows: Sequence[Measured], errors: Floats) -> Points:
    """Return points with the times that were simulated, which errors and measurements give.

    Args:
      at: Rows as points.
      rows: The rows.
      errors: (n, n_quantities), their errors.
    """
    times = {
        "ttft_mean_ms": np.array([row.ttft_ms for row in rows]) * np.exp(-errors[:, 0]),
        "tpot_mean_ms": np.array([row.tpot_ms for row in rows]) * np.exp(-errors[:, 1]),
    }
    return Points(at.texts, {**at.numbers, **times}, at.position)


def measured_errors(rows: Sequence[Measured], predicted: Mapping[str, Floats]) -> Floats:
    """Return ``log(measured / predicted)`` of rows, (n, n_quantities)."""
    goals = np.array([(row.ttft_ms, row.tpot_ms, row.output_per_s) for row in rows])
    return np.asarray(np.log(goals / np.stack([predicted[name] for name in COLUMNS], axis=1)))


def left_out_errors(asked: Problem) -> dict[str, Floats]:
    """Return errors of all rows by kind of what was left out: GPU, model, engine, configuration."""
    rows = list(asked.rows)
    found = {}
    for kind, _, place in LEVELS:
        names = np.array([row.names[place] for row in rows])
        tests = [names == name for name in sorted(set(names.tolist()))]
        found[kind] = measured_errors(rows, held_out(asked, tests))
    found["configuration"] = measured_errors(rows, held_out(asked, configuration_folds(rows)))
    return found


def learn(
    rows: Sequence[Measured],
    at: Points,
    errors: Mapping[str, Floats],
    source: str,
    most_rows: int = MOST_ROWS,
) -> ErrorPrior:
    """Return the prior of the errors of rows.

    Args:
      rows: Measured rows.
      at: The same as points.
      errors: By kind of what was left out, (n, n_quantities).
      source: Text on the rows.
      most_rows: Rows of a fold that take part at most.
    """
    known = known_values(rows)
    facts = {"configuration": known}
    facts |= {kind: {**known, fact: frozenset()} for kind, fact, _ in LEVELS}
    folds = [
        Fold(with_simulated(at, rows, errors[kind]), errors[kind], values)
        for kind, values in facts.items()
    ]
    alike = (*_DEPLOYMENT, *_LAYOUT)
    found = learned_prior(guess(known, source), folds, alike, most_rows=most_rows)
    found = matched(found, folds[1:], _DEPLOYMENT)
    return apart_from_repeats(found, folds[0], (*alike, *_OWN), _SAME_TIMES)


def main() -> None:
    """Learn from all rows and write the file."""
    folder = Path(sys.argv[1])
    rows, n_suspect = read_serving(folder / "moe" if (folder / "moe").is_dir() else folder)
    source = (
        f"{len(rows)} rows of measured/serving.csv (InferenceX and NVIDIA's AIConfigurator), all "
        f"but the {n_suspect} that are marked as suspect, each predicted without its GPU, model, "
        "engine or configuration"
    )
    at, errors = points(rows), left_out_errors(problem(rows))
    write_prior(learn(rows, at, errors, source), _OUT)


if __name__ == "__main__":
    main()
