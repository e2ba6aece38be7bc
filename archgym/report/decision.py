"""Decisions under a simulator's error: which design may be the best, and what to measure next."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np

from archgym.analysis.pareto import front
from archgym.checks import check_choice, check_number, check_whole
from archgym.errors import ArchGymError, InvalidArgumentError
from archgym.evaluation.capabilities import never_compared
from archgym.evaluation.metrics import STANDARD_ERROR, MetricSpec
from archgym.evaluation.objective import Objective, objective_from_json
from archgym.evaluation.options import make_simulator
from archgym.evaluation.restriction import bare, split_space
from archgym.evaluation.simulator import (
    derived_values,
    simulator_class,
    simulator_names,
)
from archgym.files.storage import require_inside
from archgym.measurements.calibrated import (
    CONFIDENCE_OPTION,
    MEASURED_OPTION,
    SIMULATED,
    own_metric,
)
from archgym.measurements.calibration import Calibration, Declaration, calibration_of
from archgym.measurements.file import MEASURED_NAME, Measurements, read_measurements, require_there
from archgym.measurements.points import SPACE, WORKLOAD, Points, facts_of, joined, points_of
from archgym.measurements.prior import bounds, corrected, may_be_wrong
from archgym.measurements.process import Posterior
from archgym.report.quantities import counted
from archgym.runtime.importing import one_thread
from archgym.spaces.design import Design
from archgym.studies.snapshot import StudyLog

Robust = Literal["no", "expected", "p10"]
ROBUST: Final = ("no", "expected", "p10")
"""Rules of the recommendation: by the most likely metrics, by the expected reward, or by the reward
that the design exceeds with a probability of 90 %."""
SHARE: Final = 0.9
"""Probability with which the smallest set holds the best design."""
WORTH: Final = 0.002
"""Expected reduction of the loss below which another measurement is not worth it, as a share.
Chosen: a fifth of a percent is less than a measurement repeats within."""
ON_FRONT: Final = 0.5
"""Probability from which a design counts as one of the front. Chosen: as likely as not."""
_DRAWS, _FRONTS = 2000, 400
_MOST_DESIGNS: Final = 150
# chosen: sides of a covariance that is factored in a tenth of a second.
_MOST_SIDES: Final = 600
_ALIKE: Final = 1e-9
# What draws cannot tell: two standard errors of a half, and one of a tenth.
_OF_EVEN: Final = float(2.0 * np.sqrt(0.5 * 0.5 / _DRAWS))
_OF_QUANTILE: Final = float(np.sqrt(0.1 * 0.9 / _DRAWS))
# As for a hypervolume's corner: nobody takes a design that is twice as bad as the default one.
_MISSED: Final = float(np.log(2.0))


@final
@dataclass(frozen=True)
class Candidate:
    """A design that may be the best.

    Attributes:
      seq: Number of its ask, from 0.
      evaluation: Number of its evaluation, from 1, as `archgym show` has it.
      design: Values by parameter.
      reward: Reward of its most likely metrics.
      p_best: Probability that it is the best of those evaluated; of several terms, by their sum.
      n_equal, p_equal: Designs that equal it in all that counts, itself included, and the
        probability that they are the best.
      p_limits: Probability that it meets each limit, by the limit.
      loss: Expected loss if it is chosen, in units of the reward.
      low, high: 90 % interval of its reward.
      metrics: Most likely value, and the ends of its 90 % interval, by metric of the objective.
      is_measured: True if it was measured.
      measured: Mean of the measured values by metric of the objective, over all runs.
      p_front: Probability that no other design beats it in every term of the objective.
      is_front: True if that is 50 %, or so by the most likely metrics.
    """

    seq: int
    evaluation: int
    design: Design
    reward: float
    p_best: float
    n_equal: int
    p_equal: float
    p_limits: Mapping[str, float]
    loss: float
    low: float
    high: float
    metrics: Mapping[str, tuple[float, float, float]]
    is_measured: bool
    measured: Mapping[str, float]
    p_front: float
    is_front: bool

    def margin(self, metric: str) -> float:
        """Return half of the width of a metric's 90 % interval [%]."""
        likely, low, high = self.metrics[metric]
        return 50.0 * (high - low) / likely if likely else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON members."""
        return {**self.__dict__, "design": dict(self.design)}


@final
@dataclass(frozen=True)
class Next:
    """A design to measure, and what that is expected to be worth.

    Attributes:
      candidate: The design.
      loss_before, loss_after: Expected loss without this measurement and with it, given those
        that come before it.
    """

    candidate: Candidate
    loss_before: float
    loss_after: float


@final
@dataclass(frozen=True, eq=False)
class Decision:
    """Choice among evaluated designs under the simulator's error.

    Life cycle:

    1. `decide` reads a study, and measurements where there are some.
    2. `best` is the design to take, `alternatives` a set that holds the best in 90 % of cases,
       and `front` the set of an objective that trades several terms.
    3. `next` names designs to measure, until `is_settled`.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> from archgym.tasks.task import Task
      >>> from archgym.studies.snapshot import read_study
      >>> from archgym.studies.study import Study
      >>> from archgym.testing import ProvingSimulator
      >>> task = Task.make(ProvingSimulator("tiny", has_failures=False), "near")
      >>> with TemporaryDirectory() as folder:
      ...     _ = Study.create(f"{folder}/runs", task, "random", seed=1, budget=8).run()
      ...     decision = decide(read_study(f"{folder}/runs"))
      >>> decision.origin, 0.0 < decision.best.p_best <= 1.0
      ('chosen', True)
    """

    candidates: tuple[Candidate, ...]
    """Those that were looked at, the recommended one first, then by the probability to be best."""
    utility: np.ndarray
    """(n_draws, n_candidates), worth of each candidate in draws of the error."""
    errors: np.ndarray
    """(n_draws, n_candidates, n_errors), draws of what a measurement of each would show."""
    calibration: Calibration
    n_left_out: int
    """Feasible evaluations that were not looked at, since they come far behind."""
    confidence: float
    is_relative: bool
    """True if a difference of rewards is one of logarithms, and can be said in percent."""
    quantities: tuple[int, ...] = ()
    """Numbers of the quantities that `errors` has, for each workload."""
    n_terms: int = 1
    """Terms of the objective."""
    not_known: tuple[str, ...] = ()
    """Metrics of the objective whose error is not known, so that they count as exact."""
    repeated: tuple[str, ...] = ()
    """Metrics of the objective that are means of several runs, whose standard error counts."""

    @property
    def best(self) -> Candidate:
        """The recommended design."""
        return self.candidates[0]

    @property
    def origin(self) -> str:
        """Origin of the prior: learned, exact or chosen."""
        return self.calibration.prior.origin

    @cached_property
    def alternatives(self) -> tuple[Candidate, ...]:
        """Fewest designs that include the best one with probability 90 %, likeliest first.

        One of designs that are equal in all that counts stands for them.
        """
        shares = np.array([c.p_best for c in self.candidates])
        _, first = np.unique(_equals(self.utility, shares), return_index=True)
        ordered = sorted((self.candidates[p] for p in sorted(first)), key=lambda c: -c.p_equal)
        total = np.cumsum([c.p_equal for c in ordered])
        return tuple(ordered[: int(np.searchsorted(total, SHARE - _ALIKE)) + 1])

    @property
    def front(self) -> tuple[Candidate, ...]:
        """Designs that may be on the front of several terms, by their first metric."""
        found = [c for c in self.candidates if self.n_terms > 1 and c.is_front]
        return tuple(sorted(found, key=lambda c: next(iter(c.metrics.values()))[0]))

    @property
    def title(self) -> str:
        """Event whose probability is `p_equal`, in words."""
        event = "is the best" if self.n_terms == 1 else "has the best weighted sum"
        event = "comes closest" if self.missed else event
        n = self.best.n_equal
        return event if n == 1 else f"is one of {n} equal designs, and one of them {event}"

    @property
    def missed(self) -> list[str]:
        """Limits that the recommended design meets less often than the confidence asks."""
        return [t for t, chance in self.best.p_limits.items() if chance < self.confidence]

    @property
    def is_blind(self) -> bool:
        """True if nothing is known of the error of any metric of the objective."""
        return bool(self.not_known) and not self.quantities

    @property
    def aside(self) -> str:
        """Errors that chances leave out, in words; "" for none."""
        names = " and ".join(self.not_known)
        return f", without the error of {names}, which is not known" if names else ""

    @property
    def is_settled(self) -> bool:
        """True if it is the best design in 90 % of cases, or its expected loss is nothing."""
        sure = self.best.p_equal >= SHARE or self.best.loss < WORTH
        return sure and not self.is_blind

    def is_worth(self, steps: Sequence[Next]) -> bool:
        """Return True if measuring reduces the loss by more than another choice would now.

        Args:
          steps: Designs to measure next.
        """
        least = min(candidate.loss for candidate in self.candidates)
        return not self.is_settled and least - steps[-1].loss_after >= WORTH

    def beats(self, one: int, other: int) -> float:
        """Return the probability that a candidate is better than another, ties halved.

        Args:
          one: Place among `candidates`.
          other: Place of the other.
        """
        difference = self.utility[:, one] - self.utility[:, other]
        return float((difference > _ALIKE).mean() + 0.5 * (np.abs(difference) <= _ALIKE).mean())

    @one_thread
    def next(self, n: int = 1, seed: int = 0) -> list[Next]:
        """Return designs to measure next, each with the loss that it is expected to leave.

        Draws of what a measurement shows are regressed on; half of the draws choose a design from
        it, and the other half say what that choice is worth.

        Args:
          n: Number of designs; each is chosen given those before it.
          seed: Random seed of the noise of measurements.

        Source:
          Strong, Oakley and Brennan, *Estimating Multiparameter Partial Expected Value of Perfect
          Information from a Probabilistic Sensitivity Analysis Sample*, Medical Decision Making
          2014; Frazier, Powell and Dayanik, *The Knowledge-Gradient Policy for Correlated Normal
          Beliefs*, INFORMS Journal on Computing 2009.
        """
        check_whole("n", n, 1)
        rng = np.random.default_rng(seed)
        shown = self.errors
        if self.quantities:
            noise = self._noise()
            shown = shown + rng.multivariate_normal(
                np.zeros(noise.shape[0]), noise, shown.shape[:2], method="eigh"
            )
        ideal = float(self.utility.max(axis=1).mean())
        start = float(self.utility[:, 0].mean())
        taken: list[int] = []
        found: list[Next] = []
        worth = start
        for _ in range(min(n, len(self.candidates))):
            values = {
                place: self._value([*taken, place], shown)
                for place in range(len(self.candidates))
                if place not in taken
            }
            # Where none is worth it, the first: the recommended design, then the most likely ones.
            place = max(values, key=lambda p: (max(worth, values[p]), -p))
            after = max(worth, values[place])
            found.append(Next(self.candidates[place], ideal - worth, ideal - after))
            taken.append(place)
            worth = after
        return found

    def _value(self, places: Sequence[int], shown: np.ndarray) -> float:
        """Return the expected worth of the choice after some designs were measured."""
        seen = np.concatenate([shown[:, place] for place in places], axis=1)
        scale = np.maximum(seen.std(axis=0), _ALIKE)
        seen = (seen - seen.mean(axis=0)) / scale
        basis = np.concatenate((np.ones((len(seen), 1)), seen, seen**2), axis=1)
        first = np.arange(len(seen)) % 2 == 0
        total = 0.0
        for fit in (first, ~first):
            known = basis[fit]
            square = known.T @ known + _ALIKE * len(known) * np.eye(known.shape[1])
            weights = np.linalg.solve(square, known.T @ self.utility[fit])
            chosen = np.argmax(basis[~fit] @ weights, axis=1)
            total += float(np.take_along_axis(self.utility[~fit], chosen[:, None], axis=1).mean())
        return 0.5 * total

    def _noise(self) -> np.ndarray:
        """Return the covariance of the noise of what a measurement shows."""
        whole = self.calibration.process.noise_covariance()
        n = self.errors.shape[2] // max(len(self.quantities), 1)
        part = whole[np.ix_(self.quantities, self.quantities)]
        return np.asarray(np.kron(np.eye(n), part))

    def percent(self, difference: float) -> str:
        """Return a difference of rewards in words: in percent where rewards are logarithms."""
        if not self.is_relative:
            return f"{difference:.3g}"
        return f"{100.0 * -np.expm1(-difference):.2g} %"

    def sentences(self) -> list[str]:
        """Return what the decision says, in words."""
        best, origin = self.best, self.origin
        how = {
            "learned": "The error was learned from rows that the simulator is validated on.",
            "exact": "The simulator has no error against "
            f"{self.calibration.prior.source}; against silicon it is not known.",
            "chosen": "No error was learned from measured rows: a guess stands in"
            + (", which measurements correct." if self.calibration.n_runs else "."),
        }[origin]
        found = [how]
        if self.calibration.n_runs:
            found.append(
                f"{counted(self.calibration.n_runs, 'measurement')} of "
                f"{counted(self.calibration.n_designs, 'design')} count."
            )
            process, names = self.calibration.process, self.calibration.prior.quantities
            missing = [names[q] for q in self.quantities if q not in process.measured_quantities]
            if missing:
                found.append(f"No measurement has {', '.join(missing)}: its error is the prior's.")
        found += [line + "." for line in self.calibration.notes]
        if self.repeated:
            runs = f"The standard error of its runs counts for {' and '.join(self.repeated)}."
            found = [*(found if self.quantities else found[1:]), runs]
        elif not self.quantities:
            found.append("No metric of the objective has a modelled error: all count as exact.")
        if origin == "chosen" and len(self.quantities) > 1:
            texts = ", ".join(self.calibration.prior.quantities[q] for q in self.quantities)
            found.append(f"Errors of {texts} are taken as independent of each other.")
        live = self.calibration.metrics.values()
        found += [
            f"{s.name} is taken as positive, since no other value is known."
            for s in live
            if s.name in best.metrics and replace(s, signed=not s.signed).is_undeclared
        ]
        n = len(self.alternatives)
        if self.missed:
            found.append(
                f"No design is known to meet {' and '.join(self.missed)} with "
                f"{100 * self.confidence:.0f} %; the one that comes closest is named. To search "
                "on: `archgym resume`."
            )
        of = f"{self.title} of {len(self.candidates)}"
        if self.is_blind:
            text = f"as simulated; the error of {' and '.join(self.not_known)} is not known"
            return [*found, f"Evaluation {best.evaluation} {of}, {text}."]
        if self.errors.shape[2] > max(len(self.quantities), 1):
            found.append("Metrics below are means over the workloads; limits apply to each.")
        found.append(
            f"Evaluation {best.evaluation} {of} with {100 * best.p_equal:.0f} %; its expected loss "
            f"is {self.percent(best.loss)}{self.aside}."
        )
        if best.p_limits:
            found.append("A design that misses a limit counts as worse than all that meet it.")
        least = min(self.candidates, key=lambda c: c.loss)
        if best.loss - least.loss >= WORTH:
            found.append(
                f"Evaluation {least.evaluation} has the least expected loss, "
                f"{self.percent(least.loss)}: `--robust expected` chooses by it, and "
                "`--confidence 0.9` by safer limits."
            )
        if n > 1 or self.alternatives[0].seq != best.seq:
            found.append(f"{counted(n, 'design')} together hold the best one with 90 %.")
        if len(self.candidates) > 1:
            found.append(self._comparison())
        for text, chance in best.p_limits.items():
            aside = self.aside if text.split()[0] in self.not_known else ""
            found.append(f"It meets {text} with {100 * chance:.0f} %{aside}.")
        if self.n_terms > 1:
            found.append(
                f"The objective is the weighted sum of {self.n_terms} terms; "
                f"{counted(len(self.front), 'design')} may be on their front."
            )
        return found

    def _comparison(self) -> str:
        group = _equals(self.utility, np.arange(len(self.candidates), 0, -1))
        at = int(np.argmax(group != group[0])) or 1
        rival = self.candidates[at]
        chance, gap = self.beats(0, at), self.best.reward - rival.reward
        one, other = self.best.evaluation, rival.evaluation
        text = f"Evaluation {one} beats {other} with {100 * chance:.0f} %"
        if abs(chance - 0.5) <= _OF_EVEN:
            text = f"It is even whether evaluation {one} or {other} is better"
        if self.n_terms > 1:
            text = f"Of {one} and {other} alone, {one} has the better sum with {100 * chance:.0f} %"
        ties = float((np.abs(self.utility[:, 0] - self.utility[:, at]) <= _ALIKE).mean())
        if ties == 1.0:
            return f"Evaluation {other} is as good as {one} in all that counts."
        text += f", ties halved ({100 * ties:.0f} %)" if ties >= 0.01 else ""
        if 1.0 - SHARE < chance < SHARE and gap > 0:
            return f"{text}; the difference of {self.percent(gap)} is within the error."
        return f"{text}."

    def to_json(self, n_next: int = 0) -> dict[str, Any]:
        """Return the decision as JSON members.

        Args:
          n_next: Number of designs to measure next.
        """
        return {
            "prior": {"origin": self.origin, "source": self.calibration.prior.source},
            "measurements": self.calibration.n_runs,
            "notes": list(self.calibration.notes),
            "confidence": self.confidence,
            "best": self.best.to_json(),
            "alternatives": [candidate.to_json() for candidate in self.alternatives],
            "without_error": list(self.not_known),
            "with_standard_error": list(self.repeated),
            "front": [candidate.to_json() for candidate in self.front],
            "beats_second": self.beats(0, 1) if len(self.candidates) > 1 else None,
            "settled": self.is_settled,
            "next": [
                {**s.candidate.to_json(), "loss_before": s.loss_before, "loss_after": s.loss_after}
                for s in (self.next(n_next) if n_next else [])
            ],
        }


def decide(
    log: StudyLog,
    measured: str | Path | Measurements | None = None,
    *,
    confidence: float | None = None,
    robust: Robust = "no",
    seed: int = 0,
) -> Decision:
    """Return which evaluated design of a study to take under the simulator's error.

    Args:
      log: The study.
      measured: Measurements or their file; by default those in the study's folder, if any.
      confidence: Probability with which limits must be met; by default the task's, or 0.5.
      robust: Rule of the recommendation; see `ROBUST`.
      seed: Random seed of the draws.

    Raises:
      InvalidArgumentError: No design was feasible.
      FileFormatError: The measurements are damaged.
    """
    check_choice("robust", robust, ROBUST)
    options = {name: str(value) for name, value in log.header.task["options"].items()}
    stated = float(options.pop(CONFIDENCE_OPTION, 0.5))
    options.pop(MEASURED_OPTION, None)
    wanted = check_number("confidence", stated if confidence is None else confidence, 0.5, 0.999)
    source, facts, not_compared = _source(log, options)
    calibration = calibration_of(source, _measurements(log, measured), not_compared)
    problem = _Problem.of(log, source, facts, calibration)
    posterior = calibration.process.predict(problem.points, problem.quantities)
    return _decision(log, problem, posterior, calibration, wanted, robust, seed)


def _measurements(log: StudyLog, measured: str | Path | Measurements | None) -> Measurements | None:
    """Return the measurements that are given, or those of the task and in the study's folder."""
    if isinstance(measured, Measurements):
        return measured
    if measured is not None:
        return read_measurements(measured)
    own, of_task = log.folder / MEASURED_NAME, log.header.task.get("measured")
    # The task's own; the file may have grown since.
    digest = str(log.header.task["options"].get(MEASURED_OPTION, "")).partition("-")[0]
    found = None if of_task is None else read_measurements(require_there(of_task)).up_to(digest)
    if os.path.lexists(own):
        require_inside(own)
        added = read_measurements(own).rows
        # The same file, or a copy of it, says everything once.
        before = () if found is None else found.rows
        known = set(map(repr, before))
        found = Measurements(own, (*before, *(row for row in added if repr(row) not in known)))
    return found


