"""Fit of engine constants to measured serving: robust, with priors, in seconds.

A benchmark is served once with the constants so far. What its requests waited for (so many
decode-only steps, so many steps with prompts, each with their mean contents) then stays, while the
constants move; twice is enough. Errors are those of logarithms; large ones count linearly.

TTFT is fitted to its median where that was measured, else to its mean: servers that were not warmed
up compile kernels while the first requests wait. SGLang 0.5.6 on B200 has means of 7 s, 99th
percentiles of 70 s and medians of 0.3 s. Rows of SGLang that name no release have neither a median
nor means without compilation: their TTFT is not fitted. What is predicted and judged is the mean,
of all rows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.kernel.run import Run, documents, run
from archgym.simulators.moe.kernel.state import N_CONTENTS, new_state
from archgym.simulators.moe.kernel.steps import step_times
from archgym.simulators.moe.machine.clock import CONSTANT_NAMES, Constants, Dimensions, engine_costs
from archgym.simulators.moe.machine.columns import COSTS, COUNTERS
from archgym.simulators.moe.machine.engines import PRIORS, Calibration
from archgym.simulators.moe.machine.plan import Plan
from archgym.simulators.moe.machine.timing import OUTSIDE, engine_dimensions, engine_labels
from archgym.simulators.moe.simulator import Ready
from archgym.simulators.moe.workloads.requests import Requests
from archgym.simulators.moe.workloads.routing import Routing
from evidence.moe.measured import WORKLOAD, Measured, Prediction, predictions

Floats = npt.NDArray[np.float64]

# chosen: how far rows may lie from a model of so few constants; repeated runs differ by 4 % (p90).
_TPOT_SIGMA: Final = 0.08
# chosen: TTFT has outliers of seconds (compilation) and is noisier by a factor of three.
_TTFT_WEIGHT: Final = 0.35
# chosen: a deployment with more rows than this counts as one with so many.
_ROWS_THAT_COUNT: Final = 16.0
_MOST_WEIGHT: Final = 1.5
_STEP: Final = 0.02  # chosen: of logarithms, for differences
_ROUNDS, _ITERATIONS, _ENOUGH = 2, 10, 5e-4
_NS_PER_MS: Final = 1e6
_FIRST, _WAIT = COSTS.index("first_ns"), COSTS.index("wait_steps")
# Costs that an engine's constants decide.
_FITTED: Final = np.array([name not in OUTSIDE for name in COSTS])


class _Case(NamedTuple):
    """A row made ready for the kernel."""

    ready: Plan
    requests: Requests
    routing: Routing
    table: Floats
    placement: Any


def _case(ready: Ready) -> _Case:
    if ready.held is None or ready.table is None:
        raise InvalidArgumentError(
            "A row to fit must be one that can be built, at the level of steps."
        )
    return _Case(ready.plan, ready.requests, ready.held.routing, ready.table, ready.placement)


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """Rows made ready for fits.

    Attributes:
      rows: Measured rows.
      cases: The same for the kernel.
      deployment: (n_rows,) int64, index of each row's distinct deployment.
      dimensions: Sizes of distinct deployments, arrays.
      choices: (n_rows, len(CHOICES)) int64.
      tables: (n_tables, N_ROWS, n) float64 of `occupancy`, distinct ones.
      table_of: (n_rows,) int64, the table of each row.
      effects: (n_deployments, n_constants, n_effects), 1 where an effect applies.
      names: Constant and label of each effect.
      means: (n_effects,) prior mean of each.
      spread: (n_effects,) prior standard deviation of each.
      weights: (n_rows,), so that deployments with many rows do not dominate.
      labels: Labels of distinct deployments.
    """

    rows: Sequence[Measured]
    cases: Sequence[_Case]
    deployment: npt.NDArray[np.int64]
    dimensions: Dimensions
    choices: npt.NDArray[np.int64]
    tables: Floats
    table_of: npt.NDArray[np.int64]
    effects: Floats
    names: tuple[tuple[str, str], ...]
    means: Floats
    spread: Floats
    weights: Floats
    labels: Sequence[tuple[tuple[str, str], ...]]


@final
@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of rows: TTFT and TPOT [ms], output tokens a second and GPU, median TTFT."""

    ttft_ms: Floats
    tpot_ms: Floats
    output_per_s: Floats
    ttft_median_ms: Floats


