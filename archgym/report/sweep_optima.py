"""Tasks of a sweep whose optimum is proven, since a table has all of their designs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.sweep.plan import SweepPlan

if TYPE_CHECKING:
    from archgym.tables import Exhaustive


def proven_tasks(plan: SweepPlan, tables: Sequence[Path]) -> "Mapping[str, Exhaustive]":
    """Return all designs of those tasks that tables have, by the task's label.

    Args:
      plan: A recorded one, whose tasks have digests.
      tables: Files; each must have a task of the plan.

    Raises:
      InvalidArgumentError: A table has none of the tasks.
      FileFormatError: A file is not a table, or it is damaged.
    """
    from archgym.tables import Exhaustive, TableSimulator

    found: dict[str, Exhaustive] = {}
    for path in tables:
        TableSimulator(path)
        fits = False
        for task in plan.tasks:
            try:
                made = replace(task, stand_in=str(path)).make()
            except (InvalidArgumentError, UnknownNameError):
                continue
            if made.digest == task.digest:
                fits = True
                found.setdefault(task.label, Exhaustive(made))
        if not fits:
            raise InvalidArgumentError(
                f"`--table` must have a task of the sweep; {path} has none of them. Leave it out."
            )
    return found
