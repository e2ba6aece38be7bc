"""Export of a design: files of other tools, JSON, and a table in Markdown."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, final

import numpy as np

from archgym.errors import (
    InvalidArgumentError,
    InvalidDesignError,
    SimulatorError,
    UnknownNameError,
    sentence,
    unknown_name,
)
from archgym.evaluation.capabilities import Files, exported
from archgym.evaluation.restriction import unrestricted
from archgym.evaluation.simulator import (
    Simulator,
    Workload,
    simulator_names,
)
from archgym.evaluation.stand_in import stood_in_for
from archgym.files.remote import local_output, placed
from archgym.files.storage import make_folder, write_atomic
from archgym.report.commands import evaluate_command
from archgym.report.quantities import grouped_number
from archgym.simulators.kit.exports import EXPECTED, README, differences, text_of, with_differences
from archgym.tasks.task import Task

GENERAL_FORMATS: Final[Mapping[str, str]] = {
    "json": "Design, metrics with units, limits and task; `--design` reads it.",
    "markdown": "Table of the parameters, and of the metrics next to the default design's.",
}
"""Formats of every simulator."""
_FORMAT: Final = 1
# Endings of files in which a line that begins with # is a comment.
_COMMENTED: Final = (".yaml", ".yml")
# chosen: other values of a parameter with which an export is compared, and those they are out of.
_N_PROBED: Final = 3
_MOST_LISTED: Final = 1000


@final
@dataclass(frozen=True)
class Export:
    """Files that state one design in the format of a tool.

    Attributes:
      form: Name of the format.
      files: Contents by name; a name may have folders, separated by slashes.
      missed_limits: Limits of the task that the design misses, in words.
    """

    form: str
    files: Files
    missed_limits: tuple[str, ...] = ()

    @property
    def text(self) -> str | None:
        """Text of the only file that is read; None if there are several."""
        texts = list(_read_by_tool(self.files).values())
        return texts[0] if len(texts) == 1 and isinstance(texts[0], str) else None

    @property
    def notes(self) -> list[str]:
        """Lines on what the format cannot express; empty if it states the whole design."""
        return differences(self.files)

    def write(self, path: Path) -> list[Path]:
        """Write the files and return their paths.

        Args:
          path: New file for a format of one file, or a folder, which is made if it is absent;
            or the URL of a new one.

        Raises:
          InvalidArgumentError: A file exists.
          StorageError: A file cannot be written.
        """
        path, url = placed(path)
        if url is None:
            return self._write(path)
        with local_output(path) as local:
            if len(self.files) > 1:
                make_folder(local)
            self._write(local)
        return [path if len(self.files) == 1 else path / name for name in self.files]

    def _write(self, path: Path) -> list[Path]:
        is_file = len(self.files) == 1 and not path.is_dir()
        paths = {
            path if is_file else path.joinpath(*PurePosixPath(name).parts): (
                content.encode() if isinstance(content, str) else content
            )
            for name, content in self.files.items()
        }
        present = [each for each in paths if each.exists()]
        for existing in present:
            # A command that was stopped left some of the files.
            is_same = existing.is_file() and existing.read_bytes() == paths[existing]
            if not is_same or len(present) == len(paths):
                raise InvalidArgumentError(
                    f"`--out` must name a new file or folder; {existing} exists. Choose another."
                )
        for target, content in paths.items():
            make_folder(target.parent)
            write_atomic(target, content)
        return list(paths)


def export_formats(simulator: Simulator) -> dict[str, str]:
    """Return the formats in which designs of a simulator can be exported, with a line on each.

    Args:
      simulator: Simulator, table or proxy.
    """
    return {**stood_in_for(simulator).spec.exports, **GENERAL_FORMATS}


def unknown_format(simulator: Simulator, form: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a format that a simulator does not have, or not with its options.

    Args:
      simulator: Simulator, table or proxy.
      form: Requested form.
      known: Formats that there are.
    """
    real = stood_in_for(simulator)
    option = real.spec.exports_of_options.get(form)
    if option is None:
        return unknown_name(f"format of simulator {real.name!r}", form, known)
    return UnknownNameError(
        f"Format {form!r} of simulator {real.name!r} needs `--option {option}`, which the design's "
        f"task does not have. Search with that option, or choose one of the task's formats: "
        f"{', '.join(repr(name) for name in sorted(known))}."
    )


