"""Fit of engine constants to measured serving: robust, with priors, in seconds.

A benchmark is served once with the constants so far. What its requests waited for (so many
decode-only steps, so many steps with prompts, each with their mean contents) then stays, while the
constants move; twice is enough. Errors are those of logarithms; large ones count linearly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.moe.client import step_ns
from archgym.simulators.moe.clock import CONSTANT_NAMES, Constants, Dimensions, engine_costs
from archgym.simulators.moe.closed_loop import ClosedLoop, serve
from archgym.simulators.moe.columns import COSTS
from archgym.simulators.moe.engines import PRIORS, Calibration
from evidence.moe.measured import Measured

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


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """Rows made ready for fits.

    Attributes:
      rows: Measured rows.
      deployment: (n_rows,) int64, index of each row's distinct deployment.
      dimensions: Sizes of distinct deployments, arrays.
      shapes: (n_rows, len(SHAPE)) int64.
      effects: (n_deployments, n_constants, n_effects), 1 where an effect applies.
      names: Constant and label of each effect.
      means: (n_effects,) prior mean of each.
      spread: (n_effects,) prior standard deviation of each.
      weights: (n_rows,), so that deployments with many rows do not dominate.
    """

    rows: Sequence[Measured]
    deployment: npt.NDArray[np.int64]
    dimensions: Dimensions
    shapes: npt.NDArray[np.int64]
    effects: Floats
    names: tuple[tuple[str, str], ...]
    means: Floats
    spread: Floats
    weights: Floats


@final
@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of rows: TTFT and TPOT [ms], output tokens a second and GPU."""

    ttft_ms: Floats
    tpot_ms: Floats
    output_per_s: Floats


def problem(rows: Sequence[Measured]) -> Problem:
    """Return rows made ready for fits."""
    keys = [row.deployment for row in rows]
    # The step budget and the look for requests belong to the row, not to its costs.
    distinct = {(d.dimensions, tuple(d.by_kind.items())): d for d in keys}
    order = {key: place for place, key in enumerate(distinct)}
    deployment = np.array([order[d.dimensions, tuple(d.by_kind.items())] for d in keys])
    found = list(distinct.values())
    by_kind = [d.by_kind for d in found]
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
    effects = np.zeros((len(found), len(CONSTANT_NAMES), len(names)))
    for place, of in enumerate(by_kind):
        present = {f"{kind}={level}" for kind, level in of.items()} | {""}
        for column, (constant, label) in enumerate(names):
            if label in present:
                effects[place, CONSTANT_NAMES.index(constant), column] = 1.0
    sizes = [d.dimensions for d in found]
    layouts = [row.layout for row in rows]
    counts = np.array([layouts.count(layout) for layout in layouts], dtype=np.float64)
    return Problem(
        rows,
        deployment,
        Dimensions(*(np.array(column, dtype=np.float64) for column in zip(*sizes, strict=True))),
        np.stack([row.deployment.shape() for row in rows]),
        effects,
        tuple(names),
        np.array([PRIORS[constant].means.get(label, 0.0) for constant, label in names]),
        np.array(spread),
        np.minimum(_MOST_WEIGHT, np.sqrt(_ROWS_THAT_COUNT / counts)),
    )


def _bases() -> Floats:
    return np.log([PRIORS[name].base for name in CONSTANT_NAMES])


def _costs(asked: Problem, logarithms: Floats) -> Floats:
    """Return costs of each row from logarithms of constants, (n_deployments, n_constants)."""
    values = np.exp(logarithms).T
    return engine_costs(asked.dimensions, Constants(*values))[asked.deployment]


@final
@dataclass(frozen=True, eq=False)
class _Schedule:
    """Waits of the requests of rows; see the module.

    Attributes:
      pure, mixed: (n, 6) mean contents of decode-only steps and of steps with prompts.
      n_pure, n_mixed: (n,) such steps per further token.
      n_first: (n,) steps with prompts before the first token.
      ratio: (n,) logarithm of TPOT over what these means give.
    """

    pure: Floats
    mixed: Floats
    n_pure: Floats
    n_mixed: Floats
    n_first: Floats
    ratio: Floats


