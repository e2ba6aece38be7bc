"""`archgym list`: registered names."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer

from archgym.cli.console.terminal import heading, prose, say, table, warn, write_json
from archgym.cli.options.task import (
    JsonOption,
    SimulatorOptions,
    TaskOptions,
    make_simulator,
    option_values,
    task_choices,
)
from archgym.cli.options.values import KINDS, complete_list, complete_simulator
from archgym.errors import ArchGymError, InvalidArgumentError, unknown_name

T = TypeVar("T")
# chosen: a description next to a name on 80 columns.
_CLAUSE = 62
# Kinds of names that do not depend on a simulator.
_GLOBAL_KINDS = KINDS[:3]


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            help=f"Kind of names: {', '.join(KINDS)} (default: most of them).",
            autocompletion=complete_list,
            metavar="[KIND]",
        ),
    ] = None,
    simulator: Annotated[
        str | None,
        typer.Option(
            "--simulator",
            help="Simulator to list the names of (default: all).",
            autocompletion=complete_simulator,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List simulators, agents, workloads and other names."""
    if kind is not None and kind not in KINDS:
        raise unknown_name("kind of name", kind, KINDS)
    if kind in ("agents", "models") and simulator is not None:
        what = "agents" if kind == "agents" else "models of `archgym proxy`"
        raise InvalidArgumentError(
            f"`--simulator` must be left out: {what} serve every simulator. See "
            f"`archgym list workloads --simulator {simulator}` for its workloads."
        )
    names: dict[str, Any] = {}
    chosen: tuple[str, ...] = ()
    if kind not in ("agents", "models"):
        from archgym.evaluation.simulator import simulator_class, simulator_names

        known = _usable(simulator_names(), simulator_class) if simulator is None else [simulator]
        chosen = tuple(known)
    offers: dict[str, dict[str, Any]] = {}
    if kind not in _GLOBAL_KINDS:
        # A simulator named alone must load; a broken one among all is only reported.
        offers = _usable(chosen, _offer) if simulator is None else {simulator: _offer(simulator)}
        chosen = tuple(offers)
    if kind in (None, "simulators"):
        names["simulators"] = list(chosen)
    if kind in (None, "agents"):
        names["agents"] = _agents()
    if kind == "models":
        from archgym.proxy.model import model_names

        names["models"] = list(model_names())
    if kind not in _GLOBAL_KINDS:
        for part in KINDS[len(_GLOBAL_KINDS) :]:
            if kind == part or (kind is None and part not in ("metrics", "devices")):
                names[part] = {name: offer[part] for name, offer in offers.items()}
    if json:
        write_json(names)
        return
    if kind is None:
        _write_overview(names) if simulator is None else _write_simulator(names)
        return
    for part, content in names.items():
        _write(part, content)
    if kind == "agents":
        _write_hyperparameters(names["agents"])


def _agents() -> list[dict[str, Any]]:
    from archgym.agent.agent import agent_class, agent_names

    return [
        {
            "name": name,
            "kind": agent.kind,
            "batch": agent.batch,
            "library": agent.library,
            "replayable": agent.replayable,
            "doc": _first_line(agent),
            "hyperparameters": [
                {**parameter.to_json(), "default": parameter.value(parameter.default_index)}
                for parameter in agent.hyperparameters
            ],
        }
        for name, agent in _usable(agent_names(), agent_class).items()
    ]


def _usable(names: Sequence[str], load: Callable[[str], T]) -> dict[str, T]:
    """Return the classes that load, by name; warn about the others."""
    loaded: dict[str, T] = {}
    for name in names:
        try:
            loaded[name] = load(name)
        except ArchGymError as error:
            warn(f"{_line(error)} It is not listed.")
        except Exception as error:
            # A class of another package may raise any exception.
            words = f"{type(error).__name__}: {_line(error)}".rstrip(".: ")
            warn(f"{name!r} cannot be loaded: {words}. It is not listed.")
    return loaded


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _first_line(kind: type[Any]) -> str:
    return (kind.__doc__ or "").strip().split("\n")[0]


