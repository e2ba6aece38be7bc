"""`archgym list`: the names there are."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from archgym.cli.console.terminal import heading, table, warn, write_json
from archgym.cli.options.completion import KINDS, complete_list, complete_simulator
from archgym.cli.options.task import JsonOption, TaskChoice, make_simulator, option_values
from archgym.errors import ArchGymError, unknown_name

if TYPE_CHECKING:
    from archgym.evaluation.simulator import Simulator

__all__ = ["list_names"]

T = TypeVar("T")


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            help=f"One of {', '.join(KINDS)}; most where left out.",
            autocompletion=complete_list,
            metavar="[KIND]",
        ),
    ] = None,
    simulator: Annotated[
        str | None,
        typer.Option(
            "--simulator", help="Only this simulator's.", autocompletion=complete_simulator
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List simulators, agents, workloads and other names."""
    if kind is not None and kind not in KINDS:
        raise unknown_name("kind of name", kind, KINDS)
    names: dict[str, Any] = {}
    chosen: tuple[str, ...] = ()
    if kind != "agents":
        chosen = _simulators() if simulator is None else (simulator,)
    offers: dict[str, dict[str, Any]] = {}
    if kind not in ("agents", "simulators"):
        # One that is asked for alone must be there; of all, one that is broken spoils nothing.
        offers = _usable(chosen, _offer) if simulator is None else {simulator: _offer(simulator)}
        chosen = tuple(offers)
    if kind in (None, "simulators"):
        names["simulators"] = list(chosen)
    if kind in (None, "agents"):
        names["agents"] = _agents()
    if kind not in ("agents", "simulators"):
        for part in KINDS[2:]:
            if kind == part or (kind is None and part not in ("metrics", "devices")):
                names[part] = {name: offer[part] for name, offer in offers.items()}
    if json:
        write_json(names)
        return
    for part, content in names.items():
        _write(part, content)
    if kind == "agents":
        _write_hyperparameters(names["agents"])


def _simulators() -> tuple[str, ...]:
    from archgym.evaluation.simulator import simulator_class, simulator_names

    return tuple(_usable(simulator_names(), simulator_class))


def _agents() -> list[dict[str, Any]]:
    from archgym.search.agent import agent_class, agent_names

    return [
        {
            "name": name,
            "kind": agent.kind,
            "batch": agent.batch,
            "library": agent.library,
            "replayable": agent.replayable,
            "replay_caveat": agent.replay_caveat,
            "doc": _first_line(agent),
            "hyperparameters": [
                {**parameter.to_json(), "default": parameter.value(parameter.default_index)}
                for parameter in agent.hyperparameters
            ],
        }
        for name, agent in _usable(agent_names(), agent_class).items()
    ]


def _usable(names: Sequence[str], load: Callable[[str], T]) -> dict[str, T]:
    """What loads, by name; what does not is warned about, and the others stand."""
    loaded: dict[str, T] = {}
    for name in names:
        try:
            loaded[name] = load(name)
        except ArchGymError as error:
            warn(f"{_line(error)} It is not listed.")
        except Exception as error:
            # Another package's class may raise whatever it likes when it is made.
            words = f"{type(error).__name__}: {_line(error)}".rstrip(".: ")
            warn(f"{name!r} cannot be made: {words}. It is not listed.")
    return loaded


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _first_line(kind: type[Any]) -> str:
    return (kind.__doc__ or "").strip().split("\n")[0]


def _offer(name: str) -> dict[str, Any]:
    made = make_simulator(TaskChoice(name))
    kind = type(made)
    options = option_values(kind)
    return {
        "spaces": list(kind.space_names),
        "workloads": list(made.workload_names()),
        "objectives": {n: objective.doc for n, objective in made.objectives.items()},
        "metrics": _metrics(made),
        "fidelities": list(kind.fidelity_names),
        "options": {option: list(values) for option, values in options.items()},
        "devices": list(options.get("device", ())),
    }


def _metrics(simulator: "Simulator") -> dict[str, str]:
    return {spec.name: f"{spec.unit}, {spec.goal}" for spec in simulator.metrics}


def _write(part: str, content: Any) -> None:
    heading(part.capitalize())
    if part == "agents":
        rows = [
            (
                a["name"],
                a["library"],
                a["kind"].removesuffix("-objective"),
                a["batch"],
                _resumes_by(a),
                a["doc"],
            )
            for a in content
        ]
        table(("name", "library", "objectives", "asks", "resumes by", ""), rows)
    elif part == "simulators":
        table(("name", ""), [(name, _simulator_doc(name)) for name in content])
    else:
        offered = [(name, *pair) for name, names in content.items() for pair in _pairs(names)]
        table(("simulator", "name", ""), offered)


def _resumes_by(agent: Mapping[str, Any]) -> str:
    if not agent["replayable"]:
        return "segment"
    return f"replay{agent['replay_caveat'] and ', '}{agent['replay_caveat']}"


def _write_hyperparameters(agents: Sequence[Mapping[str, Any]]) -> None:
    heading("Hyperparameters with defaults (archgym describe AGENT says ranges and meaning)")
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
