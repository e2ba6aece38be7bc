"""Control as domains of rules: settings that are chosen after each epoch of a run."""

from pathlib import Path
from typing import Final

from archgym.control.tasks import DEFAULT_TASK, SEEN
from archgym.rules.domain import Domain, Hook, deferred, templates

_CASE: Final = "archgym.control.rules.case"


def _domain(prefix: str, doc: str) -> Domain:
    name, n_actions = f"{prefix}-control", {"dram": 6, "cpu": 9}[prefix]
    hooks = {
        "choose": Hook(
            (*(each.removesuffix("_ns") for each in SEEN[prefix]), "previous"),
            "Return the place of the action for the next epoch. Counters of the last epoch go from "
            "0 to 255 over their declared range, and are 0 before the first. `previous` is the "
            "last action.",
            is_required=True,
            has_result=True,
        )
    }
    return Domain(
        name=name,
        doc=doc,
        hooks=hooks,
        sizes={"action": "actions of the task"},
        values={"ACTIONS": "actions of the task", "DEFAULT": "the default action"},
        templates={"hand": templates(Path(__file__).parent)[prefix]},
        options={"task": f"control task (default: {DEFAULT_TASK[prefix]})"},
        built_in=("default", "best-static", "hand", "feedback", "ducb"),
        example={"action": n_actions, "ACTIONS": n_actions, "DEFAULT": 0},
        open_case=lambda *given: deferred(_CASE, "open_case")(name, *given),
        compile=lambda made: deferred("archgym.rules.compilation", "entry_points")(made, hooks),
        simulate=deferred(_CASE, "simulate_rule"),
        prepare=lambda: deferred(_CASE, "prepare")(prefix),
        loss="cost over that of the best static settings in hindsight",
    )


DOMAINS: Final = (
    _domain("dram", "Page policy and scheduler of a memory controller after each epoch."),
    _domain("cpu", "Prefetchers of a core after each epoch."),
)
"""Domains of control."""
