"""Entries to the accuracy board: a program, its predictions, and their verification.

A program is asked about each group in a process and a folder of its own. It is given the folder as
its last argument, reads `learn.csv` and `questions.csv`, and writes `predictions.csv` with the
columns `id` and any of `TIMES`.
"""

import csv
import hashlib
import json
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from archgym.bench.accuracy import (
    MAX_BYTES,
    TABLE,
    TIMES,
    group_files,
    read_predictions,
    scores,
    split,
    split_digest,
)
from archgym.bench.run import kill_session, watchdog
from archgym.errors import FileFormatError, MissingProgramError, SimulatorError
from archgym.files.storage import atomic_folder, open_member, require_free, storage_errors

LIMIT_S: Final = 3600.0
"""chosen: time of a program for one group [s]."""
_PREDICTIONS, _ENTRY = "predictions.csv", "entry.json"
_CALL: Final = (
    "import importlib, pathlib, sys\n"
    "getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(pathlib.Path(sys.argv[3]))"
)
# chosen: other machines' linear algebra changes the last digits, and no score.
_SAME: Final = 1e-3
# Median by which TPOT of repeated runs differs [%], the noise of the rows.
_NOISE: Final = 0.5
# The table of answers becomes an empty file, which the inner namespace cannot uncover, and there is
# no network.
_HIDE: Final = ["unshare", "-rmn", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"']
_Predictions = dict[tuple[str, str], dict[str, float]]


def hidden_from() -> list[str]:
    """Return words before a command that hide the table from it; empty where Linux forbids it."""
    words = [*_HIDE, str(TABLE), "unshare", "-rm"]
    try:
        ran = subprocess.run([*words, "true"], capture_output=True, check=False)
    except OSError:
        return []
    return words if ran.returncode == 0 else []


def run_entry(command: str, out: str | Path, limit_s: float = LIMIT_S) -> None:
    """Ask a program about all groups, and write `predictions.csv` and `entry.json`.

    Args:
      command: Program with its arguments, or a function of the current folder as MODULE:FUNCTION.
      out: New folder.
      limit_s: Time for each group [s].

    Raises:
      MissingProgramError: The program cannot be started.
      SimulatorError: It fails or takes too long.
      FileFormatError: Its predictions are torn.
      StorageError: The folder cannot be written.
    """
    target = Path(out)
    require_free(target)
    found = _asked(command, [], list(_groups()), limit_s)
    with atomic_folder(target) as made, storage_errors(target, "written"):
        with (made / _PREDICTIONS).open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, ["axis", "id", *TIMES], lineterminator="\n")
            table.writeheader()
            table.writerows({"axis": axis, "id": one, **of} for (axis, one), of in found.items())
        digest = hashlib.sha256((made / _PREDICTIONS).read_bytes()).hexdigest()
        entry = {"format": 1, "command": command, "split": split_digest(), _PREDICTIONS: digest}
        (made / _ENTRY).write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")


def verify_entry(folder: str | Path, limit_s: float = LIMIT_S) -> list[str]:
    """Run an entry's program again and return why it is refused; empty if it is accepted.

    The groups come in reverse order, so that a program that keeps what earlier groups gave it
    answers otherwise. The table that ships is out of its reach where `hidden_from` is not empty.

    Args:
      folder: Folder that `run_entry` wrote.
      limit_s: Time for each group [s].

    Raises:
      FileFormatError: A file is torn.
      StorageError: A file cannot be read.
    """
    path = Path(folder) / _PREDICTIONS
    entry = _entry(Path(folder) / _ENTRY)
    with open_member(path) as file, storage_errors(path, "read"):
        digest = hashlib.sha256(file.read(MAX_BYTES)).hexdigest()
    if entry["split"] != split_digest():
        return ["the rows or their groups are others than those of this release"]
    if entry[_PREDICTIONS] != digest:
        return [f"{_PREDICTIONS} was changed after the run"]
    stated = read_predictions(path)
    found = [
        f"{each.axis}: the median error of {each.median:.2g} % is below that of repeated runs"
        for each in scores(stated)
        if each.quantity == "tpot" and each.median is not None and each.median < _NOISE
    ]
    try:
        again = _asked(entry["command"], hidden_from(), list(_groups())[::-1], limit_s)
    except (SimulatorError, FileFormatError) as error:
        return [*found, f"the program fails: {error}"]
    differ = [key for key in {**stated, **again} if not _agree(stated, again, key)]
    if differ:
        found.append(f"{len(differ)} predictions differ, such as {' '.join(min(differ))}")
    return found


def _entry(path: Path) -> dict[str, str]:
    names = ("command", "split", _PREDICTIONS)
    with open_member(path) as file, storage_errors(path, "read"):
        data = file.read(2**16)
    try:
        entry: Any = json.loads(data)
        return {name: entry[name] + "" for name in names}
    except (ValueError, LookupError, TypeError, RecursionError):
        what = f"an entry must be JSON with the texts {', '.join(names)}"
        raise FileFormatError(path, None, what, "Run the program again") from None


def _agree(a: _Predictions, b: _Predictions, key: tuple[str, str]) -> bool:
    one, other = a.get(key, {}), b.get(key, {})
    return one.keys() == other.keys() and all(
        math.isclose(one[name], other[name], rel_tol=_SAME) for name in one
    )


def _groups() -> Sequence[tuple[str, str]]:
    return [(axis, group) for axis, groups in split().items() for group in groups]


def _asked(
    command: str, prefix: Sequence[str], groups: Sequence[tuple[str, str]], limit_s: float
) -> _Predictions:
    found: _Predictions = {}
    words = shlex.split(command)
    if named := re.fullmatch(r"([\w.]+):(\w+)", command):
        words = [sys.executable, "-c", _CALL, named[1], named[2]]
    for group in groups:
        with TemporaryDirectory() as name:
            # Names of axis and group are not told.
            folder = Path(name) / "asked"
            folder.mkdir()
            for file, text in group_files(*group).items():
                (folder / file).write_text(text, encoding="utf-8")
            _run([*prefix, *words, str(folder)], name, limit_s, " ".join(group))
            found |= read_predictions(folder / _PREDICTIONS, only=group)
    return found


def _run(words: Sequence[str], scratch: str, limit_s: float, group: str) -> None:
    environment = {**os.environ, "TMPDIR": scratch}
    environment.pop("ARCHGYM_REFERENCE", None)
    watchdog.ready()
    try:
        program = subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(),
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise MissingProgramError(f"Program {words[0]!r} cannot be started: {error}.") from None
    watchdog.watch(program.pid)
    try:
        status = program.wait(limit_s)
    except subprocess.TimeoutExpired:
        raise SimulatorError(f"{group}: the program took more than {limit_s:g} s.") from None
    finally:
        kill_session(program)
        program.wait()
        watchdog.forget(program.pid)
    if status:
        raise SimulatorError(f"{group}: the program ended with status {status}.")