def problem(rows: Sequence[Measured]) -> Problem:
    """Return rows made ready for fits."""
    simulators = [row.simulator("steps") for row in rows]
    prepared_rows = [
        simulator.prepared(row.design, simulator.workload(WORKLOAD))
        for row, simulator in zip(rows, simulators, strict=True)
    ]
    keys = [
        (
            engine_dimensions(s.model, s.node, p.serving),
            tuple(engine_labels(s.model, s.node, p.serving).items()),
        )
        for s, p in zip(simulators, prepared_rows, strict=True)
    ]
    order = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    deployment = np.array([order[key] for key in keys])
    by_kind = [dict(labels) for _, labels in order]
    names: list[tuple[str, str]] = []
    spread: list[float] = []
    for constant, prior in PRIORS.items():
        names.append((constant, ""))
        spread.append(prior.spread)
        for kind, deviation in prior.effects.items():
            for level in sorted({of[kind] for of in by_kind}):
                # A release that nobody names says nothing.
                if not level:
                    continue
                names.append((constant, f"{kind}={level}"))
                spread.append(deviation)
    effects = np.zeros((len(by_kind), len(CONSTANT_NAMES), len(names)))
    for place, of in enumerate(by_kind):
        present = {f"{kind}={level}" for kind, level in of.items()} | {""}
        for column, (constant, label) in enumerate(names):
            if label in present:
                effects[place, CONSTANT_NAMES.index(constant), column] = 1.0
    sizes = [size for size, _ in order]
    layouts = [row.layout for row in rows]
    counts = np.array([layouts.count(layout) for layout in layouts], dtype=np.float64)
    tables = {id(p.table): p.table for p in prepared_rows if p.table is not None}
    at = {key: place for place, key in enumerate(tables)}
    return Problem(
        rows,
        [_case(p) for p in prepared_rows],
        deployment,
        Dimensions(*(np.array(column, dtype=np.float64) for column in zip(*sizes, strict=True))),
        np.stack([p.plan.choices for p in prepared_rows]),
        np.stack(list(tables.values())),
        np.array([at[id(p.table)] for p in prepared_rows]),
        effects,
        tuple(names),
        np.array([PRIORS[constant].means.get(label, 0.0) for constant, label in names]),
        np.array(spread),
        np.minimum(_MOST_WEIGHT, np.sqrt(_ROWS_THAT_COUNT / counts)),
        [labels for _, labels in order],
    )


def _bases() -> Floats:
    return np.log([PRIORS[name].base for name in CONSTANT_NAMES])


def _costs(asked: Problem, logarithms: Floats) -> Floats:
    """Return costs of each row from logarithms of constants, (n_deployments, n_constants)."""
    values = np.exp(logarithms).T
    costs = engine_costs(asked.dimensions, Constants(*values))[asked.deployment]
    plain = np.stack([case.ready.costs for case in asked.cases])
    return np.asarray(np.where(_FITTED, costs, plain))


@final
@dataclass(frozen=True, eq=False)
class _Schedule:
    """Waits of the requests of rows; see the module.

    Attributes:
      waits: (n,), 1 where requests wait for steps, 0 where they find an idle server.
      pure, mixed: (n, 6) mean contents of decode-only steps and of steps with prompts.
      n_pure, n_mixed: (n,) such steps per further token.
      n_first: (n,) steps with prompts before the first token.
      ratio: (n,) logarithm of TPOT over what these means give.
    """

    waits: Floats
    pure: Floats
    mixed: Floats
    n_pure: Floats
    n_mixed: Floats
    n_first: Floats
    ratio: Floats


def _steps(asked: Problem, at: npt.NDArray[np.int64], costs: Floats, contents: Floats) -> Floats:
    """Return the times of steps with these contents, one for each row of `at`."""
    times = np.zeros(len(costs))
    step_times(
        costs, asked.choices[at], new_state(1, 1, 1, 1), asked.tables, asked.table_of[at],
        np.zeros(len(COUNTERS)), contents, times,
    )  # fmt: skip
    return times


