"""Exceptions of ArchGym: subclasses of `ArchGymError` and of the built-in that they refine."""

import difflib
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

# chosen: three lines of a terminal, and all agents that come with ArchGym with some to spare.
_MAX_NAMES = 30
# Kinds of names in whose place a file may be given.
_OR_FILES = ("simulator", "workload", "trace")
# A separator, or an extension that begins with a letter: a decimal number has neither.
_PATH = re.compile(r".*[/\\].*|.*\w\.[A-Za-z]\w{0,7}", re.DOTALL)


class ArchGymError(Exception):
    """Base class of ArchGym's exceptions.

    Example:
      >>> try:
      ...     raise InvalidDesignError("`ways` must be one of 1, 2, 4; got 3.")
      ... except ArchGymError as error:
      ...     print(error)
      `ways` must be one of 1, 2, 4; got 3.
    """

    choice: str | None = None
    """Choice that caused the error where a task is made of several, such as ``"workload"``."""


class InvalidArgumentError(ArchGymError, ValueError):
    """An argument is outside what its documentation allows."""


class InvalidDesignError(ArchGymError, ValueError):
    """A design does not lie in the space it is used with."""


class InvalidSpaceError(ArchGymError, ValueError):
    """A design space is declared in a way that cannot work."""


class UnknownNameError(ArchGymError, LookupError):
    """A name of a simulator, agent, workload or the like does not exist."""

    name: str = ""
    """The name that was given, where one was looked up."""


class FileFormatError(ArchGymError, ValueError):
    """A file cannot be read as what it should be."""

    def __init__(self, path: str | Path, line: int | None, problem: str, remedy: str = "") -> None:
        """Name the place and the way out.

        Args:
          path: The file.
          line: The line in it, from 1; None for files without lines.
          problem: Requirement and given value, without a full stop.
          remedy: Remedy, without a full stop.
        """
        self.path = Path(path)
        self.line = line
        self.problem = problem
        place = f"{path}:{line}" if line is not None else f"{path}"
        self._parts = (path, line, problem, remedy)
        end = "" if remedy.endswith(("?", ".")) else "."
        super().__init__(f"{place}: {problem}." + (f" {remedy}{end}" if remedy else ""))

    def __reduce__(self) -> tuple[type["FileFormatError"], tuple[str | Path, int | None, str, str]]:
        return FileFormatError, self._parts


class SimulatorError(ArchGymError, RuntimeError):
    """A simulator broke, or returned numbers that break its own invariants."""


class StorageError(ArchGymError, OSError):
    """A file or folder cannot be written or read: full, read-only, absent."""


class StudyLockedError(ArchGymError, RuntimeError):
    """Another process writes this study."""


class StudyExistsError(InvalidArgumentError):
    """A folder holds another study than the one that was asked for."""


class ReplayError(ArchGymError, RuntimeError):
    """A resumed agent asks for something else than its journal says it asked."""


class ConformanceError(ArchGymError, AssertionError):
    """An agent or simulator does not keep what its interface promises."""


class BudgetExhausted(ArchGymError):  # noqa: N818 - a signal to stop, not a fault
    """The study's evaluations or asks are used up; an agent lets it pass."""


class StudyInterrupted(ArchGymError):  # noqa: N818 - a signal to stop, not a fault
    """The user or the system asked the study to stop."""

    def __init__(self, message: str, signal_number: int = 2) -> None:
        """Keep the signal so that the process can exit with 128 + `signal_number`."""
        super().__init__(message)
        self.signal_number = signal_number


class MissingExtraError(ArchGymError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str) -> None:
        """Name the package and the extra that brings it."""
        self._parts = (package, extra)
        super().__init__(
            f"The package {package!r} must be installed for this; it is not. "
            f"Install it with: pip install 'archgym[{extra}]'."
        )

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        return MissingExtraError, self._parts


class MissingProgramError(ArchGymError, FileNotFoundError):
    """A program of the system is needed and not installed."""


def error_text(error: BaseException) -> str:
    """Return the message of any exception, also of one whose own `__str__` fails."""
    try:
        return str(error)
    except Exception:
        return f"(no message: {type(error).__name__}.__str__ fails)"


def sentence(text: str) -> str:
    """Return a text that may end in a full stop with one."""
    return f"{text.removesuffix('.')}."


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for an unknown name, with similar names or all of them.

    Args:
      kind: Kind of thing that is named, such as "simulator".
      name: Given name.
      known: Existing names.
    """
    names = sorted(known)
    # Whatever a caller hands over for a name comes here.
    parts = sorted(str(name).split("+"))
    near = [each for each in names if "+" in each and sorted(each.split("+")) == parts]
    near = near or [each for each in names if each.lower() == str(name).lower()]
    near = near or difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    if near:
        hint = "Did you mean " + " or ".join(repr(n) for n in near) + "?"
    elif names:
        more = f", and {len(names) - _MAX_NAMES} more" if names[_MAX_NAMES:] else ""
        hint = "Known: " + ", ".join(repr(n) for n in names[:_MAX_NAMES]) + f"{more}."
    else:
        hint = "No names are known."
    head, of, owner = kind.partition(" of ")
    text = f"Unknown {head} {name!r}{of}{owner}. {hint}"
    if kind.split()[0] in _OR_FILES and _is_missing_path(name):
        text = (
            f"There is no file or folder {name!r}, and no {head}{of}{owner} has this name. {hint}"
        )
    error = UnknownNameError(text)
    error.name = str(name)
    return error


def check_known(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    """Refuse the first of some names that does not exist.

    Raises:
      UnknownNameError: There is one; see `unknown_name`.
    """
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)


def _is_missing_path(name: str) -> bool:
    """Return True if a name looks like a path, and nothing is there."""
    text = str(name)
    return _PATH.fullmatch(text) is not None and "\0" not in text and not os.path.lexists(text)
