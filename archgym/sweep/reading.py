"""Plans of sweeps, read from a YAML file or from a sweep's folder, and recorded there."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from archgym.errors import FileFormatError, InvalidArgumentError, StorageError, unknown_name
from archgym.files.remote import local_copy
from archgym.files.storage import is_there, require_inside, write_atomic
from archgym.files.yaml_document import Document, Node, Problems, read_document, read_value
from archgym.sweep.plan import FAMILY_KEYS, LABEL, AgentPlan, SweepPlan, TaskPlan, read_family

PLAN_NAME = "sweep.json"
"""The plan in a sweep's folder, with everything that the plan's file leaves open decided."""
# chosen: plans share lists of tasks and of agents; what is more was written by mistake.
_MAX_DEPTH = 8
_MAX_FILES = 64
# chosen: as deep as a plan's file may be.
_MAX_NAMES = 20
# chosen: a line of a terminal; more of a setting tells no more.
_MAX_ECHO = 80


def assembled_document(path: str | Path, settings: Sequence[str] = ()) -> Document:
    """Read a plan's file with those it includes, and set values over it.

    Mappings are merged member by member; of anything else the later counts: files in the order of
    their inclusion, then the file that includes them, then the settings. Every value keeps the
    file and line where it stands.

    Args:
      path: The plan's file; files that it includes are looked up in its folder first.
      settings: Such as ``tasks.x.workload=cloud-2``.

    Raises:
      FileFormatError: A file is not what it should be; the error names its line.
      InvalidArgumentError: A setting is not valid.
      StorageError: The plan cannot be read.
    """
    path = Path(path)
    root = _Inclusion().read(path, ())
    for setting in settings:
        root = _with_setting(root, setting)
    return Document(path, root)


@final
class _Inclusion:
    """Reader of files and their includes, up to a number of them."""

    def __init__(self) -> None:
        self._n_files = 0

    def read(self, path: Path, above: tuple[Path, ...]) -> Node:
        """Return a file's content, merged with that of what it includes.

        Args:
          above: Those that include it, the plan's first.
        """
        root = read_document(path).root
        members = dict(root.members("a plan"))
        given = members.pop("include", None)
        if "agents" in members:
            members["agents"] = _labelled_list(members["agents"])
        own = Node(root.path, root.line, members)
        if given is None:
            return own
        merged = Node(root.path, root.line, {})
        chain = (*above, path)
        for item in given.value if isinstance(given.value, tuple) else (given,):
            merged = _merged(merged, self._included(item, chain))
        return _merged(merged, own)

    def _included(self, item: Node, chain: tuple[Path, ...]) -> Node:
        path = item.path.parent / item.text("an included file")
        if path.resolve() in [each.resolve() for each in chain]:
            raise item.refusal(f"a file must not include itself; {path} does")
        self._n_files += 1
        if len(chain) >= _MAX_DEPTH or self._n_files > _MAX_FILES:
            raise item.refusal(
                f"a plan must include at most {_MAX_FILES} files, at most {_MAX_DEPTH} deep; "
                "this one has more"
            )
        try:
            return self.read(path, chain)
        except StorageError as error:
            problem, _, remedy = str(error).partition(". ")
            raise item.refusal(f"an included file must be readable; {problem}", remedy) from None


def _merged(below: Node, above: Node) -> Node:
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    members = dict(below.value)
    for name, node in above.value.items():
        members[name] = _merged(members[name], node) if name in members else node
    return Node(above.path, above.line, members)


def _labelled_list(node: Node) -> Node:
    """Return a list of agents as the mapping of labels that it stands for.

    Items are names of agents, or mappings of one label to its settings.
    """
    if not isinstance(node.value, tuple):
        return node
    members: dict[str, Node] = {}
    for item in node.value:
        if isinstance(item.value, Mapping) and len(item.value) == 1:
            ((label, entry),) = item.value.items()
        else:
            label, entry = item.text("an agent of a list"), Node(item.path, item.line, None)
        if label in members:
            raise item.refusal(f"labels of agents must differ; {label!r} came twice")
        members[label] = entry
    return Node(node.path, node.line, members)


# ---- settings


def _with_setting(root: Node, setting: str) -> Node:
    key, sign, text = setting.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not sign or not all(names) or len(names) > _MAX_NAMES:
        raise InvalidArgumentError(
            "A setting must be a name and a value, such as budget=100 or "
            f"tasks.LABEL.workload=cloud-2; got {setting[:_MAX_ECHO]!r}."
        )
    value = read_value(text, f"--set {key.strip()}")
    if names[0] in ("tasks", "agents") and len(names) > 2:
        labels = Document(root.path, root).at(names[0]).value
        if not isinstance(labels, dict) or names[1] not in labels:
            known = labels if isinstance(labels, dict) else ()
            error = unknown_name(f"{names[0][:-1]} of the plan", names[1], known)
            raise Document(root.path, value).refusal(error)
    if names == ["agents"]:
        value = _labelled_list(value)
    return _placed(root, names, value)


def _placed(node: Node, names: Sequence[str], value: Node) -> Node:
    if not names:
        return value
    # Nothing is an empty mapping, as of an agent that has all its defaults.
    if node.value is not None and not isinstance(node.value, dict):
        raise value.refusal(f"`{names[0]}` must be set in a mapping; there is {node.kind}")
    members = dict(node.value or {})
    inner = members.get(names[0], Node(value.path, value.line, None))
    members[names[0]] = _placed(inner, names[1:], value)
    return Node(node.path, node.line, members)


# chosen: far beyond any sweep; what is larger was written by mistake.
_MAX_RUNS = 1_000_000
_MAX_BUDGET = 10**9
_MAX_SEED = 2**63 - 1
_MAX_REWARD = 1e9
# chosen: differences between agents of a few percent of the score show up with five.
_DEFAULT_SEEDS = (0, 1, 2, 3, 4)
_PLAN_KEYS = ("tasks", "agents", "seeds", "budget", "max_asks", "patience", "cache")
_TASK_KEYS = (
    "simulator",
    "space",
    "workload",
    "objective",
    "minimise", "maximise", "subject_to",
    "fidelity",
    "options",
    "fixed", "values",
    "stand_in",
    "best_known",
    "start",
    "warm_start",
    "stop_at",
)  # fmt: skip
_RECORDED_TASK_KEYS = (*_TASK_KEYS, "id", "digest")
_RECORDED_AGENT_KEYS = ("agent", "hyperparameters", "on_tasks", "group")
_AGENT_KEYS = ("agent", "hyperparameters", "on_tasks", *FAMILY_KEYS)


def read_plan(path: str | Path, settings: Sequence[str] = ()) -> SweepPlan:
    """Read a plan and check all of it: tasks are made, hyperparameters tried.

    Args:
      path: A YAML file.
      settings: Settings that override the file, such as ``budget=100``.

    Raises:
      FileFormatError: It cannot be run as it stands; the error names the line.
      InvalidArgumentError: A setting is not valid.
      StorageError: It cannot be read.
    """
    # Imported where agents and simulators are needed: a recorded plan is read without them.
    from archgym.sweep.resolver import decided_plan

    document = assembled_document(path, settings)
    problems = Problems(document.path)
    plan = _plan(document, _TASK_KEYS, _AGENT_KEYS, problems)
    decided = decided_plan(plan, document, problems)
    problems.raise_any()
    _check_size(decided, document.root)
    return decided


def parsed_recorded_plan(document: Document) -> SweepPlan:
    """Return the plan in a document that a sweep recorded, with nothing left to decide.

    Raises:
      FileFormatError: It was damaged; the error names the line.
    """
    problems = Problems(document.path)
    plan = _plan(document, _RECORDED_TASK_KEYS, _RECORDED_AGENT_KEYS, problems)
    problems.raise_any()
    return plan


def _plan(
    document: Document, task_keys: Sequence[str], agent_keys: Sequence[str], problems: Problems
) -> SweepPlan:
    """Return the plan of a document, without the parts in which there are problems."""
    root = document.root
    with problems.collected():
        root.members("a plan", _PLAN_KEYS)
    parts = root.members("a plan")
    # A key that is unknown may be a missing one, misspelt.
    for name in () if problems else ("tasks", "agents", "budget"):
        with problems.collected():
            if name not in parts:
                raise root.refusal(f"a plan must have `{name}`; it has none")
    given: dict[str, Any] = {"budget": 1, "seeds": _DEFAULT_SEEDS}
    readers: dict[str, Callable[[Node], Any]] = {
        "budget": lambda node: node.whole("`budget`", 1, _MAX_BUDGET),
        # Each evaluation is an ask.
        "max_asks": lambda node: node.whole("`max_asks`", given["budget"], 20 * _MAX_BUDGET),
        "patience": lambda node: node.whole("`patience`", 1, _MAX_BUDGET),
        "cache": lambda node: str(Path(node.text("`cache`")).absolute()),
        "seeds": _seeds,
    }
    for name in (name for name in readers if name in parts):
        with problems.collected():
            given[name] = readers[name](parts[name])
    tasks, agents = [], []
    for label, node in _entries(parts, "tasks", problems):
        with problems.collected():
            tasks.append(_task(label, node, task_keys))
    for label, node in _entries(parts, "agents", problems):
        with problems.collected():
            agents.append(_agent(label, node, agent_keys))
    plan = SweepPlan(tuple(tasks), tuple(agents), **given)
    with problems.collected():
        _check_size(plan, root)
    labels = list(document.at("tasks").members("`tasks`")) if "tasks" in parts else []
    for agent in plan.agents:
        for label in agent.on_tasks:
            with problems.collected():
                if label not in labels:
                    error = unknown_name("task of the plan", label, labels)
                    raise document.refusal(error, "agents", agent.label, "on_tasks", label)
    return plan


def _entries(
    parts: Mapping[str, Node], what: str, problems: Problems
) -> Iterable[tuple[str, Node]]:
    """Return the labelled members of a part of a plan; none where it is something else."""
    with problems.collected():
        if what in parts:
            return _labelled(parts[what], what)
    return ()


def _check_size(plan: SweepPlan, root: Node) -> None:
    n_runs = len(plan.tasks) * len(plan.agents) * len(plan.seeds)
    if n_runs > _MAX_RUNS:
        raise root.refusal(f"a plan must have at most {_MAX_RUNS} runs; it has {n_runs}")


def _labelled(node: Node, what: str) -> Iterable[tuple[str, Node]]:
    members = node.members(f"`{what}`")
    if not members:
        raise node.refusal(f"`{what}` must have one member or more; it has none")
    seen: dict[str, str] = {}
    for label, member in members.items():
        if not LABEL.fullmatch(label):
            raise member.refusal(
                "a label must be letters, digits, dashes and underscores, at most 64, and "
                f"begin with a letter or digit; got {label!r}"
            )
        # Labels name folders, and some file systems do not tell cases apart.
        twin = seen.setdefault(label.lower(), label)
        if twin != label:
            raise member.refusal(f"labels must differ beyond case; got {twin!r} and {label!r}")
    return members.items()


def _task(label: str, node: Node, keys: Sequence[str]) -> TaskPlan:
    parts = node.members("a task", keys)
    if "simulator" not in parts:
        raise node.refusal("a task must have a `simulator`; it has none")
    texts = {
        name: parts[name].text(f"`{name}`")
        for name in (
            "simulator",
            "space",
            "objective",
            "fidelity",
            "stand_in",
            "stop_at",
            "id",
            "digest",
        )
        if name in parts
    }
    for name in ("minimise", "maximise", "subject_to"):
        if name in parts:
            texts[name] = _joined(name, parts[name])
    for name in ("fixed", "values"):
        if name in parts:
            parts[name].members(f"`{name}`")
    options = _options(parts["options"]) if "options" in parts else {}
    best_known = (
        parts["best_known"].number("`best_known`", -_MAX_REWARD, _MAX_REWARD)
        if "best_known" in parts
        else None
    )
    workloads = _workloads(parts["workload"]) if "workload" in parts else None
    return TaskPlan(
        label,
        workloads=workloads,
        options=options,
        fixed=parts["fixed"].plain() if "fixed" in parts else {},
        values=parts["values"].plain() if "values" in parts else {},
        best_known=best_known,
        start=_start(parts["start"]) if "start" in parts else (),
        warm_start=_studies(parts["warm_start"]) if "warm_start" in parts else (),
        **texts,
    )


def _start(node: Node) -> tuple[str | Mapping[str, Any], ...]:
    """Return start designs: "default", folders of studies, and mappings of parameters."""
    items = node.value if isinstance(node.value, tuple) else (node,)
    found: list[str | Mapping[str, Any]] = []
    for item in items:
        if isinstance(item.value, Mapping):
            found.append(item.plain())
        else:
            text = item.text("a start design")
            found.append(text if text == "default" else _beside(item, text))
    return tuple(found)


def _studies(node: Node) -> tuple[str, ...]:
    items = node.value if isinstance(node.value, tuple) else (node,)
    return tuple(_beside(item, item.text("a study")) for item in items)


def _beside(node: Node, text: str) -> str:
    """Return a folder that a plan names; one next to the plan's file counts first."""
    path = node.path.parent / text
    return str(path.absolute()) if path.is_dir() else str(Path(text).absolute())