def _schedule(
    asked: Problem, at: npt.NDArray[np.int64], costs: Floats, runs: Sequence[Run]
) -> _Schedule:
    statistics = np.stack([run.statistics for run in runs if run.statistics is not None])
    means = statistics[:, :, :N_CONTENTS] / np.maximum(statistics[:, :, N_CONTENTS, None], 1.0)
    pure, mixed = (np.ascontiguousarray(means[:, kind]) for kind in range(2))
    further = [_further(run) for run in runs]
    n = np.array(
        [
            (run.waits[:, run.counted_from :] / steps).mean(axis=1)
            for run, steps in zip(runs, further, strict=True)
            if run.waits is not None
        ]
    )
    pure_ns, mixed_ns = _steps(asked, at, costs, pure), _steps(asked, at, costs, mixed)
    tpot = np.array([run.tpot_ns.mean() for run in runs])
    has_median = ~np.isnan([asked.rows[row].ttft_median_ms for row in at])
    ttft = np.array(
        [
            np.median(run.ttft_ns) if is_median else run.ttft_ns.mean()
            for run, is_median in zip(runs, has_median, strict=True)
        ]
    )
    # A lone client finds an idle server.
    waits = np.array([float(asked.rows[row].clients > 1) for row in at])
    waited = costs[:, _FIRST] + waits * costs[:, _WAIT] * pure_ns
    return _Schedule(
        waits, pure, mixed, n[:, 0], n[:, 1],
        np.maximum(0.1 * _NS_PER_MS, ttft - waited) / np.maximum(mixed_ns, 1.0),
        np.log(tpot / (n[:, 0] * pure_ns + n[:, 1] * mixed_ns)),
    )  # fmt: skip


def _further(run: Run) -> npt.NDArray[np.float64]:
    """Return the tokens after the first of each request that counts, 1 at least."""
    return np.asarray(np.maximum(1.0, run.output_tokens[run.counted_from :] - 1.0))


def _logarithms(
    asked: Problem, at: npt.NDArray[np.int64], costs: Floats, plan: _Schedule
) -> tuple[Floats, Floats]:
    """Return logarithms of TPOT and TTFT [ms] of a schedule with other costs."""
    pure, mixed = _steps(asked, at, costs, plan.pure), _steps(asked, at, costs, plan.mixed)
    tpot = np.log((plan.n_pure * pure + plan.n_mixed * mixed) / _NS_PER_MS) + plan.ratio
    first = costs[:, _FIRST] + plan.waits * costs[:, _WAIT] * pure + plan.n_first * mixed
    return tpot, np.log(first / _NS_PER_MS)


def _runs(asked: Problem, costs: Floats, at: npt.NDArray[np.int64]) -> list[Run]:
    found = []
    for row in at:
        case = asked.cases[row]
        found.append(serve_case(case._replace(ready=replace(case.ready, costs=costs[row]))))
    return found


def serve_case(case: _Case) -> Run:
    """Serve the requests of a row."""
    return run(
        case.ready, case.requests, case.routing, documents(case.requests, case.routing),
        np.zeros(0), placement=case.placement, table=case.table,
    )  # fmt: skip


def fit(asked: Problem, at: npt.NDArray[np.int64], fitted_on: str = "") -> Calibration:
    """Return the factors that fit some of the rows best.

    Args:
      asked: All rows.
      at: (n,) rows to fit.
      fitted_on: Note of the calibration on them.
    """
    effect = asked.means
    base = _bases()[None]
    for _ in range(_ROUNDS):
        costs = _costs(asked, base + asked.effects @ effect)
        plan = _schedule(asked, at, costs[at], _runs(asked, costs, at))
        effect = _minimise(asked, at, plan, effect)
    found: dict[str, dict[str, float]] = {}
    for (constant, label), value in zip(asked.names, effect, strict=True):
        found.setdefault(constant, {})[label] = float(value)
    used = [asked.rows[row] for row in at]
    return Calibration(
        found,
        fitted_on,
        tuple(sorted({" ".join((r.names[0], r.names[2], r.names[3])) for r in used})),
    )