def _source(
    log: StudyLog, options: Mapping[str, str]
) -> tuple[Declaration, Sequence[Mapping[str, Any]], str]:
    """Return the simulator of a study, without what is held and without calibration.

    What the study recorded stands in for a simulator that cannot be made, such as without its
    files. Facts of each workload follow, and why no tool was compared on one, "" for none.
    """
    recipe = log.header.task
    name, space_name, version = recipe["simulator"], recipe["space_name"], recipe["version"]
    if name in simulator_names():
        with suppress(ArchGymError):
            kind = simulator_class(name)
            made = bare(make_simulator(kind, space_name, recipe["fidelity"], options))
            workloads = [made.workload(w["source"]) for w in recipe["workloads"]]
            reason = next(
                filter(None, (never_compared(made, workload) for workload in workloads)), ""
            )
            known = recipe.get("files", {})
            source = Declaration(name, version, made.space, made.metrics, made.options, known)
            return source, [facts_of(made, workload) for workload in workloads], reason
    names = [spec.name for spec in log.metrics]
    own = tuple(spec for spec in log.metrics if own_metric(spec.name, names) == spec.name)
    shared = {**options, SPACE: split_space(space_name)[0] or space_name}
    facts = [{**shared, WORKLOAD: str(w["digest"])} for w in recipe["workloads"]]
    feasible = log.records.values[log.is_feasible]
    lowest = {
        spec.name: float(feasible[..., place].min())
        for place, spec in enumerate(log.metrics)
        if feasible.size and np.isfinite(feasible[..., place]).all()
    }
    return Declaration(name, version, log.space, own, lowest=lowest), facts, ""


