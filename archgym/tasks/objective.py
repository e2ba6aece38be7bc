"""The objective that plain choices name, with the limits that a simulator adds."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import numpy as np

from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    UnknownNameError,
    unknown_name,
)
from archgym.evaluation.capabilities import Confident
from archgym.evaluation.limits import Limit, check_limits, listed_texts, parse_limits
from archgym.evaluation.objective import (
    INFEASIBLE_REWARD,
    Objective,
    objective_of,
    parse_objective,
    subject_to,
    with_limits,
)
from archgym.evaluation.options import declared_options, make_simulator
from archgym.evaluation.restriction import (
    unrestricted,
)
from archgym.evaluation.simulator import (
    Simulator,
)
from archgym.tasks.choices import TaskChoices, choosing

_log = logging.getLogger(__name__)
_TEXTS = ("minimise:", "maximise:", "target:")


def resolve_objective(simulator: Simulator, choices: TaskChoices) -> Objective:
    """Return the objective with a name, of a text, of metrics, or as it was given, with limits.

    Limits of physics that it lacks are added, and its name shows them.

    Raises:
      UnknownNameError: The objective or one of its metrics does not exist.
      InvalidArgumentError: It is something else, or limits contradict each other.
    """
    metrics = simulator.metrics
    with _telling_where_metrics_are(simulator), choosing("objective"):
        if choices.minimise is not None or choices.maximise is not None:
            if choices.objective is not None:
                raise InvalidArgumentError(
                    "`objective` must be left out where `minimise` or `maximise` is given; got "
                    f"{choices.objective!r}."
                )
            sought = _names(choices, "minimise"), _names(choices, "maximise")
            objective = objective_of(*sought, metrics)
        else:
            objective = _objective(simulator, choices.objective)
    with _telling_where_metrics_are(simulator), choosing("subject_to"):
        if limits := choices.limits_of(simulator)[0]:
            check_limits(parse_limits(limits, metrics), metrics, once=True)
            objective = subject_to(objective, limits, metrics)
        is_own = choices.minimise is not None or choices.maximise is not None
        objective = _with_limits_of(simulator, objective, is_own)
        source = unrestricted(simulator)
        if isinstance(source, Confident):
            objective = source.with_confidence(objective)
        check_limits(objective.limits, metrics)
    return objective


@contextmanager
def _telling_where_metrics_are(simulator: Simulator) -> Iterator[None]:
    """Add to an error on an unknown metric which space or option of the simulator has it."""
    try:
        yield
    except UnknownNameError as error:
        choice = _choice_with_metric(unrestricted(simulator), error.name)
        if choice:
            told = UnknownNameError(
                f"Metric {error.name!r} needs another space or option, such as {choice}."
            )
            told.choice = error.choice
            raise told from None
        raise


def _choice_with_metric(simulator: Simulator, name: str) -> str:
    """Return the space, or the value of one option, with which a simulator has a metric."""
    kind, present, options = type(simulator), simulator.space.name, simulator.options
    tried = [(f"--space {space}", space, options) for space in simulator.spec.space_names]
    tried += [
        (f"--option {option.name}={value}", present, {**options, option.name: str(value)})
        for option in declared_options(kind)
        for value in option.samples
    ]
    for text, space, chosen in tried:
        # A choice may contradict those that were made, or the constructor may take none.
        with suppress(ArchGymError):
            made = make_simulator(kind, space, simulator.fidelity, chosen)
            if any(spec.name == name for spec in made.metrics):
                return text
    return ""


def _with_limits_of(simulator: Simulator, objective: Objective, is_own: bool) -> Objective:
    """Return an objective with a simulator's limits of physics, and without looser ones.

    Args:
      simulator: The simulator, which may have limits for objectives that are made of metrics.
      objective: Objective with the limits that were asked for.
      is_own: True if it is made of metrics.
    """
    given, physical = objective.limits, simulator.spec.physical_limits
    for limit in (*physical, *simulator.spec.usual_limits):
        if not isinstance(limit, Limit):
            raise InvalidArgumentError(
                f"`physical_limits` and `usual_limits` of simulator {simulator.name!r} must hold "
                f'limits, such as archgym.Limit("area_mm2", "<=", 5.0); got {limit!r}.'
            )
    looser = [limit for limit in given if limit not in physical and limit.holds_in(physical)]
    for limit in looser:
        _note(f"limit {limit} is left out: {simulator.name} has a tighter one for every design.")
    kept = [limit for limit in given if limit not in looser]
    missing = [limit for limit in physical if not limit.holds_in(kept)]
    if is_own:
        named = {limit.metric for limit in given}
        missing += [limit for limit in simulator.spec.usual_limits if limit.metric not in named]
    if not (missing or looser):
        return objective
    usual = simulator.spec.objectives.get(objective.name.partition("[")[0])
    if usual is not None and not missing and usual.limits == tuple(kept):
        return usual
    return with_limits(objective, [*kept, *missing], simulator.metrics)


def _names(choices: TaskChoices, name: str) -> list[str]:
    texts = listed_texts(name, getattr(choices, name), "time_ns")
    return [metric.strip() for text in texts for metric in text.split(",")]


def _objective(simulator: Simulator, objective: str | Objective | None) -> Objective:
    if objective is None:
        objective = simulator.spec.default_objective
        if not objective:
            raise InvalidArgumentError(
                f"Simulator {simulator.name!r} has no default objective. Give `minimise`, "
                "`maximise` or `objective`."
            )
    if isinstance(objective, str):
        base, bracket, limits = objective.partition("[")
        if bracket:
            base_objective = _objective(simulator, base)
            return subject_to(base_objective, limits.removesuffix("]"), simulator.metrics)
        if objective.startswith(_TEXTS):
            return parse_objective(objective, simulator.metrics)
        if objective in simulator.spec.objectives:
            return simulator.spec.objectives[objective]
        options = ", ".join(f"{k}={v}" for k, v in simulator.options.items())
        kind = f"objective with {options}:" if options else "objective"
        raise unknown_name(kind, objective, simulator.spec.objectives)
    if not isinstance(objective, Objective):
        raise InvalidArgumentError(
            "`objective` must be a name, text such as 'target:total_time_ns<=90000' or an "
            f"Objective; got {objective!r}. Make one of terms with Objective(name, terms)."
        )
    known = {spec.name for spec in simulator.metrics}
    for term in objective.terms:
        if term.metric not in known:
            raise unknown_name("metric", term.metric, known)
    name = objective.name.partition("[")[0]
    named = simulator.spec.objectives.get(name)
    if name.startswith(_TEXTS):
        named = parse_objective(name, simulator.metrics)
    is_other = named is not None and named.terms != objective.terms
    if is_other or not name.strip() or "/" in name or not name.isprintable():
        raise InvalidArgumentError(
            "An objective of your own must have a name of its own, in one line and without `/`, "
            f"since names of tasks have it; got {objective.name!r}. Choose another."
        )
    return objective


@cache
def _note(text: str) -> None:
    _log.warning("%s", text)


def check_domain(simulator: Simulator, objective: Objective, reference: np.ndarray) -> None:
    """Refuse an objective that cannot tell the default design from one that was not built."""
    for row in reference:
        built = np.zeros(1, dtype=np.int16)
        reward = objective.reward(row[None, :], row, simulator.metrics, built)
        if reward[0] == INFEASIBLE_REWARD:
            terms = ", ".join(f"`{term.metric}`" for term in objective.terms)
            raise InvalidArgumentError(
                f"Objective {objective.name!r} needs metrics above minus their resolution; "
                f"the default design has others among {terms}. Shift or negate them."
            )
