"""Command lines and titles of tasks: what to run again, and what it is about."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np

from archgym.agent.agent import agent_class
from archgym.errors import ArchGymError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term, objective_from_json, weight_text
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import (
    Simulator,
    simulator_class,
    simulator_names,
)
from archgym.files.remote import command_line
from archgym.report.quantities import metric_title, quantity
from archgym.studies.metadata import Header
from archgym.studies.portfolio import shipped_designs
from archgym.tasks.task import Task

_WORDS: Final = {"minimise": "least", "maximise": "most"}
_BOUNDS: Final = {"at-most": "at most", "at-least": "at least", "<=": "at most", ">=": "at least"}
# chosen: more metrics or workloads do not make a title.
_MOST: Final = 3


def task_title(
    simulator: str, workloads: Sequence[str], objective: Objective, specs: Sequence[MetricSpec]
) -> str:
    """Return a task in words: "Memory controller for sort: least mean latency, power at most 2 W".

    Args:
      simulator: Name of the simulator.
      workloads: Names of the workloads.
      objective: Objective of the task.
      specs: Metrics of the simulator.
    """
    known = {spec.name: spec for spec in specs}
    shown = ", ".join(workloads[:_MOST])
    if len(workloads) > _MOST:
        shown = f"{len(workloads)} workloads"
    limits = [
        f"{metric_title(known[limit.metric])} {_BOUNDS[limit.sign]} "
        f"{quantity(limit.bound, known[limit.metric].unit)}"
        for limit in objective.limits
        if limit.metric in known
    ]
    if len(limits) >= _MOST:
        limits = [*limits[: _MOST - 1], f"and {len(limits) - _MOST + 1} more"]
    # Functions that take no workload have one of this name.
    place = "" if list(workloads) == ["default"] else f" for {shown}"
    return ", ".join([f"{_noun(simulator)}{place}: {_aim(objective, known)}", *limits])


def _noun(simulator: str) -> str:
    try:
        return (
            simulator in simulator_names() and simulator_class(simulator).spec.title
        ) or simulator
    except ArchGymError:
        return simulator


def _aim(objective: Objective, known: dict[str, MetricSpec]) -> str:
    terms = objective.terms
    if objective.is_published_form or len(terms) > _MOST:
        return f"{objective.name.partition('[')[0]}, {len(terms)} metrics"
    return " and ".join(_sought(term, known[term.metric]) for term in terms)


def _sought(term: Term, spec: MetricSpec) -> str:
    if term.target is not None:
        return f"{metric_title(spec)} {_BOUNDS[term.goal]} {quantity(term.target, spec.unit)}"
    title = metric_title(spec)
    # A share needs its unit where its name has one word.
    shown = f"{title} percent" if spec.unit == "%" and " " not in title else title
    return f"{_WORDS[term.goal]} {shown}"


def task_words(recipe: Mapping[str, Any]) -> list[str]:
    """Return the words that name a task to a command: its id, and what the id leaves out.

    Args:
      recipe: The task's JSON. Its workloads that came from files are named by their paths.
    """
    stand_in = recipe.get("stand_in") or {}
    is_proxy = stand_in.get("kind") == "proxy"
    options = {k: str(v) for k, v in recipe["options"].items() if not (is_proxy and k == "proxy")}
    confidence = options.pop("confidence", None) if "measured" in options else None
    options.pop("measured", None)
    own = _own_objective(recipe)
    is_marked = any(set(value) & set(",]") for value in options.values())
    is_readable = not (is_proxy or is_marked or own)
    words = [str(recipe["id"])]
    if not is_readable:
        # An id neither holds such values nor names the file of a proxy, or terms of one's own.
        words = [str(recipe["simulator"]), "--space", str(recipe["space_name"])]
        words += ["--fidelity", str(recipe["fidelity"])]
        words += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        words += ["--objective", own or objective_from_json(recipe["objective"]).name]
    if not is_readable or any(w["source"] != w["name"] for w in recipe["workloads"]):
        for w in recipe["workloads"]:
            words += ["-w", f"{w['source']}={weight_text(float(w['weight']))}"]
    if confidence is not None and not is_readable:
        words += ["--confidence", confidence]
    if recipe.get("measured") is not None:
        words += ["--measured", str(recipe["measured"])]
    return [*words, "--from-proxy", str(stand_in["path"])] if is_proxy else words


def _simulator_of(recipe: Mapping[str, Any]) -> Simulator:
    """Return the simulator of a recorded task, as it is now."""
    kind, left_out = simulator_class(recipe["simulator"]), ("measured", "confidence", "proxy")
    options = {k: str(v) for k, v in recipe["options"].items() if k not in left_out}
    return make_simulator(kind, recipe["space_name"], recipe["fidelity"], options)


def _own_objective(recipe: Mapping[str, Any]) -> str | None:
    """Return the text of an objective that a user made of terms; None for one with a name."""
    objective = objective_from_json(recipe["objective"])
    name = objective.name.partition("[")[0]
    with suppress(ArchGymError):
        made = _simulator_of(recipe)
        if ":" not in name and name not in made.spec.objectives:
            return objective.as_text()
    return None


def is_registered(recipe: Mapping[str, Any]) -> bool:
    """Return True if commands know the simulator of a recorded task by its name."""
    return recipe["simulator"] in simulator_names()


def older_version(recipe: Mapping[str, Any]) -> str:
    """Return a sentence on the older version of a simulator that a task was recorded with, or "".

    Args:
      recipe: The task, as `Task.to_json` wrote it.
    """
    name, was = str(recipe["simulator"]), int(recipe["version"])
    if name not in simulator_names():
        return ""
    now = simulator_class(name).spec.version
    # Some options change the version.
    with suppress(ArchGymError):
        now = _simulator_of(recipe).version
    if was >= now:
        return ""
    return (
        f"Simulator {name} had version {was}, and {now} is installed, which returns other numbers: "
        "the study can be read, but not continued."
    )


def evaluate_command(task: Task, indices: np.ndarray) -> str:
    """Return the command line that evaluates a design of a task.

    Args:
      task: The task.
      indices: (n_parameters,)
    """
    return evaluate_line(task.to_json(), task.space.changes(task.space.design_at(indices)))


def evaluate_line(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    """Return the command line that evaluates a design of a recorded task.

    Args:
      recipe: The task's JSON.
      changes: Values by parameter that differ from the default design's.
    """
    return command_line("archgym", "evaluate", *task_words(recipe), *set_words(changes))


def set_words(changes: Mapping[str, Any]) -> list[str]:
    """Return the options `--set` of values by parameter."""
    words = []
    for parameter, setting in changes.items():
        text = ",".join(map(str, setting)) if isinstance(setting, tuple) else str(setting)
        words += ["--set", f"{parameter}={text}"]
    return words


def search_options(header: Header) -> tuple[str, ...]:
    """Return the options of `archgym search` with which a recorded search ran."""
    given: list[tuple[str, Any]] = [
        ("-n", header.budget),
        ("--seed", header.seed),
        *(("--hyper", f"{name}={value}") for name, value in header.hyperparameters.items()),
        ("--max-asks", header.max_asks),
        ("--patience", header.patience),
        ("--stop-at", header.stop_at),
        *(("--warm-start", source.folder) for source in header.warm_start or ()),
    ]
    words = [word for name, value in given if value is not None for word in (name, str(value))]
    space = header.space()
    starts = [dict(space.design_at(np.array(row))) for row in header.start or ()]
    usual: list[dict[str, Any]] = []
    with suppress(ArchGymError):
        if not header.warm_start and agent_class(str(header.agent)).uses_portfolio:
            shipped = shipped_designs(str(header.task["simulator"]), space)
            usual = [dict(space.design(design)) for design in shipped]
    words += ["--no-prior"] * bool(usual and not starts)
    for design in starts if starts != usual else ():
        changed = {name: value for name, value in design.items() if value != space.default[name]}
        words += ["--start", json.dumps(changed) if changed else "default"]
    return tuple(words)


def search_command(recipe: Mapping[str, Any], agent: str | None, *options: str) -> str:
    """Return the command line that searches a recorded task.

    Args:
      recipe: The task's JSON.
      agent: Name of the agent; None for the default.
      *options: Further words.
    """
    chosen = [] if agent is None else ["-a", agent]
    return command_line("archgym", "search", *task_words(recipe), *chosen, *options)
