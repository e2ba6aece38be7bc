"""Control as domains of rules: settings that are chosen after each epoch of a run."""

from typing import Final

from archgym.control.declaration import Control, RuleView, controls
from archgym.rules.domain import Domain, Hook, deferred

_CASE: Final = "archgym.control.rules.case"


def _domain(control: Control, view: RuleView) -> Domain:
    name = f"{control.simulator}-control"
    hooks = {
        "choose": Hook(
            (*(each.removesuffix("_ns") for each in view.seen), "previous"),
            "Return the place of the action for the next epoch. Counters of the last epoch go from "
            "0 to 255 over their declared range, and are 0 before the first. `previous` is the "
            "last action.",
            is_required=True,
            has_result=True,
        )
    }
    return Domain(
        name=name,
        doc=view.doc,
        hooks=hooks,
        sizes={"action": "actions of the task"},
        values={"ACTIONS": "actions of the task", "DEFAULT": "the default action"},
        templates=view.templates,
        options={"task": f"control task (default: {control.default})"},
        built_in=("default", "best-static", *view.by_counters, "ducb"),
        example={"action": view.n_actions, "ACTIONS": view.n_actions, "DEFAULT": 0},
        open_case=lambda *given: deferred(_CASE, "open_case")(name, *given),
        compile=lambda made: deferred("archgym.rules.compilation", "entry_points")(made, hooks),
        simulate=deferred(_CASE, "simulate_rule"),
        prepare=lambda: deferred(_CASE, "prepare")(control),
        loss="cost over that of the best static settings in hindsight",
    )


DOMAINS: Final = tuple(_domain(each, each.rules) for each in controls().values() if each.rules)
"""Domains of control."""
