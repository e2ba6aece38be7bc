"""Conformance suite of simulators."""

import inspect
import pickle
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, final

import numpy as np

from archgym.errors import (
    ArchGymError,
    ConformanceError,
    InvalidArgumentError,
    InvalidDesignError,
    sentence,
)
from archgym.evaluation.capabilities import bounds_of, exported, results_without
from archgym.evaluation.limits import Limit
from archgym.evaluation.options import make_simulator
from archgym.evaluation.restriction import unrestricted
from archgym.evaluation.simulator import (
    FAILED,
    FEASIBLE,
    BatchResult,
    Simulator,
    Workload,
    check_declared,
    default_workload,
)
from archgym.spaces.space import DesignSpace

# A metric's name ends in its unit, in the spelling of the field; what the ending stands for.
_UNIT_ENDINGS = {
    "_ns": "ns",
    "_us": "us",
    "_ms": "ms",
    "_pj": "pJ",
    "_nj": "nJ",
    "_mw": "mW",
    "_w": "W",
    "_mm2": "mm2",
    "_mhz": "MHz",
    "_gbs": "GB/s",
    "_gb_per_s": "GB/s",
    "_cycles": "cycles",
    "_percent": "%",
}
_GOALS = {"minimise": 1, "maximise": -1}
_N_THREADS = 4
# How often `results` evaluates each design, that without costs aside.
_PASSES = 9
# The default design, one that can be built, and a raw one.
_FEWEST = 2
# chosen: what a table of every design holds.
_MAX_TABULATED = 2**25


def check_simulator(
    simulator: Simulator,
    *,
    n_designs: int = 24,
    workloads: Sequence[str] | None = None,
    seed: int = 0,
    seconds: float | None = None,
) -> None:
    """Prove that a simulator keeps the interface's promises.

    What it declares is complete and names what exists; workloads have digests that do not change;
    the default design runs on each, and is exported; results are the same twice, in a batch and
    alone, in any order, in threads, after pickling, and for any form of one design; built designs
    have finite numbers, others NaN and a reason; no design betters the bounds of its choices.

    Args:
      simulator: One instance: a space and a fidelity.
      n_designs: Random designs to evaluate, several times each, on every workload.
      workloads: Shipped workloads to run; all by default.
      seed: Random seed of the choice of designs.
      seconds: About how long it may take, compilation aside [s]; there is no limit if None.
        The default design runs on every workload in any case. Where simulating takes long, the
        rest has fewer designs, three at least, on the workloads that take least time.

    Raises:
      ConformanceError: Says what must hold, what came, and how to see it again.
      InvalidArgumentError: `simulator` is not a simulator.
    """
    if not isinstance(simulator, Simulator):
        raise InvalidArgumentError(
            f"`simulator` must be a Simulator, made for a space; got {simulator!r}."
        )
    try:
        check_declared(simulator)
    except InvalidArgumentError as error:
        raise ConformanceError(str(error)) from None
    names = simulator.workload_names() if workloads is None else tuple(workloads)
    check = _SimulatorCheck(simulator, n_designs, seed)
    check.declaration()
    check.space()
    check.objectives()
    for name in names:
        check.workload(name)
        check.default_design(name)
    for name in names[:1]:
        check.exports(name)
    check.all_results(names, seconds)
    check.workloads_apart(names)