def export_design(task: Task, indices: np.ndarray, form: str) -> Export:
    """Return a design in the format of another tool, as JSON or as Markdown.

    Files that depend on the workload are in one folder a workload if the task has several.

    Args:
      task: Task that the design is evaluated on.
      indices: (n_parameters,), the design.
      form: One of `export_formats`.

    Raises:
      UnknownNameError: There is no such format; the message lists those there are.
      InvalidDesignError: The design is infeasible, or the format cannot express it.
      SimulatorError: The simulator failed on the design.
    """
    known = export_formats(task.simulator)
    if form not in known:
        raise unknown_format(task.simulator, form, known)
    indices = task.space.canonical(np.asarray(indices, dtype=np.int64)[None, :])
    evaluation = task.evaluate(indices)
    if evaluation.failures:
        raise SimulatorError(evaluation.failures[0])
    broken = [int(reason) for reason in evaluation.reason[0] if reason]
    if broken:
        raise InvalidDesignError(
            "A design must be feasible to be exported; "
            f"{sentence(task.simulator.spec.reasons[broken[0]])}"
        )
    missed = tuple(task.missed(evaluation.values[0]))
    files: Files
    if form == "json":
        files = {"design.json": _json(task, indices[0], evaluation.values[0])}
    elif form == "markdown":
        files = {"design.md": _markdown(task, indices[0], evaluation.values[0])}
    else:
        files = _joined(files_by_workload(task, indices[0], form))
    return Export(form, files, missed)


def files_by_workload(task: Task, indices: np.ndarray, form: str) -> dict[str, Files]:
    """Return a design in one of its simulator's formats, for each workload of a task.

    Args:
      task: Task that the design is evaluated on.
      indices: (n_parameters,), a canonical design.
      form: One of the simulator's `exports`.

    Raises:
      InvalidDesignError: The design cannot be built, or the format cannot express it.
    """
    simulator = stood_in_for(task.simulator)
    by_workload: dict[str, Files] = {}
    for weighted in task.workloads:
        workload = weighted.workload
        if simulator is not task.simulator:
            workload = simulator.workload(weighted.source)
        files = exported(simulator, form, indices, workload)
        if form in unrestricted(simulator).spec.partial_exports:
            files = _with_left_out(files, left_out(simulator, form, indices, workload))
        by_workload[workload.name] = files
    return by_workload


def _joined(by_workload: Mapping[str, Files]) -> dict[str, str | bytes]:
    first = next(iter(by_workload.values()))
    if all(files == first for files in by_workload.values()):
        return dict(first)
    return {
        f"{workload}/{name}": content
        for workload, files in by_workload.items()
        for name, content in files.items()
    }


def left_out(
    simulator: Simulator, form: str, indices: np.ndarray, workload: Workload
) -> dict[str, Any]:
    """Return the parameters on which the files of an export do not depend, with their values.

    The files are written again with other values of each parameter. Inactive parameters do not
    count, nor those whose other values the format or the space refuses.

    Args:
      simulator: The simulator, not a stand-in.
      form: One of its `exports`.
      indices: (n_parameters,), a canonical design that the format can express.
      workload: One that the simulator made.
    """
    space = unrestricted(simulator).space
    design = simulator.space.design_at(indices)
    start = space.canonical(space.indices_of(design)[None, :])[0]
    files = _read_by_tool(exported(unrestricted(simulator), form, start, workload))
    found = {}
    for place in np.flatnonzero(space.active(start[None, :])[0]):
        parameter = space.parameters[place]
        near = sorted(range(min(parameter.size, _MOST_LISTED)), key=lambda v: abs(v - start[place]))
        others = np.repeat(start[None, :], len(near[1 : _N_PROBED + 1]), axis=0)
        others[:, place] = near[1 : _N_PROBED + 1]
        others = space.canonical(others)
        differ = []
        for other in others[space.feasible(others)]:
            try:
                texts = _read_by_tool(exported(unrestricted(simulator), form, other, workload))
            except InvalidDesignError:
                continue
            differ.append(texts != files)
        if differ and not any(differ):
            found[parameter.name] = design[parameter.name]
    return found


