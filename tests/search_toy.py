"""Starts or resumes a search of the toy in a process of its own: FOLDER BUDGET [PACE_S [SEED]]."""

import sys
from pathlib import Path

from archgym.errors import ArchGymError, StudyInterrupted
from archgym.studies.study import Study
from tests.toys import ToyAgent, toy_task


def main(folder: str, budget: str, pace_s: str = "0", seed: str = "1", start: str = "auto") -> int:
    task = toy_task(pace_s=float(pace_s))
    try:
        if start == "create" or not (Path(folder) / "study.json").exists():
            study = Study.create(folder, task, ToyAgent, seed=int(seed), budget=int(budget))
        else:
            study = Study.open(folder, task, ToyAgent)
        sys.stdout.write("started\n")
        sys.stdout.flush()
        study.run(budget=int(budget))
    except StudyInterrupted as error:
        sys.stderr.write(f"{error}\n")
        return 128 + error.signal_number
    except ArchGymError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