def _steps(shapes: npt.NDArray[np.int64], costs: Floats, contents: Floats) -> Floats:
    times = np.zeros(len(costs))
    step_ns(costs, shapes, contents, times)
    return times


def _schedule(
    shapes: npt.NDArray[np.int64], costs: Floats, loops: Sequence[ClosedLoop]
) -> _Schedule:
    statistics = np.stack([loop.statistics for loop in loops])
    means = statistics / np.maximum(statistics[:, :, :1], 1.0)
    pure, mixed = (
        np.column_stack((means[:, kind, 1:6], np.maximum(1.0, means[:, kind, 1] + kind)))
        for kind in (0, 1)
    )
    pure, mixed = np.ascontiguousarray(pure), np.ascontiguousarray(mixed)
    n = np.stack([loop.steps for loop in loops])
    pure_ns, mixed_ns = _steps(shapes, costs, pure), _steps(shapes, costs, mixed)
    tpot = np.array([loop.mean_tpot_ms for loop in loops]) * _NS_PER_MS
    ttft = np.array([loop.mean_ttft_ms for loop in loops]) * _NS_PER_MS
    waited = costs[:, _FIRST] + costs[:, _WAIT] * pure_ns
    return _Schedule(
        pure, mixed, n[:, 0], n[:, 1],
        np.maximum(0.1 * _NS_PER_MS, ttft - waited) / np.maximum(mixed_ns, 1.0),
        np.log(tpot / (n[:, 0] * pure_ns + n[:, 1] * mixed_ns)),
    )  # fmt: skip


def _logarithms(
    shapes: npt.NDArray[np.int64], costs: Floats, plan: _Schedule
) -> tuple[Floats, Floats]:
    """Return logarithms of TPOT and TTFT [ms] of a schedule with other costs."""
    pure, mixed = _steps(shapes, costs, plan.pure), _steps(shapes, costs, plan.mixed)
    tpot = np.log((plan.n_pure * pure + plan.n_mixed * mixed) / _NS_PER_MS) + plan.ratio
    first = costs[:, _FIRST] + costs[:, _WAIT] * pure + plan.n_first * mixed
    return tpot, np.log(first / _NS_PER_MS)


def _loops(asked: Problem, costs: Floats, at: npt.NDArray[np.int64]) -> list[ClosedLoop]:
    return [serve(costs[row], asked.shapes[row], asked.rows[row].load()) for row in at]


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
        plan = _schedule(asked.shapes[at], costs[at], _loops(asked, costs, at))
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
    base, shapes = _bases()[None], asked.shapes[at]
    applies = asked.effects[asked.deployment[at]]
    tpot_goal = np.log([asked.rows[row].tpot_ms for row in at])
    ttft_goal = np.log([asked.rows[row].ttft_ms for row in at])
    scale = asked.weights[at] / _TPOT_SIGMA
    scales = np.concatenate((scale, scale * _TTFT_WEIGHT))
    # A row without one of the two measurements does not count for it.
    scales = np.where(np.isnan(np.concatenate((tpot_goal, ttft_goal))), 0.0, scales)
    goals = np.nan_to_num(np.concatenate((tpot_goal, ttft_goal)))
    precision = asked.spread**-2.0

    def model(logarithms: Floats) -> Floats:
        return np.concatenate(_logarithms(shapes, _costs(asked, logarithms)[at], plan))

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
    asked: Problem, fitted: Calibration, at: npt.NDArray[np.int64] | None = None
) -> Predictions:
    """Return predictions of rows, all by default."""
    chosen = np.arange(len(asked.rows)) if at is None else at
    out: list[Any] = []
    for place in chosen:
        row = asked.rows[place]
        costs = row.deployment.costs(fitted)
        loop = serve(costs, asked.shapes[place], row.load())
        rate = loop.steady_per_s if row.is_steady or row.staggered else loop.output_per_s
        out.append((loop.mean_ttft_ms, loop.mean_tpot_ms, rate / row.deployment.n_gpus))
    return Predictions(*np.array(out, dtype=np.float64).reshape(-1, 3).T)
