"""Files that a search passes through, from the call to the simulator's kernel and to the journal.

    python experiments/walk.py

It searches the DRAM space with a few evaluations and notes, at each end of the story, the files
whose functions are being called. Set `PYTHONPATH` to the unpacked archive of an older commit to see
that one's. What a file declares or checks on the side, such as parameters, costs nobody a visit.
"""

import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Final

import archgym

ROOT: Final = Path(archgym.__file__).parent
ENDS: Final = {
    "load": "simulator by name",
    "design_space": "space of the task",
    "AutoAgent.search": "agent",
    "DesignSpace.canonical": "design",
    "evaluate_isolated": "evaluation",
    "simulate": "simulation, before the compiled kernel",
    "encode": "record",
    "JournalWriter.append": "journal",
}
"""Last functions of each part of the story, by qualified name."""


def walk(budget: int = 12) -> dict[str, list[str]]:
    """Return the files on the way to each end, in their order."""
    chains: dict[str, list[str]] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_qualname
        if event != "call" or name not in ENDS or name in chains:
            return
        files: list[str] = []
        at: FrameType | None = frame
        while at is not None:
            path = Path(at.f_code.co_filename)
            if path.is_relative_to(ROOT):
                files.append(str(path.relative_to(ROOT)))
            at = at.f_back
        chains[name] = list(dict.fromkeys(reversed(files)))

    threading.setprofile(note)
    sys.setprofile(note)
    with TemporaryDirectory() as folder:
        archgym.search("dram", budget=budget, folder=f"{folder}/study")
    sys.setprofile(None)
    return chains


def main() -> None:
    """Print the files on the way to each end, and all of them once."""
    found = walk()
    for name, what in ENDS.items():
        print(f"{what}: {' > '.join(found.get(name, ['not called']))}")
    every = list(dict.fromkeys(file for files in found.values() for file in files))
    print(f"{len(every)} files: {', '.join(every)}")


if __name__ == "__main__":
    main()
