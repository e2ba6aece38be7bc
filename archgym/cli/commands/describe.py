"""`archgym describe`: description of a simulator, a workload or an agent."""

import inspect
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.terminal import (
    heading,
    prose,
    say,
    table,
    values_text,
    write_facts,
    write_json,
)
from archgym.cli.options.task import (
    JsonOption,
    SimulatorOptions,
    StandInOptions,
    TaskOptions,
    make_simulator,
    task_choices,
)
from archgym.cli.options.values import complete_subject
from archgym.errors import InvalidArgumentError, sentence, unknown_name

if TYPE_CHECKING:
    from archgym.agent.agent import Agent
    from archgym.evaluation.options import DeclaredOption
    from archgym.evaluation.simulator import Simulator
    from archgym.spaces.parameter import Parameter
    from archgym.spaces.space import DesignSpace

# Counting visits every combination of linked parameters.
_COUNT_AT_ONCE = 3 * 10**7


def describe(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a simulator, task or agent.",
            autocompletion=complete_subject,
            metavar="SIMULATOR|TASK|AGENT",
        ),
    ],
    model: SimulatorOptions,
    stand_in: StandInOptions,
    workload: Annotated[
        list[str] | None,
        typer.Option("--workload", "-w", help="Workload or file to characterise instead."),
    ] = None,
    count: Annotated[
        bool, typer.Option("--count", help="Count the feasible designs, also of a large space.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Describe a simulator, a workload or an agent."""
    if workload is not None and len(workload) > 1:
        raise InvalidArgumentError(
            f"`--workload` must name one workload here; got {len(workload)}. Describe them one by "
            "one."
        )
    from archgym.agent.agent import agent_class, agent_names
    from archgym.evaluation.simulator import simulator_names

    simulators, agents = simulator_names(), agent_names()
    choice = task_choices(name, TaskOptions(model, stand_in=stand_in))
    if choice.simulator not in simulators and choice.stand_in is None:
        if name not in agents:
            raise unknown_name("simulator or agent", name, (*simulators, *agents))
        _describe_agent(agent_class(name), json)
        return
    simulator = make_simulator(choice)
    if workload:
        _describe_workload(simulator, workload[0], json)
    else:
        _describe_simulator(simulator, count, json)


# ---- a simulator


def _describe_simulator(simulator: "Simulator", count: bool, is_json: bool) -> None:
    from archgym.composition.composition import Composition
    from archgym.evaluation.capabilities import breakdown_of
    from archgym.evaluation.restriction import expressible_share, unrestricted
    from archgym.evaluation.simulator import default_workload

    whole = unrestricted(simulator)
    space, parts_of = (
        simulator.space,
        breakdown_of(simulator, simulator.space.default_indices, None),
    )
    counted = space.count() if count or space.size <= _COUNT_AT_ONCE else None
    if is_json:
        write_json(
            {
                "simulator": simulator.name,
                "version": simulator.version,
                "fidelity": simulator.fidelity,
                "options": dict(simulator.options),
                "space": space.to_json(),
                "size": space.size,
                "count": None if counted is None else vars(counted),
                "default_design": dict(space.default),
                "metrics": [spec.to_json() for spec in simulator.metrics],
                "objectives": [o.to_json() for o in simulator.spec.objectives.values()],
                "default_objective": simulator.spec.default_objective,
                "usual_limits": [str(limit) for limit in simulator.spec.usual_limits],
                "workloads": list(simulator.workload_names()),
                "default_workload": default_workload(simulator),
                "groups": simulator.spec.groups,
                "parts": parts_of,
                "exports": {f: expressible_share(whole, f) for f in whole.spec.exports},
                "reasons": list(simulator.spec.reasons[1:]),
            }
        )
        return
    heading(f"Simulator {simulator.name}, version {simulator.version}")
    prose((type(simulator).__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " "))
    say()
    _write_space(space, counted)
    heading("Metrics")
    table(
        ("name", "unit", "goal", ""),
        [(s.name, s.unit, s.goal.replace("none", "–"), s.doc) for s in simulator.metrics],
    )
    for quantity, reason in whole.not_summed.items() if isinstance(whole, Composition) else ():
        prose(f"No sum of the parts' {quantity}: {reason}.")
    units = {spec.name: spec.unit for spec in simulator.metrics}
    for metric, parts in parts_of.items():
        from archgym.cli.views.explanation import parts_text

        prose(f"{metric} of the default design is the sum of {parts_text(parts, units[metric])}.")
        say()
    heading("Objectives")
    default = simulator.spec.default_objective
    table(
        ("name", ""),
        [(_starred(n, default), o.doc) for n, o in simulator.spec.objectives.items()],
    )
    if simulator.spec.usual_limits:
        limits = ", ".join(map(str, simulator.spec.usual_limits))
        prose(f"--minimise and --maximise also keep {limits}, unless you limit the metric.")
        say()
    if simulator.spec.model_reasons:
        heading("Reasons that the model gives for an infeasible design")
        for reason in simulator.spec.model_reasons:
            prose(sentence(reason), "  ")
        say()
    if isinstance(whole, Composition) and whole.links:
        heading("What parts give each other")
        table(("from > to", ""), whole.links.items())
    if whole.spec.exports:
        heading("Exports, and the share of drawn designs whose values the format has")
        shares = {form: 100 * expressible_share(whole, form) for form in whole.spec.exports}
        table(
            ("format", "share", ""),
            [(f, f"{shares[f]:.3g} %", doc) for f, doc in whole.spec.exports.items()],
        )
    heading("Options (* is the default)")
    table(("option", "values"), _choices(simulator))


def _choices(simulator: "Simulator") -> list[tuple[str, str]]:
    from archgym.evaluation.capabilities import option_names
    from archgym.evaluation.restriction import unrestricted
    from archgym.evaluation.simulator import default_workload
    from archgym.evaluation.stand_in import StandIn

    kind, spec = type(unrestricted(simulator)), simulator.spec
    workloads = simulator.workload_names()
    rows = [("--workload", ", ".join(_starred(n, default_workload(simulator)) for n in workloads))]
    if isinstance(unrestricted(simulator), StandIn):
        return rows
    rows += [
        (
            "--space",
            ", ".join(_starred(n, spec.space_names[0]) for n in spec.space_names),
        ),
        (
            "--fidelity",
            ", ".join(_starred(n, spec.fidelity_names[0]) for n in spec.fidelity_names),
        ),
    ]
    rows += [(f"--option {name}=", option_doc(kind, name)) for name in option_names(kind)]
    return rows


def option_doc(kind: "type[Simulator]", name: str) -> str:
    """Return the description of an option: as it is declared, or in the constructor's docstring."""
    from archgym.evaluation.options import declared_options

    declared = [
        f"{each.option.doc} {_values(each)}" for each in declared_options(kind) if each.name == name
    ]
    found = re.search(
        rf"^ +{name}: (.+(?:\n {{4,}}\S.*)*)", inspect.getdoc(kind.__init__) or "", re.MULTILINE
    )
    text = declared[0] if declared else found[1] if found else ""
    return " ".join(text.replace("`", "").split())


def _values(option: "DeclaredOption") -> str:
    """Return the values that an option may have, the default starred or named."""
    text, default, limits = option.values, option.default, option.option
    is_number = option.kind in (int, float) and default is not None
    # What lies outside the limits stands for no choice, and so does an empty text.
    is_none = default in (None, "") or (is_number and not limits.low <= default <= limits.high)
    if is_none and not limits.word:
        return text
    shown = limits.word or option.text(default)
    if limits.word or option.kind is bool or shown in limits.names:
        return re.sub(rf"(?<!\S){re.escape(shown)}(?=,| or |$)", f"{shown}*", text, count=1)
    return f"{text} (default: {shown})"


def _starred(name: str, default: str) -> str:
    return f"{name}*" if name == default else name


def _write_space(space: "DesignSpace", counted: Any) -> None:
    heading(f"Space {space.name}: {space.size:,} combinations{_count_text(counted)}")
    if space.doc:
        prose(space.doc)
    say()
    table(("parameter", "values (* is the default)", ""), [_row(p) for p in space.parameters])
    if space.constraints:
        heading("Constraints")
        table(
            ("requires", "reason if violated"),
            [(c.require.text, c.reason) for c in space.constraints],
        )
    if space.conditions:
        heading("Conditional parameters")
        table(("parameter", "active if"), [(c.parameter, c.when.text) for c in space.conditions])


def _row(parameter: "Parameter") -> tuple[str, str, str]:
    """Return name, values with the default starred and the unit, and description."""
    default = str(parameter.value(parameter.default_index))
    values = values_text(parameter).split(", ")
    starred = ", ".join(_starred(value, default) for value in values)
    if default not in values:
        starred += f" (default {default})"
    widest = parameter.widened()
    if widest.size > parameter.size:
        starred += f" (--values: up to {widest.value(widest.size - 1)})"
    return parameter.name, f"{starred} {parameter.unit}".rstrip(), parameter.doc


def _count_text(counted: Any) -> str:
    if counted is None:
        return " (use --count for the distinct feasible designs)"
    if counted.exact:
        return f", {counted.value:,} distinct feasible designs"
    return f", about {counted.value:.3g} ({counted.low:.3g} to {counted.high:.3g}) distinct designs"


# ---- a workload


def _describe_workload(simulator: "Simulator", name: str, is_json: bool) -> None:
    from archgym.evaluation.capabilities import facts_about

    workload = simulator.workload(name)
    facts = facts_about(simulator, workload)
    if not facts:
        raise InvalidArgumentError(
            f"Simulator {simulator.name!r} does not characterise workloads. Omit --workload."
        )
    if is_json:
        write_json(
            {
                "simulator": simulator.name,
                "options": dict(simulator.options),
                "workload": workload.name,
                "digest": workload.digest,
                "characteristics": {
                    fact: {"value": value, "unit": unit} for fact, (value, unit) in facts.items()
                },
            }
        )
        return
    heading(f"Workload {workload.name}")
    write_facts((fact, value, measure) for fact, (value, measure) in facts.items())


# ---- an agent


def _describe_agent(agent: type["Agent"], is_json: bool) -> None:
    if is_json:
        write_json(
            {
                "agent": agent.name,
                "doc": (agent.__doc__ or "").strip(),
                "kind": agent.kind,
                "batch": agent.batch,
                "library": agent.library,
                "replayable": agent.replayable,
                "hyperparameters": [p.to_json() for p in agent.hyperparameters],
            }
        )
        return
    heading(f"Agent {agent.name} ({agent.kind}, {agent.batch}, library: {agent.library})")
    for part in inspect.cleandoc(agent.__doc__ or "").split("\n\n"):
        prose(" ".join(part.split()))
        say()
    if agent.hyperparameters:
        heading("Hyperparameters (--hyper name=value)")
        table(
            ("name", "sweep range (* is the default)", ""), [_row(p) for p in agent.hyperparameters]
        )
