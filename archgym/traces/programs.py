"""The program behind the name that a user gives: a version manager's shim is not the program."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_TIMEOUT_S = 10.0


def resolved(command: Sequence[str]) -> tuple[list[str], str]:
    """Return the command with the program that it ends up running, and a note for the user or "".

    pyenv, rbenv and their like put scripts of the programs' names into a folder `shims`; valgrind
    would record the shell that runs the script, not what it starts. They say themselves which
    program is meant. Of any other script the interpreter is recorded, which the note says.
    """
    command = list(command)
    found = shutil.which(command[0]) if command else None
    if found is None:
        return command, ""
    path = Path(found)
    if path.parent.name == "shims" and (program := _behind_shim(path)):
        return [program, *command[1:]], f"{path} starts {program}, which is recorded."
    interpreter = _interpreter(path)
    if interpreter:
        return command, (
            f"{path} is a script: {interpreter} is recorded, not the programs that it starts."
        )
    return command, ""


def _behind_shim(path: Path) -> str | None:
    """Return the program that a version manager's shim starts."""
    folder = path.parent.parent
    name = folder.name.removeprefix(".")
    manager = folder / "bin" / name
    program = str(manager) if manager.is_file() else shutil.which(name)
    if program is None:
        return None
    try:
        ran = subprocess.run(
            [program, "which", path.name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    answer = ran.stdout.strip()
    return answer if ran.returncode == 0 and Path(answer).is_file() else None


def _interpreter(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            line = handle.readline(256)
    except OSError:
        return ""
    return line[2:].decode("utf-8", "replace").strip() if line.startswith(b"#!") else ""