def _read_by_tool(files: Files) -> dict[str, str | bytes]:
    """Return files without those that only describe what the tool reads."""
    return {name: text for name, text in files.items() if name not in (README, EXPECTED)}


def _with_left_out(files: Files, left: Mapping[str, Any]) -> Files:
    """Return files with a list of parameters that they lack: a comment, or else in the README."""
    if not left:
        return files
    lines = [f"The format has no place for {n} = {_cell(v)}." for n, v in left.items()]
    (*others, name) = files
    if not others and PurePosixPath(name).suffix in _COMMENTED:
        return {name: text_of(files, name) + "".join(f"# {line}\n" for line in lines)}
    return with_differences(files, lines)


def _json(task: Task, indices: np.ndarray, values: np.ndarray) -> str:
    design = dict(task.space.design_at(indices))
    default = task.space.default
    names = [spec.name for spec in task.metrics]
    data: dict[str, Any] = {
        "format": _FORMAT,
        "task": task.id,
        "digest": task.digest,
        **_sources(task),
        "design": design,
        "changed": {
            name: {"default": default[name], "design": value}
            for name, value in task.space.changes(design).items()
        },
        "units": {p.name: p.unit for p in task.space.parameters if p.unit}
        | {spec.name: spec.unit for spec in task.metrics},
        "metrics": {
            w.workload.name: dict(zip(names, row, strict=True))
            for w, row in zip(task.workloads, values.tolist(), strict=True)
        },
        "default_metrics": {
            w.workload.name: dict(zip(names, row, strict=True))
            for w, row in zip(task.workloads, task.reference.tolist(), strict=True)
        },
        "limits": [str(limit) for limit in task.limits],
        "missed_limits": task.missed(values),
    }
    return json.dumps(data, indent=2) + "\n"


def _sources(task: Task) -> dict[str, Any]:
    """Return the workloads by name or path with their weights, where the id does not name them."""
    if all(weighted.source == weighted.workload.name for weighted in task.workloads):
        return {}
    return {"sources": {weighted.source: weighted.weight for weighted in task.workloads}}


def _markdown(task: Task, indices: np.ndarray, values: np.ndarray) -> str:
    design = task.space.design_at(indices)
    default = task.space.default
    lines = [f"# {task.id}", "", "| parameter | value | default | unit |", "|---|---|---|---|"]
    for name in design:
        mark = "" if design[name] == default[name] else "**"
        cells = _cell(design[name]), _cell(default[name]), task.space.parameter(name).unit
        lines.append(f"| {mark}`{name}`{mark} | {' | '.join(cells)} |")
    for place, weighted in enumerate(task.workloads):
        lines += ["", f"## {weighted.workload.name}", "", "| metric | value | default | unit |"]
        lines.append("|---|---:|---:|---|")
        lines += [
            f"| `{spec.name}` | {grouped_number(value)} | {grouped_number(default_value)} "
            f"| {spec.unit} |"
            for spec, value, default_value in zip(
                task.metrics, values[place].tolist(), task.reference[place].tolist(), strict=True
            )
        ]
    if task.limits:
        missed = task.missed(values)
        stated = ", ".join(f"`{limit}`" for limit in task.limits)
        lines += ["", f"Limits ({stated}): {'missed: ' + '; '.join(missed) if missed else 'met'}."]
    if task.simulator.name in simulator_names():
        lines += ["", f"To evaluate it again: `{evaluate_command(task, indices)}`"]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text.replace("|", "\\|")