@final
class _SimulatorCheck:
    """The checks, one method each."""

    def __init__(self, simulator: Simulator, n_designs: int, seed: int) -> None:
        self._simulator = simulator
        self._n = n_designs
        self._seed = seed
        # Of the default design on each workload, by wall time [s].
        self._took_s: dict[str, float] = {}

    # ---- what it says of itself

    def declaration(self) -> None:
        """Check names, units, documentation, reasons and groups."""
        simulator = self._simulator
        self._require(bool(simulator.name), "`name` must be given", simulator.name)
        doc = inspect.getdoc(type(simulator))
        self._require(
            bool(doc) and doc != inspect.getdoc(Simulator), "the class must have a docstring", doc
        )
        version = simulator.version
        self._require(type(version) is int and version >= 0, "`version` must be 0 or more", version)
        for spec in simulator.metrics:
            self._require(bool(spec.doc), f"metric `{spec.name}` needs a `doc`", spec.doc)
            for ending, unit in _UNIT_ENDINGS.items():
                if spec.name.endswith(ending):
                    self._require(
                        spec.unit == unit,
                        f"metric `{spec.name}` must be in {unit}, as its name says",
                        spec.unit,
                    )
        reasons = simulator.spec.reasons
        self._require(all(reasons[1:]), "each reason must be a sentence", reasons)
        known = simulator.spec.fidelity_names
        self._require(
            simulator.fidelity in known, f"`fidelity` must be one of {known}", simulator.fidelity
        )
        self._groups()
        self._costs()
        self._table_space()

    def _costs(self) -> None:
        """Check that each cost names what is free without it, and what relieves it exists."""
        simulator = self._simulator
        for cost, doc in simulator.spec.costs.items():
            self._require(
                all(text and text.isprintable() for text in (cost, doc)),
                f"cost {cost!r} must say what is free without it, in one line",
                doc,
            )
        strange = sorted(set(simulator.spec.relief) - set(simulator.spec.costs))
        self._require(not strange, "`relief` must name `costs`", strange)
        relieving = {name for names in simulator.spec.relief.values() for name in names}
        strange = sorted(relieving - set(unrestricted(simulator).space.names))
        for space in simulator.spec.space_names if strange else ():
            with suppress(InvalidArgumentError):  # its constructor may take no space
                names = make_simulator(type(simulator), space, None, {}).space.names
                strange = [name for name in strange if name not in names]
        self._require(not strange, "`relief` must name parameters of a space", strange)

    def _table_space(self) -> None:
        """Check that the space for tables, if any, can be counted and is small enough."""
        kind, spec = type(self._simulator), self._simulator.spec
        name = spec.table_space
        if name is None:
            return
        self._require(
            name in spec.space_names,
            f"`table_space` must be one of {spec.space_names}",
            name,
        )
        counted = make_simulator(kind, name, None, {}).space.count()
        self._require(
            counted.exact and counted.value <= _MAX_TABULATED,
            f"`table_space` must have at most {_MAX_TABULATED:,} designs, which can be counted",
            f"{counted} in {name!r}",
        )

    def _groups(self) -> None:
        """Check that sub-systems, if there are any, divide the space: one for each parameter."""
        groups, names = self._simulator.spec.groups, self._simulator.space.names
        for name, members in groups.items():
            self._require(bool(name), "a group of parameters must have a name", name)
            self._require(bool(members), f"group {name!r} must list parameters", members)
        grouped = [name for members in groups.values() for name in members]
        strange = sorted(set(grouped) - set(names))
        self._require(not strange, "`groups` must name parameters of the space", strange)
        self._require(
            len(set(grouped)) == len(grouped), "a parameter must be in one group at most", grouped
        )
        left_out = [name for name in names if name not in grouped]
        self._require(
            not groups or not left_out,
            "each parameter must be in a group where there are `groups`",
            f"none for {left_out}",
        )

    def space(self) -> None:
        """Check that the space is documented and survives JSON and pickle."""
        space = self._simulator.space
        for parameter in space.parameters:
            self._require(bool(parameter.doc), f"`{parameter.name}` needs a `doc`", parameter.doc)
        for constraint in space.constraints:
            self._require(bool(constraint.reason), "a constraint needs a reason", constraint.name)
        back = DesignSpace.from_json(space.to_json())
        self._require(back == space, "the space must come back from JSON as it was", back)
        copy = pickle.loads(pickle.dumps(space))  # noqa: S301 - what was pickled just here
        self._require(copy == space, "the space must come back from pickle as it was", copy)

    def objectives(self) -> None:
        """Check that objectives name metrics and are found by name."""
        simulator = self._simulator
        metrics = {spec.name for spec in simulator.metrics}
        for limit in (*simulator.spec.physical_limits, *simulator.spec.usual_limits):
            self._require(
                isinstance(limit, Limit) and limit.metric in metrics,
                "`physical_limits` and `usual_limits` must hold a Limit on a known metric each",
                repr(limit),
            )
        for name, objective in simulator.spec.objectives.items():
            self._require(
                objective.name == name, f"objective {name!r} must be named so", objective.name
            )
            strange = sorted({term.metric for term in objective.terms} - metrics)
            self._require(not strange, f"objective {name!r} must use known metrics", strange)
            lacking = [
                str(limit)
                for limit in simulator.spec.physical_limits
                if not limit.holds_in(objective.limits)
            ]
            self._require(not lacking, f"objective {name!r} must keep `physical_limits`", lacking)
        default = simulator.spec.default_objective
        self._require(
            default in simulator.spec.objectives, "`default_objective` must be one of them", default
        )

    # ---- workloads

    def workload(self, name: str) -> None:
        """Check that a workload has a name and a digest that another instance finds as well."""
        workload = self._simulator.workload(name)
        self._require(workload.name == name, f"workload {name!r} must be named so", workload.name)
        self._require(
            re.fullmatch("[0-9a-f]{64}", workload.digest) is not None,
            f"the digest of workload {name!r} must be SHA-256 in hexadecimal",
            workload.digest,
        )
        again = self._copy().workload(name)
        self._require(
            again.digest == workload.digest,
            f"the digest of workload {name!r} must not change",
            f"{workload.digest}, then {again.digest}",
        )

    def workloads_apart(self, names: Sequence[str]) -> None:
        """Check that no two workloads are the same, and that the default one is shipped."""
        shipped = self._simulator.workload_names()
        default = default_workload(self._simulator)
        self._require(default in shipped, "`default_workload` must be shipped", default)
        self._require(len(set(shipped)) == len(shipped), "workloads' names must differ", shipped)
        digests = [self._simulator.workload(name).digest for name in names]
        self._require(len(set(digests)) == len(digests), "workloads must differ", digests)

    def default_design(self, name: str) -> None:
        """Check that the default design runs, since rewards are relative to it."""
        space = self._simulator.space
        design = space.design_at(space.default_indices)
        workload = self._simulator.workload(name)
        started = time.perf_counter()
        try:
            metrics = self._simulator.evaluate(design, workload)
        except Exception as error:  # a simulator's own code may raise anything
            came = error if isinstance(error, ArchGymError) else repr(error)
            raise self._error(f"the default design must run on {name!r}", came, name) from error
        self._took_s[name] = time.perf_counter() - started
        self._require(
            metrics.infeasible is None,
            f"the default design must be feasible on workload {name!r}",
            metrics.infeasible,
            name,
        )

    def exports(self, name: str) -> None:
        """Check that each format writes texts of the default design, or says why it cannot."""
        simulator = self._simulator
        for form in simulator.spec.exports:
            try:
                default = simulator.space.default_indices.copy()
                files: Any = exported(simulator, form, default, simulator.workload(name))
            except InvalidDesignError:
                continue
            except Exception as error:  # a simulator's own code may raise anything
                raise self._error(f"format {form!r} must export", repr(error), name) from error
            self._require(
                isinstance(files, Mapping)
                and all(
                    isinstance(k, str) and isinstance(v, str | bytes) for k, v in files.items()
                ),
                f"format {form!r} must return contents of files by their names",
                type(files).__name__,
                name,
            )

    # ---- results

    def all_results(self, names: Sequence[str], seconds: float | None) -> None:
        """Check results on one or more workloads, fast ones first, until the time limit."""
        if seconds is None:
            for name in names:
                self.results(name, self._n)
            return
        ends_at = time.perf_counter() + seconds
        without = 2 * len(self._simulator.spec.costs)
        for place, name in enumerate(sorted(names, key=lambda name: self._took_s[name])):
            left_s = ends_at - time.perf_counter()
            if place and left_s < (_FEWEST * _PASSES + without) * self._took_s[name]:
                break
            share_s = left_s / (len(names) - place)
            took_s = self._time_of_one(name)
            fitting = int((share_s / max(took_s, 1e-9) - without) / _PASSES)
            self.results(name, min(self._n, max(_FEWEST, fitting)))

    def _time_of_one(self, name: str) -> float:
        """Return the mean time of few designs on a workload, by an instance that is new [s]."""
        copy = self._copy()
        workload = copy.workload(name)
        few = self._designs(_FEWEST)
        started = time.perf_counter()
        self._evaluate(copy, few, workload)
        return (time.perf_counter() - started) / len(few)

    def results(self, name: str, n_designs: int) -> None:
        """Check that results are complete, and equal each time."""
        space = self._simulator.space
        workload = self._simulator.workload(name)
        indices = self._designs(n_designs)
        given = indices.copy()
        first = self._evaluate(self._simulator, indices, workload)
        self._require(
            np.array_equal(indices, given), "the designs given must not be changed", "others", name
        )
        self._well_formed(first, indices, name)
        again = self._evaluate(self._simulator, indices, workload)
        self._same(first, again, indices, "evaluated twice", name)
        self._rewards(first, name)

        alone = [self._evaluate(self._simulator, row[None, :], workload) for row in indices]
        self._same(first, _joined(alone), indices, "evaluated one by one", name)
        order = np.random.default_rng(self._seed).permutation(len(indices))
        shuffled = self._evaluate(self._simulator, indices[order], workload)
        back = np.argsort(order)
        unshuffled = BatchResult(shuffled.values[back], shuffled.reason[back])
        self._same(first, unshuffled, indices, "evaluated in another order", name)
        canonical = self._evaluate(self._simulator, space.canonical(indices), workload)
        self._same(first, canonical, indices, "evaluated in canonical form", name)
        copy = self._copy()
        copied = self._evaluate(copy, indices, copy.workload(name))
        self._same(first, copied, indices, "evaluated by a pickled copy", name)
        with ThreadPoolExecutor(_N_THREADS) as pool:
            parts = np.array_split(indices, min(_N_THREADS, len(indices)))
            threaded = list(
                pool.map(lambda part: self._evaluate(self._simulator, part, workload), parts)
            )
        self._same(first, _joined(threaded), indices, f"evaluated by {_N_THREADS} threads", name)
        self._without_costs(first.values[0], indices[:1], workload)
        self._bounds(first, indices, workload)
        last = self._evaluate(self._simulator, indices, workload)
        self._same(first, last, indices, "evaluated after all of this", name)
        self._one(first, indices, workload)

    def _without_costs(self, before: np.ndarray, indices: np.ndarray, workload: Workload) -> None:
        """Check the default design without each cost: finite, the same twice, and not far worse."""
        goals = np.array([_GOALS.get(spec.goal, 0) for spec in self._simulator.metrics])
        is_moved, costs, name = False, self._simulator.spec.costs, workload.name
        for cost in costs:
            one, two = (results_without(self._simulator, cost, indices, workload) for _ in range(2))
            self._same(one, two, indices, f"simulated without {cost!r} twice", name)
            self._well_formed(one, indices, name)
            after = one.values[0]
            gain, sizes = goals * (before - after), np.sort(np.abs([before, after]), axis=0)
            is_worse = (gain < 0) & (sizes[1] >= 2 * sizes[0]) & ~(gain > 0).any()
            for column in np.flatnonzero(is_worse)[:1]:
                metric = self._simulator.metrics[column].name
                raise self._error(
                    f"the default design must not be twice as bad without cost {cost!r}",
                    f"{metric} {before[column]:g} with the cost and {after[column]:g} without it",
                    name,
                )
            is_moved |= bool((before != after).any())
        self._require(
            is_moved or not costs,
            "one of `costs` must change the design",
            f"the same metrics without each of {', '.join(costs)}",
            name,
        )

    def _bounds(self, result: BatchResult, indices: np.ndarray, workload: Workload) -> None:
        """Check that no design betters the bounds of none, half or all of its choices."""
        canonical = self._simulator.space.canonical(indices)
        is_chosen = np.random.default_rng(self._seed).random(canonical.shape)
        for share in (0.0, 0.5, 1.0):
            partial = np.where(is_chosen < share, canonical, -1)
            bounds = bounds_of(self._simulator, partial, workload)
            self._require(
                bounds.shape == result.values.shape,
                "`bounds` must have a row for each design and a column for each metric",
                bounds.shape,
                workload.name,
            )
            for column, spec in enumerate(self._simulator.metrics):
                gain = bounds[:, column] - result.values[:, column]
                # Comparisons with NaN are false: nothing is known, or the design was not built.
                worse = gain > 0 if spec.goal == "minimise" else gain < 0
                for row in np.flatnonzero(worse & (spec.goal != "none"))[:1]:
                    design = self._simulator.space.design_at(indices[row])
                    raise self._error(
                        f"no design with some choices may better their bound of `{spec.name}`",
                        f"{result.values[row, column]:g} {spec.unit}, bound "
                        f"{bounds[row, column]:g}, of {design}",
                        workload.name,
                    )

    def _designs(self, n_designs: int) -> np.ndarray:
        """Return the default design, feasible ones, and random ones that may be infeasible."""
        space = self._simulator.space
        rng = np.random.default_rng(self._seed)
        n = max(1, n_designs // 2)
        raw = rng.integers(space.sizes, size=(n, space.n_parameters), dtype=np.int64)
        return np.concatenate([space.default_indices[None, :], space.sample(n, rng), raw])

    def _well_formed(self, result: BatchResult, indices: np.ndarray, name: str) -> None:
        simulator = self._simulator
        shape = (len(indices), len(simulator.metrics))
        self._require(
            result.values.dtype == np.float64 and result.values.shape == shape,
            f"values must be float64 of shape {shape}",
            f"{result.values.dtype} {result.values.shape}",
            name,
        )
        legal = (result.reason >= FAILED) & (result.reason < len(simulator.spec.reasons))
        self._require(bool(legal.all()), "reasons must be listed", result.reason.tolist(), name)
        built = result.reason == FEASIBLE
        self._each(
            np.asarray(np.isfinite(result.values[built]).all(axis=1)),
            indices[built],
            "a design that was built must have finite numbers",
            name,
        )
        self._each(
            np.asarray(np.isnan(result.values[~built]).all(axis=1)),
            indices[~built],
            "a design that was not built must have NaN",
            name,
        )
        failed = set(np.flatnonzero(result.reason == FAILED).tolist())
        self._require(
            failed == set(result.failures),
            "`failures` must say why for exactly the designs on which it broke",
            sorted(result.failures),
            name,
        )

    def _rewards(self, result: BatchResult, name: str) -> None:
        simulator = self._simulator
        for objective in simulator.spec.objectives.values():
            reward = objective.reward(
                result.values, result.values[0], simulator.metrics, result.reason
            )
            self._require(
                bool(np.isfinite(reward).all()),
                f"objective {objective.name!r} must give finite rewards",
                reward.tolist(),
                name,
            )

    def _one(self, batch: BatchResult, indices: np.ndarray, workload: Workload) -> None:
        """Check that `evaluate` is the batch of one."""
        simulator = self._simulator
        for row in np.flatnonzero(batch.reason != FAILED)[:4]:
            metrics = simulator.evaluate(simulator.space.design_at(indices[row]), workload)
            built = batch.reason[row] == FEASIBLE
            expected = batch.values[row].tolist() if built else []
            reason = None if built else simulator.spec.reasons[int(batch.reason[row])]
            self._require(
                list(metrics.values()) == expected and metrics.infeasible == reason,
                "`evaluate` must equal the batch",
                metrics,
                workload.name,
            )

    def _same(
        self, one: BatchResult, other: BatchResult, indices: np.ndarray, how: str, name: str
    ) -> None:
        same = (one.reason == other.reason) & (
            (one.values == other.values) | np.isnan(one.values) & np.isnan(other.values)
        ).all(axis=1)
        self._each(same, indices, f"results must be the same when {how}", name)

    def _each(self, holds: np.ndarray, indices: np.ndarray, what: str, name: str) -> None:
        if not holds.all():
            row = int(np.argmin(holds))
            design = self._simulator.space.design_at(indices[row])
            raise self._error(what, f"otherwise for {int((~holds).sum())}, one {design!r}", name)

    # ---- running it

    def _copy(self) -> Simulator:
        try:
            copy = pickle.loads(pickle.dumps(self._simulator))  # noqa: S301 - pickled just here
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise self._error("a simulator must pickle", repr(error)) from error
        self._require(
            isinstance(copy, Simulator) and copy.space == self._simulator.space,
            "a simulator must come back from pickle as it was",
            copy,
        )
        assert isinstance(copy, Simulator)
        return copy

    def _evaluate(
        self, simulator: Simulator, indices: np.ndarray, workload: Workload
    ) -> BatchResult:
        try:
            return simulator.evaluate_batch(indices, workload)
        except Exception as error:
            raise self._error(
                f"a batch of {len(indices)} must be evaluated", repr(error), workload.name
            ) from error

    def _require(self, holds: bool, what: str, came: Any, workload: str | None = None) -> None:
        if not holds:
            raise self._error(what, came, workload)

    def _error(self, what: str, came: Any, workload: str | None = None) -> ConformanceError:
        simulator = self._simulator
        on = f" on workload {workload!r}" if workload is not None else ""
        only = f", workloads=[{workload!r}]" if workload is not None else ""
        return ConformanceError(
            f"Simulator {simulator.name!r}, space {simulator.space.name!r}{on}: {what}; got "
            f"{sentence(str(came))} See it again with "
            f"check_simulator({type(simulator).__qualname__}(…), "
            f"n_designs={self._n}, seed={self._seed}{only})."
        )


def _joined(results: Sequence[BatchResult]) -> BatchResult:
    return BatchResult(
        np.concatenate([result.values for result in results]),
        np.concatenate([result.reason for result in results]),
    )
