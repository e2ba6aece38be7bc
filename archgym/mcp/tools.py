"""Tools of the server: declared inputs, and one function for each over a `Workspace`.

This module knows nothing of the protocol, so that every tool can be called from Python:

    from archgym.mcp.tools import Toolbox
    from archgym.mcp.workspace import Workspace

    toolbox = Toolbox(Workspace("work"))
    toolbox.call("create_study", {"study": "first", "simulator": "dram", "budget": 20})
    toolbox.call("evaluate", {"study": "first", "designs": [{"page_policy": "Closed"}]})
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import msgspec

from archgym.agent.agent import agent_class, agent_names
from archgym.bench.suite import bench_task, bench_tasks
from archgym.errors import ArchGymError, InvalidArgumentError, error_text, unknown_name
from archgym.evaluation.capabilities import facts_about, option_names
from archgym.evaluation.simulator import default_workload, simulator_class, simulator_names
from archgym.files.json_types import plain
from archgym.mcp import evaluation, reading, rules
from archgym.mcp.evaluation import created
from archgym.mcp.workspace import Input, StudyName, Text, Workspace, require_label
from archgym.tasks.choices import TaskChoices
from archgym.tasks.pipeline import resolve_simulator

# chosen: counting feasible designs of a larger space takes seconds.
_COUNT_AT_ONCE = 100_000


class ListSimulators(Input, frozen=True, kw_only=True):
    """List simulators with their spaces, workloads, objectives, fidelities and options."""


class DescribeSimulator(Input, frozen=True, kw_only=True):
    """Describe a design space: parameters with units and ranges, constraints, metrics.

    Constraints name the reason that an infeasible design is given.
    """

    simulator: Text
    space: Text | None = None
    fidelity: Text | None = None
    options: dict[str, str] = msgspec.field(default_factory=dict)


class DescribeWorkload(Input, frozen=True, kw_only=True):
    """Describe a workload by measured characteristics with units."""

    simulator: Text
    workload: Annotated[
        Text | None, msgspec.Meta(description="Name, or a file in the working folder.")
    ] = None
    options: dict[str, str] = msgspec.field(default_factory=dict)


class ListAgents(Input, frozen=True, kw_only=True):
    """List search agents with their hyperparameters, for `propose` and `search`."""


def _list_simulators(workspace: Workspace, given: ListSimulators) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for name in simulator_names():
        try:
            kind = simulator_class(name)
            made, _ = resolve_simulator(TaskChoices(simulator=name))
        except ArchGymError as error:
            found.append({"name": name, "problem": " ".join(str(error).split())})
            continue
        found.append(
            {
                "name": name,
                "version": kind.spec.version,
                "doc": _first_line(kind),
                "spaces": list(kind.spec.space_names),
                "fidelities": list(kind.spec.fidelity_names),
                "workloads": list(made.workload_names()),
                "objectives": {n: o.doc for n, o in made.spec.objectives.items()},
                "options": list(option_names(kind)),
            }
        )
    return {"simulators": found}


def _describe_simulator(workspace: Workspace, given: DescribeSimulator) -> dict[str, Any]:
    choices = workspace.choices(
        TaskChoices(
            simulator=given.simulator,
            space=given.space,
            fidelity=given.fidelity,
            options=given.options,
        )
    )
    simulator, _ = resolve_simulator(choices)
    space = simulator.space
    counted = space.count() if space.size <= _COUNT_AT_ONCE else None
    return {
        "simulator": simulator.name,
        "version": simulator.version,
        "fidelity": simulator.fidelity,
        "options": dict(simulator.options),
        "size": space.size if space.size < 2**53 else f"{space.size:.3e}",
        "feasible_designs": None if counted is None else counted.value,
        "space": space.to_json(),
        "metrics": [spec.to_json() for spec in simulator.metrics],
        "objectives": {name: o.doc for name, o in simulator.spec.objectives.items()},
        "default_objective": simulator.spec.default_objective,
        "workloads": list(simulator.workload_names()),
        "default_workload": default_workload(simulator),
        "reasons": list(simulator.spec.reasons[1:]),
    }


def _describe_workload(workspace: Workspace, given: DescribeWorkload) -> dict[str, Any]:
    choices = workspace.choices(
        TaskChoices(simulator=given.simulator, workload=given.workload, options=given.options)
    )
    simulator, _ = resolve_simulator(choices)
    name = given.workload or default_workload(simulator)
    if name not in simulator.workload_names():
        name = str(workspace.path(name))
    workload = simulator.workload(name)
    require_label(workload)
    facts = facts_about(simulator, workload)
    return {
        "simulator": simulator.name,
        "workload": workload.name,
        "digest": workload.digest,
        "characteristics": {
            fact: {"value": value, "unit": unit} for fact, (value, unit) in facts.items()
        },
    }


def _list_agents(workspace: Workspace, given: ListAgents) -> dict[str, Any]:
    found = []
    for name in agent_names():
        try:
            kind = agent_class(name)
        except ArchGymError:
            # Its library is not installed.
            continue
        found.append(
            {
                "name": name,
                "doc": _first_line(kind),
                "kind": kind.kind,
                "replayable": kind.replayable,
                "hyperparameters": {p.name: p.value(p.default_index) for p in kind.hyperparameters},
            }
        )
    return {"agents": found}


def _first_line(kind: type[Any]) -> str:
    return (kind.__doc__ or "").strip().split("\n")[0]


class ListBenchTasks(Input, frozen=True, kw_only=True):
    """List tasks of the benchmark with their budgets, splits and reasons."""

    suite: Literal["core", "full", "few", "regret", "transfer", "fidelity", "front"] = "core"
    split: Literal["development", "verdict"] | None = None


class CreateBenchStudy(Input, frozen=True, kw_only=True):
    """Create a study of a task of the benchmark, with the largest budget it is judged at.

    Its optimum is not part of any answer.
    """

    study: StudyName
    task: Annotated[Text, msgspec.Meta(description="Name of a task of list_bench_tasks.")]
    budget: Annotated[int, msgspec.Meta(ge=1, le=1000, description="A smaller budget.")] | None = (
        None
    )


def _list_tasks(workspace: Workspace, given: ListBenchTasks) -> dict[str, Any]:
    return {
        "tasks": [
            {
                "task": each.label,
                "simulator": each.plan.simulator,
                "space": each.plan.space,
                "objective": each.sought,
                "limits": each.plan.subject_to,
                "split": each.split,
                "budgets": list(each.budgets),
                "why": each.why,
            }
            for each in bench_tasks(given.suite, given.split)
        ]
    }


def _create(workspace: Workspace, given: CreateBenchStudy) -> dict[str, Any]:
    chosen = bench_task(given.task)
    largest = max(chosen.budgets)
    budget = largest if given.budget is None else min(given.budget, largest)
    task = chosen.plan.make()
    found = created(given.study, workspace.create(given.study, task, budget))
    # The task may hold parameters and leave out values, which no other tool describes.
    return {**found, "space": task.space.to_json()}


MAX_OUTPUT_BYTES = 32_000
"""chosen: about 10,000 tokens; a longer result is kept as a resource, and its place returned."""
# chosen: results that are kept; the oldest is dropped.
_MAX_KEPT = 64
# chosen: inputs of a call; 256 designs of 100 parameters fit.
_MAX_INPUT_BYTES = 1_000_000
# chosen: the longest error of a check is a third of it.
_MAX_ERROR_LENGTH = 2000
# chosen: twelve digits distinguish all designs, and keep results short.
_DIGITS = 12

TOOLS: tuple[tuple[type[msgspec.Struct], Callable[..., Any], bool], ...] = (
    (ListSimulators, _list_simulators, True),
    (DescribeSimulator, _describe_simulator, True),
    (DescribeWorkload, _describe_workload, True),
    (ListAgents, _list_agents, True),
    *evaluation.TOOLS,
    *reading.TOOLS,
    (ListBenchTasks, _list_tasks, True),
    (CreateBenchStudy, _create, False),
    *rules.TOOLS,
)
"""Input, function and True for tools that change nothing."""


@final
@dataclass(frozen=True)
class Tool:
    """A tool: its name, its description for the model, and the schema of its input."""

    name: str
    description: str
    schema: Mapping[str, Any]
    is_read_only: bool


@final
@dataclass(frozen=True)
class Answer:
    """Result of a call: a JSON object, or an error in one line."""

    content: Mapping[str, Any]
    error: str | None = None
    resource: str | None = None
    """Address of the whole result, where it is too long to be returned."""

    @property
    def text(self) -> str:
        """The content as compact JSON, or the error."""
        if self.error is not None:
            return f"error: {self.error}"
        return _json(self.content)


@final
class Toolbox:
    """All tools over one working folder.

    Calls are taken one after the other, so that a budget cannot be overrun by calls at the same
    time.
    """

    def __init__(
        self,
        workspace: Workspace,
        record: "Callable[[str, Mapping[str, Any], Answer | str], None] | None" = None,
    ) -> None:
        """Take the working folder.

        Args:
          workspace: The folder.
          record: Called with each call and its answer before it is returned; see `Recording`.
        """
        self.workspace = workspace
        self._record = record
        self._inputs = {_name(kind): (kind, run) for kind, run, _ in TOOLS}
        self._turn = threading.Lock()
        self._kept: dict[str, str] = {}
        self._n_kept = 0

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Tools, in the order in which a search uses them."""
        return tuple(
            Tool(_name(kind), " ".join((kind.__doc__ or "").split()), _schema(kind), is_read_only)
            for kind, _, is_read_only in TOOLS
        )

    def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        """Return the result of a tool; an error is a result, too.

        Args:
          name: Name of the tool.
          arguments: Its input, as JSON types.
        """
        with self._turn:
            answer = self._called(name, arguments or {})
            try:
                if self._record is not None:
                    self._record(name, arguments or {}, answer)
            except ArchGymError as error:
                return Answer({}, self._line(error))
            return answer

    def _called(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        try:
            return self._answer(self._run(name, arguments))
        except ArchGymError as error:
            return Answer({}, self._line(error))
        except (Exception, RecursionError) as error:
            # Code of a simulator, an agent or a library may raise anything; the server stays up.
            return Answer({}, f"{type(error).__name__}: {self._line(error)}")

    def resource(self, address: str) -> str:
        """Return the text of a resource as JSON or Markdown.

        Raises:
          ArchGymError: The address leads nowhere.
        """
        with self._turn:
            text = self._read(address)
            if self._record is not None:
                self._record("resource", {"address": address}, text)
            return text

    def _read(self, address: str) -> str:
        if address in self._kept:
            return self._kept[address]
        if address == reading.GUIDE:
            return reading.guide()
        scheme, _, rest = address.partition("://")
        kind, _, path = rest.partition("/")
        if scheme == "archgym" and kind == "simulators" and path:
            return _json(self._run("describe_simulator", {"simulator": path}))
        if scheme == "archgym" and kind == "studies" and path.count("/") == 1:
            name, _, view = path.partition("/")
            if view in ("best", "front", "history"):
                return _json(self._run(view, {"study": name}))
        raise unknown_name("resource", address[:200], [reading.GUIDE, *self._kept])

    def _run(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if name not in self._inputs:
            raise unknown_name("tool", name[:80], self._inputs)
        kind, run = self._inputs[name]
        try:
            size = len(json.dumps(arguments, allow_nan=False))
            if size > _MAX_INPUT_BYTES:
                raise InvalidArgumentError(
                    f"Arguments of `{name}` must be below {_MAX_INPUT_BYTES} bytes; got {size}."
                )
            given = msgspec.convert(arguments, kind)
        except (msgspec.ValidationError, ValueError, TypeError, RecursionError) as error:
            if isinstance(error, ArchGymError):
                raise
            raise InvalidArgumentError(f"Arguments of `{name}`: {error}.") from None
        found: Mapping[str, Any] = run(self.workspace, given)
        return found

    def _line(self, error: BaseException) -> str:
        text = " ".join(error_text(error).split()) or type(error).__name__
        text = text.replace(f"{self.workspace.root}{os.sep}", "")
        return text if len(text) <= _MAX_ERROR_LENGTH else text[:_MAX_ERROR_LENGTH] + " … (cut off)"

    def _answer(self, content: Mapping[str, Any]) -> Answer:
        found: dict[str, Any] = plain(content, _DIGITS)
        text = _json(found)
        if len(text) <= MAX_OUTPUT_BYTES:
            return Answer(found)
        self._n_kept += 1
        address = f"archgym://results/{self._n_kept}"
        while len(self._kept) >= _MAX_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[address] = text
        short = {key: value for key, value in found.items() if len(_json({key: value})) <= 2000}
        note = (
            f"The result has {len(text)} bytes, above {MAX_OUTPUT_BYTES}. Read the resource for "
            "all of it, or ask for less."
        )
        omitted = [key for key in found if key not in short]
        return Answer(
            {**short, "omitted": omitted, "note": note, "resource": address}, None, address
        )


def _name(kind: type[msgspec.Struct]) -> str:
    """Return the name of a tool: that of its input in snake case."""
    text = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__)
    return text.strip("_")


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of an input, with its references resolved at the top."""
    (schema,), parts = msgspec.json.schema_components([kind])
    whole: dict[str, Any] = dict(parts[schema["$ref"].rpartition("/")[2]])
    others = {key: part for key, part in parts.items() if part is not parts[kind.__name__]}
    for key in ("title", "description"):
        whole.pop(key, None)
    if others:
        whole["$defs"] = others
    return whole


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(plain(content, _DIGITS), separators=(",", ":"), allow_nan=False)