def _offer(name: str) -> dict[str, Any]:
    made = make_simulator(task_choices(name, TaskOptions()))
    kind = type(made)
    options = option_values(kind)
    return {
        "spaces": list(kind.spec.space_names),
        "workloads": _workloads(name, kind.spec.space_names),
        "objectives": {n: objective.doc for n, objective in made.spec.objectives.items()},
        "metrics": {spec.name: f"{spec.unit}, {spec.goal}" for spec in made.metrics},
        "fidelities": list(kind.spec.fidelity_names),
        "options": {option: list(values) for option, values in options.items()},
        "devices": list(options.get("device", ())),
    }


def _workloads(name: str, spaces: Sequence[str]) -> list[str]:
    """Return the workloads that ship with any space of a simulator, those of the first first."""
    options = (TaskOptions(SimulatorOptions(space=space)) for space in spaces)
    made = [make_simulator(task_choices(name, each)) for each in options]
    return list(dict.fromkeys(workload for each in made for workload in each.workload_names()))


def _write_overview(names: Mapping[str, Any]) -> None:
    """Write one row per simulator and the names of the agents, on one screen."""
    heading("Simulators")
    rows = [(name, _clause(_simulator_doc(name))) for name in names["simulators"]]
    table(("name", "description (all of it: archgym describe NAME)"), rows)
    heading("Agents")
    for kind in dict.fromkeys(agent["kind"] for agent in names["agents"]):
        own = [agent["name"] for agent in names["agents"] if agent["kind"] == kind]
        prose(f"{kind}: {', '.join(own)}", indent="  ")
    say("Names of one simulator: archgym list --simulator NAME")
    say("Names of one kind:      archgym list workloads (or agents, objectives, …)")


def _clause(text: str) -> str:
    """Return as many whole clauses of a text as fit a line."""
    if len(text) <= _CLAUSE:
        return text.rstrip(".")
    return re.split(r"[,:](?!.*[,:])", text[:_CLAUSE])[0]


def _write_simulator(names: Mapping[str, Any]) -> None:
    """Write the names of one simulator, a paragraph per kind."""
    for part, content in names.items():
        for offered in content.values() if isinstance(content, Mapping) else ():
            pairs = _pairs(offered)
            texts = [f"{n} ({v})" if part == "options" and v else n for n, v in pairs]
            if texts:
                prose(f"{part}: {', '.join(texts)}", indent="  ")


def _write(part: str, content: Any) -> None:
    heading(part.capitalize())
    if part == "agents":
        rows = [
            (a["name"], a["kind"].removesuffix("-objective"), a["library"], a["doc"])
            for a in content
        ]
        table(("name", "objectives", "library", "description"), rows)
        segments = [a["name"] for a in content if not a["replayable"]]
        text = "Studies resume by replay"
        text += f", those of {', '.join(segments)} by segments" if segments else ""
        prose(f"{text}.")
        say()
    elif part == "models":
        prose(", ".join(content))
    elif part == "simulators":
        table(("name", "description"), [(name, _simulator_doc(name)) for name in content])
    else:
        for simulator, offered in content.items():
            pairs = _pairs(offered)
            if part == "options":
                from archgym.cli.commands.describe import option_doc
                from archgym.evaluation.simulator import simulator_class

                pairs = [(name, option_doc(simulator_class(simulator), name)) for name in offered]
            if any(text for _, text in pairs):
                table((simulator, "description"), pairs)
            elif pairs:
                prose(f"{simulator}: {', '.join(name for name, _ in pairs)}", indent="  ")


def _write_hyperparameters(agents: Sequence[Mapping[str, Any]]) -> None:
    heading("Hyperparameters with defaults (see `archgym describe AGENT` for ranges)")
    rows = [
        (a["name"], ", ".join(f"{h['name']}={h['default']}" for h in a["hyperparameters"]) or "–")
        for a in agents
    ]
    table(("agent", "hyperparameters"), rows)


def _simulator_doc(name: str) -> str:
    from archgym.evaluation.simulator import simulator_class

    return _first_line(simulator_class(name))


def _pairs(offered: Sequence[str] | Mapping[str, Any]) -> list[tuple[str, str]]:
    if not isinstance(offered, Mapping):
        return [(name, "") for name in offered]
    return [
        (name, ", ".join(text) if isinstance(text, list) else str(text))
        for name, text in offered.items()
    ]
