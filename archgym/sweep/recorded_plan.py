"""The plan that a sweep's folder records: read, compared with another one, written."""

import json
from pathlib import Path

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.files.storage import write_atomic
from archgym.files.yaml_document import read_document
from archgym.sweep.plan import SweepPlan
from archgym.sweep.reading import parsed_recorded_plan

PLAN_NAME = "sweep.json"
"""The plan in a sweep's folder, with everything that the plan's file leaves open decided."""


def read_recorded_plan(folder: str | Path) -> SweepPlan:
    """Return the plan of a sweep's folder, read without any simulator or agent.

    Raises:
      FileFormatError: The folder has none, or it is damaged.
      StorageError: It cannot be read.
    """
    path = Path(folder) / PLAN_NAME
    if not path.is_file():
        raise FileFormatError(
            folder,
            None,
            f"a sweep must have a file {PLAN_NAME}, and it is missing",
            "Check the path, or start one with `archgym sweep run`",
        )
    return parsed_recorded_plan(read_document(path))


def record_plan(folder: Path, plan: SweepPlan) -> None:
    """Record a plan that only adds to what the folder has recorded, if anything.

    Raises:
      InvalidArgumentError: It changes something.
      FileFormatError: What is recorded is damaged.
      StorageError: The folder cannot be read or written.
    """
    if (folder / PLAN_NAME).is_file():
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
