"""Kinds of the members of `study.json`, which may be of any origin."""

from collections.abc import Mapping
from typing import Any

__all__ = ["check_members"]

_TEXT = str
# chosen: what 64-bit columns hold; nothing that is counted comes near.
_MAX_WHOLE = 2**63 - 1
_MAYBE_TEXT = (str, type(None))
_MAYBE_WHOLE = (int, type(None))
_STUDY: dict[str, Any] = {
    "kind": _TEXT,
    "id": _TEXT,
    "task": dict,
    "agent": _MAYBE_TEXT,
    "hyperparameters": dict,
    "seed": _MAYBE_WHOLE,
    "budget": _MAYBE_WHOLE,
    "max_asks": _MAYBE_WHOLE,
    "is_replayable": bool,
    "versions": dict,
    "platform": _TEXT,
    "created": _TEXT,
    "segments": list,
}
_SEGMENT: dict[str, Any] = {
    "first_seq": int,
    "study": _TEXT,
    "folder": _TEXT,
    "agent": _MAYBE_TEXT,
    "seed": _MAYBE_WHOLE,
    "hyperparameters": dict,
}
_TASK: dict[str, Any] = {
    "id": _TEXT,
    "digest": _TEXT,
    "simulator": _TEXT,
    "version": int,
    "options": dict,
    "fidelity": _TEXT,
    "space_name": _TEXT,
    "space": dict,
    "workloads": list,
    "objective": dict,
    "metrics": list,
    "reasons": list,
    "reference": list,
}
_WORKLOAD: dict[str, Any] = {
    "name": _TEXT,
    "source": _TEXT,
    "digest": _TEXT,
    "weight": (int, float),
}
_METRIC: dict[str, Any] = {"name": _TEXT, "unit": _TEXT, "goal": _TEXT, "doc": _TEXT}
# What stands in messages as it is; folders and workloads have the names that people give them.
_LINES = ("digest", "simulator", "fidelity", "space_name", "study", "agent")


def check_members(data: Mapping[str, Any]) -> None:
    """Makes sure that every member is of its kind, before anything is made of it.

    Raises:
      ValueError: Says which one is not.
    """
    _check("", data, _STUDY)
    for place, segment in enumerate(data["segments"]):
        _check(f"segments.{place}.", segment, _SEGMENT)
    task = data["task"]
    _check("task.", task, _TASK)
    if not task["workloads"] or not task["metrics"] or not task["reasons"]:
        raise ValueError("`task` must have workloads, metrics and reasons")
    for name, kinds in (("workloads", _WORKLOAD), ("metrics", _METRIC)):
        for place, member in enumerate(task[name]):
            _check(f"task.{name}.{place}.", member, kinds)
    if not all(isinstance(reason, str) for reason in task["reasons"]):
        raise ValueError("`task.reasons` must be texts")


def _check(where: str, data: Any, kinds: Mapping[str, Any]) -> None:
    if not isinstance(data, dict):
        raise ValueError(f"`{where.removesuffix('.')}` must be an object")
    for name, kind in kinds.items():
        value = data.get(name)
        is_kind = isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)
        is_small = not isinstance(value, int) or 0 <= value <= _MAX_WHOLE
        is_line = name not in _LINES or not isinstance(value, str) or value.isprintable()
        if not (is_kind and is_small and is_line):
            raise ValueError(f"`{where}{name}` has a wrong kind or value")