@final
@dataclass(frozen=True, eq=False)
class _Problem:
    """Candidates of a study, ready for draws.

    Attributes:
      rows: (n,) rows of the log.
      values: (n, w, n_columns), simulated metrics that the objective needs.
      specs: Metrics of the columns.
      parts: Numbers of errors of `quantities` in that of each column that has one.
      quantities: Numbers of the quantities that matter.
      points: n * w points, workloads of a design side by side.
      reference: (w, n_columns), of the default design.
      objective: The task's, with limits on metrics themselves.
      n_feasible: Feasible designs of the study.
      limits: Least and largest error that bounds of metrics allow, (n * w, n_quantities) each.
      scatter: (n, w, n_columns), standard errors of metrics that are means of several runs, else 0.
    """

    rows: np.ndarray
    values: np.ndarray
    specs: tuple[MetricSpec, ...]
    parts: Mapping[int, np.ndarray]
    quantities: tuple[int, ...]
    points: Points
    reference: np.ndarray
    objective: Objective
    n_feasible: int
    limits: tuple[np.ndarray, np.ndarray]
    scatter: np.ndarray

    @classmethod
    def of(
        cls,
        log: StudyLog,
        source: Declaration,
        facts: Sequence[Mapping[str, Any]],
        calibration: Calibration,
    ) -> "_Problem":
        """Return the most promising designs of a study."""
        objective = objective_from_json(log.header.task["objective"])
        # Limits apply to metrics themselves here, not to their quantiles.
        names = [spec.name for spec in log.metrics]
        limits = [replace(each, metric=own_metric(each.metric, names)) for each in objective.limits]
        objective = replace(objective, limits=tuple(limits))
        n_feasible = int(log.is_feasible.sum())
        if not n_feasible:
            raise InvalidArgumentError(
                f"{log.folder} has no feasible design to decide among. Search on."
            )
        live = calibration.metrics
        lasting = ((s, live.get(s.name, s)) for s in log.metrics)
        recorded = [
            replace(s, highest=of.highest, exact=of.exact, signed=of.signed) for s, of in lasting
        ]
        # A derived metric with an own error does not inherit that of others.
        own = calibration.prior.metrics
        recorded = [replace(s, formula=None) if s.name in own else s for s in recorded]
        specs = _needed(objective, recorded)
        parts = calibration.errors(specs)
        if calibration.prior.origin == "chosen" and not calibration.n_runs:
            # Several runs of each design say more of the error than a guess.
            known = {spec.name for spec in log.metrics}
            parts = {c: e for c, e in parts.items() if specs[c].name + STANDARD_ERROR not in known}
        quantities = tuple(np.flatnonzero(np.any([*parts.values()], axis=0)).tolist())
        sides = len(log.workloads) * max(len(quantities), 1)
        n = min(_MOST_DESIGNS, max(2, _MOST_SIDES // sides))
        rows = _promising(log, n)
        places = {spec.name: place for place, spec in enumerate(log.metrics)}
        places |= {s.name: places.get(SIMULATED + s.name, places[s.name]) for s in recorded}
        columns = [places[spec.name] for spec in specs]
        values = log.records.values[rows]
        simulated = [
            {n: values[:, w, at] for n, at in places.items()} for w in range(values.shape[1])
        ]
        designs = [dict(log.space.design_at(log.records.indices[row])) for row in rows]
        indices = np.stack([source.space.indices_of(source.space.design(d)) for d in designs])
        points = joined(
            [
                points_of(source.space, indices, each, own)
                for each, own in zip(facts, simulated, strict=True)
            ]
        )
        order = np.arange(len(points)).reshape(len(log.workloads), len(rows)).T.ravel()
        errors = [bounds(live.values(), own, calibration.prior) for own in simulated]
        low, high = (
            np.concatenate(each)[order][:, [*quantities]] for each in zip(*errors, strict=True)
        )
        return cls(
            rows,
            values[:, :, columns],
            specs,
            {column: each[[*quantities]] for column, each in parts.items()},
            quantities,
            points.rows(order),
            log.reference[:, columns],
            objective,
            n_feasible,
            (low, high),
            np.append(values, np.zeros((*values.shape[:2], 1)), axis=2)[
                :, :, [places.get(s.name + STANDARD_ERROR, -1) for s in specs]
            ],
        )

    def rewards(
        self, errors: np.ndarray, weights: np.ndarray, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return metrics and rewards without limits, of draws of errors, and chances of the front.

        Args:
          errors: (n_draws, n * w, n_quantities).
          weights: (w,), of the workloads.
          rng: Generator of the scatter of means of several runs; None for the means themselves.
        """
        n_draws, (n, w, n_columns) = len(errors), self.values.shape
        values = np.tile(self.values, (n_draws, 1, 1, 1))
        shaped = np.clip(errors, *self.limits).reshape(n_draws, n, w, -1)
        for column, parts in self.parts.items():
            errors_of = shaped @ parts
            values[..., column] = corrected(values[..., column], errors_of, self.specs[column])
        if rng is not None and self.scatter.any():
            drawn = values + self.scatter * rng.standard_normal(values.shape)
            lowest = [-np.inf if spec.signed else 0.0 for spec in self.specs]
            values = np.maximum(drawn, lowest)
        simulated = [column for column, spec in enumerate(self.specs) if spec.formula is None]
        flat = derived_values(values.reshape(-1, n_columns)[:, simulated], self.specs)
        flat = flat.reshape(-1, w, n_columns)
        built = np.zeros(flat.shape[:2], dtype=np.int16)
        free = replace(self.objective, limits=())
        known = (self.reference, self.specs, weights)
        reward = free.rewards(flat, built, *known)
        first = min(n_draws, _FRONTS) * n
        terms = self.objective.weighted_terms(flat[:first], built[:first], *known)
        on_front = np.mean([front(each) for each in terms.reshape(-1, n, terms.shape[1])], axis=0)
        return flat.reshape(values.shape), reward.reshape(n_draws, n), on_front


def _needed(objective: Objective, specs: Sequence[MetricSpec]) -> tuple[MetricSpec, ...]:
    """Return the metrics that an objective reads, with those that derived ones are made of."""
    # A derived metric whose parts were not recorded is taken as it is.
    names = {spec.name for spec in specs}
    by_name = {
        s.name: s if s.formula is None or s.formula.names <= names else replace(s, formula=None)
        for s in specs
    }
    wanted = [t.metric for t in objective.terms] + [li.metric for li in objective.limits]
    found: dict[str, None] = {}
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found[name] = None
        formula = by_name[name].formula
        wanted += [] if formula is None else list(formula.names)
    return tuple(spec for name, spec in by_name.items() if name in found)


def _promising(log: StudyLog, n: int) -> np.ndarray:
    """Return n rows at most whose designs differ: of the best, and up to a half of the front."""
    rows = log.top_rows(log.evaluations)
    _, first = np.unique(log.records.indices[rows], axis=0, return_index=True)
    rows = rows[np.sort(first)]
    values, reason, known = log.records.values[rows], log.records.reason[rows], log.reference
    objective = objective_from_json(log.header.task["objective"])
    terms = objective.weighted_terms(values, reason, known, log.metrics, log.weights)
    on_front = np.flatnonzero(front(terms))
    found = rows[on_front[np.argsort(terms[on_front, 0], kind="stable")]]
    spread = found[np.unique(np.linspace(0, len(found) - 1, min(len(found), n // 2)).astype(int))]
    kept = np.isin(rows, spread)
    kept[np.flatnonzero(~kept)[: n - int(kept.sum())]] = True
    return np.asarray(rows[kept])


def _decision(
    log: StudyLog,
    problem: _Problem,
    posterior: Posterior,
    calibration: Calibration,
    confidence: float,
    robust: Robust,
    seed: int,
) -> Decision:
    weights, n = log.weights, len(problem.rows)
    rng = np.random.default_rng(seed)
    errors = posterior.draws(_DRAWS, rng)
    values, reward, on_front = problem.rewards(errors, weights, rng)
    likely_values, likely, likely_front = problem.rewards(posterior.mean[None], weights)
    missed = {
        str(limit): limit.violation(values[..., column], spec.resolution).max(axis=2)
        for limit in problem.objective.limits
        for column, spec in enumerate(problem.specs)
        if spec.name == limit.metric
    }
    off = np.sum(list(missed.values()), axis=0) if missed else np.zeros(reward.shape)
    meets = off == 0.0
    # A design that misses limits is worth less than any that meets them, by how much it misses.
    floor = np.minimum(reward.min(), -_MISSED)
    utility = np.where(meets, reward, floor - off / (1.0 + off))
    top = utility.max(axis=1, keepdims=True)
    # Designs that are best together share the chance.
    best = utility >= top - _ALIKE
    p_best = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    low, high = np.quantile(reward, (0.05, 0.95), axis=0)
    rank = {"no": likely[0], "expected": utility.mean(axis=0), "p10": np.quantile(utility, 0.1, 0)}
    chance = meets.mean(axis=0)
    if chance.max() < confidence:
        # None is known to meet the limits: the one that misses them by least with the confidence.
        rank["no"] = np.quantile(utility, 1.0 - confidence, axis=0)
    is_sure = chance >= (confidence if chance.max() >= confidence else 0.0)
    # Among equals, within the draws' error of a quantile, the least expected loss decides.
    upper = np.quantile(utility, 0.1 + _OF_QUANTILE, 0) if robust == "p10" else rank[robust]
    is_equal = is_sure & (upper >= rank[robust][is_sure].max() - _ALIKE)
    first = int(np.argmax(np.where(is_equal, utility.mean(axis=0).round(9), -np.inf)))
    group = _equals(utility, p_best)
    n_equal, p_equal = np.bincount(group)[group], np.bincount(group, p_best)[group]
    order = [first, *[int(p) for p in np.argsort(-p_equal, kind="stable") if p != first]]
    measured = _measured_values(problem, calibration, weights)
    candidates = []
    for place in order:
        outcome = log.outcome(int(problem.rows[place]))
        candidates.append(
            Candidate(
                outcome.seq,
                outcome.evaluation,
                outcome.design,
                float(likely[0, place]),
                float(p_best[place]),
                int(n_equal[place]),
                float(min(p_equal[place], 1.0)),
                {text: float((each[:, place] == 0.0).mean()) for text, each in missed.items()},
                float((top[:, 0] - utility[:, place]).mean()),
                float(low[place]),
                float(high[place]),
                {
                    spec.name: _interval(
                        likely_values[0, place, :, column] @ weights,
                        values[:, place, :, column] @ weights,
                    )
                    for column, spec in enumerate(problem.specs)
                },
                bool(measured[place]),
                {name: value for name, value in measured[place].items() if value == value},
                float(on_front[place]),
                bool(max(on_front[place], likely_front[place]) >= ON_FRONT),
            )
        )
    shown = errors.reshape(len(errors), n, -1)[:, order]
    return Decision(
        tuple(candidates),
        utility[:, order],
        shown,
        calibration,
        problem.n_feasible - n,
        confidence,
        all(term.goal in ("minimise", "maximise") for term in problem.objective.terms),
        problem.quantities,
        len(problem.objective.terms),
        tuple(
            spec.name
            for column, spec in enumerate(problem.specs)
            if column not in problem.parts
            and not problem.scatter[..., column].any()
            and may_be_wrong(spec, problem.values[..., column])
        ),
        tuple(
            spec.name
            for column, spec in enumerate(problem.specs)
            if problem.scatter[..., column].any()
        ),
    )


def _interval(likely: float, draws: np.ndarray) -> tuple[float, float, float]:
    low, high = np.quantile(draws, (0.05, 0.95))
    return float(likely), float(low), float(high)


def _equals(utility: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return a number for each candidate, (n,), the same for designs that are equally good.

    They differ by less than a measurement is worth, in 90 % of the draws, from the first of them.

    Args:
      utility: (n_draws, n_candidates).
      first: (n_candidates,), those with larger numbers come first.
    """
    group = np.full(utility.shape[1], -1)
    for place in np.argsort(-first, kind="stable").tolist():
        if group[place] < 0:
            near = (np.abs(utility - utility[:, [place]]) <= WORTH).mean(axis=0) >= SHARE
            group[near & (group < 0)] = place
            group[place] = place
    return group


def _measured_values(
    problem: _Problem, calibration: Calibration, weights: np.ndarray
) -> list[dict[str, float]]:
    """Return measured values of candidates by metric, those on all workloads alone; NaN others."""
    n, w = problem.values.shape[:2]
    seen = calibration.process.measured_points
    if seen is None:
        return [{}] * n
    names = sorted(problem.points.texts)
    known = zip(*(seen.text(name).tolist() for name in names), strict=True)
    values = dict(zip(known, calibration.measured, strict=True))
    keys = zip(*(problem.points.text(name).tolist() for name in names), strict=True)
    found = [values.get(key, {}) for key in keys]
    return [
        {
            spec.name: float(weights @ [each.get(spec.name, np.nan) for each in of])
            for spec in problem.specs
            if any(of)
        }
        for of in (found[w * place : w * place + w] for place in range(n))
    ]