def _joined(name: str, node: Node) -> str:
    """Return a text, or the texts of a list separated by commas."""
    if not isinstance(node.value, tuple):
        return node.text(f"`{name}`")
    return ", ".join(item.text(f"`{name}`") for item in node.value)


def _options(node: Node) -> dict[str, str]:
    members = node.members("`options`")
    return {name: member.text(f"option `{name}`") for name, member in members.items()}


def _workloads(node: Node) -> dict[str, float]:
    if isinstance(node.value, Mapping):
        weights = {n: m.number("a weight", 0, 1e9) for n, m in node.value.items()}
    elif isinstance(node.value, tuple):
        weights = {}
        for item in node.value:
            name = item.text("a workload")
            if name in weights:
                raise item.refusal(f"each workload must come once; {name!r} came twice")
            weights[name] = 1.0
    else:
        weights = {node.text("`workload`"): 1.0}
    for name, weight in weights.items():
        if not weight:
            raise node.refusal(f"a weight must be above 0; {name!r} has 0")
    return weights


def _agent(label: str, node: Node, keys: Sequence[str]) -> AgentPlan:
    parts = node.members("an agent", keys)
    name = parts["agent"].text("`agent`") if "agent" in parts else label
    chosen = _values(parts["hyperparameters"]) if "hyperparameters" in parts else {}
    on_tasks = {}
    if "on_tasks" in parts:
        members = parts["on_tasks"].members("`on_tasks`")
        on_tasks = {task: _values(member) for task, member in members.items()}
    group = parts["group"].text("`group`") if "group" in parts else ""
    return AgentPlan(label, name, chosen, on_tasks, read_family(parts), group)