def _minimise(asked: Problem, at: npt.NDArray[np.int64], plan: _Schedule, start: Floats) -> Floats:
    """Return effects after Gauss-Newton steps with damping, from a start."""
    base = _bases()[None]
    applies = asked.effects[asked.deployment[at]]
    tpot_goal = np.log([asked.rows[row].tpot_ms for row in at])
    fitted = [asked.rows[row] for row in at]
    medians = [row.ttft_median_ms for row in fitted]
    means = [np.nan if row.compiles else row.ttft_ms for row in fitted]
    ttft_goal = np.log(np.where(np.isnan(medians), means, medians))
    scale = asked.weights[at] / _TPOT_SIGMA
    scales = np.concatenate((scale, scale * _TTFT_WEIGHT))
    # A row without one of the two measurements does not count for it.
    scales = np.where(np.isnan(np.concatenate((tpot_goal, ttft_goal))), 0.0, scales)
    goals = np.nan_to_num(np.concatenate((tpot_goal, ttft_goal)))
    precision = asked.spread**-2.0

    def model(logarithms: Floats) -> Floats:
        return np.concatenate(_logarithms(asked, at, _costs(asked, logarithms)[at], plan))

    def loss(effect: Floats) -> tuple[Floats, Floats, float]:
        predicted = model(base + asked.effects @ effect)
        errors = (predicted - goals) * scales
        robust = 2.0 * (np.sqrt(1.0 + errors * errors) - 1.0)
        return (
            predicted,
            errors,
            float(robust.sum() + (precision * (effect - asked.means) ** 2).sum()),
        )

    effect = start
    predicted, errors, value = loss(effect)
    damping = 1e-3
    for _ in range(_ITERATIONS):
        logarithms = base + asked.effects @ effect
        slopes = np.empty((len(goals), len(CONSTANT_NAMES)))
        for constant in range(len(CONSTANT_NAMES)):
            moved = logarithms.copy()
            moved[:, constant] += _STEP
            slopes[:, constant] = (model(moved) - predicted) / _STEP
        slopes *= scales[:, None]
        jacobian = np.einsum("rc,rce->re", slopes, np.concatenate((applies, applies)))
        robust = 1.0 / np.sqrt(1.0 + errors * errors)
        square = jacobian.T @ (jacobian * robust[:, None]) + np.diag(precision)
        gradient = jacobian.T @ (robust * errors) + precision * (effect - asked.means)
        better = None
        while better is None and damping < 1e6:
            step = np.linalg.solve(square + damping * np.diag(np.diag(square)), gradient)
            trial = loss(effect - step)
            if trial[2] < value:
                better = trial
            else:
                damping *= 8.0
        if better is None:
            break
        effect, gain = effect - step, value - better[2]
        predicted, errors, value = better
        damping /= 4.0
        if gain < _ENOUGH * value:
            break
    return effect


def predict(
    asked: Problem,
    fitted: Calibration | None,
    at: npt.NDArray[np.int64] | None = None,
) -> Predictions:
    """Return predictions of rows, all by default, through `Simulator.evaluate_batch`.

    Constants that were fitted go into a file of each row's engine; None for those that ship.

    Args:
      asked: All rows.
      fitted: Constants.
      at: Rows to predict.
    """
    chosen = np.arange(len(asked.rows)) if at is None else at
    rows = [asked.rows[place] for place in chosen]
    with TemporaryDirectory() as folder:
        changes = None
        if fitted is not None:
            files = {
                place: _engine_file(Path(folder), asked, fitted, int(place))
                for place in np.unique(asked.deployment[chosen])
            }
            changes = [{"engine": files[place]} for place in asked.deployment[chosen]]
        found = predictions(rows, changes)
    nothing = (np.nan,) * len(Prediction._fields)
    table = np.array([each or nothing for each in found]).reshape(-1, len(nothing))
    return Predictions(*table.T)


def _engine_file(folder: Path, asked: Problem, fitted: Calibration, deployment: int) -> str:
    """Write the engine of a deployment with fitted constants, and return the path."""
    labels = dict(asked.labels[deployment])
    values = {"like": labels["engine"], "constants": fitted.constants(labels)._asdict()}
    path = folder / f"engine-{deployment}.json"
    path.write_text(json.dumps({"engine": values}), encoding="utf-8")
    return str(path)


def serve(asked: Problem, fitted: Calibration, at: npt.NDArray[np.int64]) -> Predictions:
    """Return times of rows by a fit, straight from the kernel; rates are NaN.

    Args:
      asked: All rows.
      fitted: Constants.
      at: Rows to predict.
    """
    logarithms = np.log([tuple(fitted.constants(dict(labels))) for labels in asked.labels])
    runs = _runs(asked, _costs(asked, logarithms), at)
    ttft_ms = [run.ttft_ns / _NS_PER_MS for run in runs]
    return Predictions(
        np.array([times.mean() for times in ttft_ms]),
        np.array([run.tpot_ns.mean() for run in runs]) / _NS_PER_MS,
        np.full(len(at), np.nan),
        np.array([np.median(times) for times in ttft_ms]),
    )