def _values(node: Node) -> dict[str, Any]:
    members = node.members("hyperparameters")
    return {name: member.plain() for name, member in members.items()}


def _seeds(node: Node) -> tuple[int, ...]:
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        return tuple(range(node.whole("`seeds`", 1, _MAX_RUNS)))
    if not isinstance(node.value, tuple) or not node.value:
        raise node.refusal(
            f"`seeds` must be a list of whole numbers or how many there are; got {node.kind}"
        )
    # A dict keeps their order, and finds one among a hundred thousand at once.
    seeds: dict[int, None] = {}
    for item in node.value:
        seed = item.whole("a seed", 0, _MAX_SEED)
        if seed in seeds:
            raise item.refusal(f"seeds must differ; {seed} came twice")
        seeds[seed] = None
    return tuple(seeds)


def read_recorded_plan(folder: str | Path) -> SweepPlan:
    """Return the plan of a sweep's folder, read without any simulator or agent.

    Raises:
      FileFormatError: The folder has none, or it is damaged.
      StorageError: It cannot be read.
    """
    path = local_copy(folder) / PLAN_NAME
    if not is_there(path):
        raise FileFormatError(
            folder,
            None,
            f"a sweep must have a file {PLAN_NAME}, and it is missing",
            "Check the path, or start one with `archgym sweep run` (or `archgym bench run`)",
        )
    require_inside(path)
    return parsed_recorded_plan(read_document(path))


def record_plan(folder: Path, plan: SweepPlan) -> None:
    """Record a plan that only adds to what the folder has recorded, if anything.

    Raises:
      InvalidArgumentError: It changes something.
      FileFormatError: What is recorded is damaged.
      StorageError: The folder cannot be read or written.
    """
    if is_there(folder / PLAN_NAME):
        recorded = read_recorded_plan(folder)
        difference = plan.difference(recorded)
        if difference is not None:
            raise InvalidArgumentError(
                f"A sweep's plan may add tasks, agents and seeds but change none that {folder} "
                f"has; {difference}. Give back what was there, or use another folder."
            )
        if recorded == plan:
            return
    write_recorded_plan(folder, plan)


def write_recorded_plan(folder: Path, plan: SweepPlan) -> None:
    """Write the plan into a sweep's folder, whole or not at all.

    Raises:
      StorageError: It cannot be written.
    """
    text = json.dumps(plan.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / PLAN_NAME, text + "\n")
