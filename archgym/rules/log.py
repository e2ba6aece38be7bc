"""Log of rules: a folder with a budget, and one checksummed line for each evaluation.

    policies.json    {"format": 1, "domain": …, "traces": […], "options": {…}, "budget": 40}
    policies.jsonl   {"seq": 0, "source": …, "constants": {…}, "loss": 1.9, "results": […], …}

Every evaluation is charged, also that of a rule that faults, hangs or does not pass the checks
of its loops. A rule that is not in the language at all costs nothing.
"""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, final

import msgspec

from archgym.errors import BudgetExhausted, FileFormatError, InvalidArgumentError
from archgym.files.json_types import typed
from archgym.files.lease import Lease
from archgym.files.lines import append_line, read_lines
from archgym.files.storage import (
    is_there,
    make_folder,
    open_member,
    storage_errors,
    write_atomic,
)
from archgym.rules.domain import domain as known_domain
from archgym.rules.language import check_rule, tuned_values
from archgym.rules.sandbox import RuleRunner
from archgym.runtime.closing import Closing

HEADER_NAME: Final = "policies.json"
_JOURNAL_NAME: Final = "policies.jsonl"
_FORMAT: Final = 1
# chosen: names of thousands of traces.
_MAX_HEADER_BYTES: Final = 2**20
# chosen: at a second each, eleven days.
_MAX_BUDGET: Final = 10**6


@final
class RuleHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choices of a log of rules."""

    format: int
    domain: str
    traces: tuple[str, ...]
    options: dict[str, str]
    budget: int
    crc: str = ""
    """Checksum of the other members, which those of the records depend on."""

    def checksum(self) -> str:
        """Return the checksum that the members must have."""
        return f"{zlib.crc32(msgspec.json.encode(msgspec.structs.replace(self, crc=''))):08x}"


@final
@dataclass(frozen=True)
class Attempt:
    """An evaluated rule."""

    seq: int
    source: str
    constants: Mapping[str, int]
    results: tuple[Mapping[str, Any], ...]
    """Measures by trace."""
    loss: float | None
    """Mean over the traces; None for an infeasible rule."""

    def to_json(self) -> dict[str, Any]:
        """Return the attempt as a record."""
        return {
            "seq": self.seq,
            "source": self.source,
            "constants": dict(self.constants),
            "loss": self.loss,
            "results": [dict(each) for each in self.results],
        }


@final
class RuleLog(Closing):
    """Evaluations of rules of one domain on fixed traces, charged to a budget.

    Use it as a context manager. One process at a time has a log open.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> with TemporaryDirectory() as folder:
      ...     with RuleLog.create(f"{folder}/log", "tlb", ["sort"], budget=2) as log:
      ...         left = log.left
      >>> left
      2
    """

    def __init__(self, folder: Path, header: RuleHeader, root: Path | None) -> None:
        """Open the log; use `create` or `open`."""
        self.folder = folder
        self.header = header
        self._lease = Lease(folder)
        try:
            self._domain = known_domain(header.domain)
            self._cases = [
                self._domain.open_case(_place(trace, root), _placed(self.header.options, root))
                for trace in header.traces
            ]
            self._seed = zlib.crc32(header.crc.encode())
            path = folder / _JOURNAL_NAME
            lines = enumerate(read_lines(path, self._seed))
            self.attempts = [_attempt(path, data, seq) for seq, data in lines]
        except BaseException:
            self._lease.release()
            raise
        self._runner: RuleRunner | None = None

    @classmethod
    def create(
        cls,
        folder: str | Path,
        domain: str,
        traces: Sequence[str],
        *,
        budget: int,
        options: Mapping[str, str] | None = None,
        root: Path | None = None,
    ) -> Self:
        """Make a new log.

        Args:
          folder: New folder.
          domain: Name of a domain.
          traces: Traces that every rule is measured on.
          budget: Evaluations at most; one rule on all traces is one.
          options: Options of the domain.
          root: Folder in which files of traces and options lie; None for the present folder.

        Raises:
          InvalidArgumentError: The folder is in use, or an argument is out of range.
          ArchGymError: The domain, a trace or an option does not exist.
        """
        if not 1 <= budget <= _MAX_BUDGET:
            raise InvalidArgumentError(f"`budget` must be 1 to {_MAX_BUDGET}; got {budget}.")
        if not traces:
            raise InvalidArgumentError("A log of rules needs a trace; got none.")
        path = Path(folder)
        if path.exists() and any(path.iterdir()):
            raise InvalidArgumentError(f"{path} is in use. Choose another folder.")
        header = RuleHeader(
            format=_FORMAT,
            domain=known_domain(domain).name,
            traces=tuple(traces),
            options=dict(options or {}),
            budget=budget,
        )
        header = msgspec.structs.replace(header, crc=header.checksum())
        for trace in header.traces:
            # What cannot be opened leaves no folder behind.
            place = _place(trace, root)
            known_domain(domain).open_case(place, _placed(header.options, root))
        made = cls(make_folder(path), header, root)
        # Only with the lease is it known that nobody else has just begun a log here.
        if is_there(path / HEADER_NAME):
            made.close()
            raise InvalidArgumentError(f"{path} is in use. Choose another folder.")
        write_atomic(path / HEADER_NAME, msgspec.json.encode(header) + b"\n")
        return made

    @classmethod
    def open(cls, folder: str | Path, root: Path | None = None) -> Self:
        """Open a log that exists.

        Raises:
          FileFormatError: A file of it is damaged.
          StudyLockedError: Another process has it open.
        """
        return cls(Path(folder), read_rule_header(folder), root)

    def close(self) -> None:
        """End the rules' process and release the folder."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None
        self._lease.release()

    @property
    def left(self) -> int:
        """Evaluations that are left of the budget."""
        return self.header.budget - len(self.attempts)

    def best(self) -> Attempt | None:
        """Return the feasible attempt with the smallest loss, the first of equals."""
        found = [each for each in self.attempts if each.loss is not None]
        return min(found, key=lambda each: float(each.loss or 0.0), default=None)

    def evaluate(self, source: str, constants: Mapping[str, int] | None = None) -> Attempt:
        """Evaluate a rule on all traces; charged, and recorded before it returns.

        Args:
          source: Text of the rule.
          constants: Values of tunable constants.

        Raises:
          BudgetExhausted: Nothing is left.
          FileFormatError, UnknownNameError: The text is no rule; nothing is charged.
          InvalidArgumentError: It is of another domain, or a constant is out of range.
        """
        if self.left <= 0:
            raise BudgetExhausted(
                f"All {self.header.budget} evaluations of {self.folder.name!r} are used."
            )
        attempt = self._measured(source, dict(constants or {}), len(self.attempts))
        self._lease.check()
        append_line(self.folder / _JOURNAL_NAME, attempt.to_json(), self._seed)
        self.attempts.append(attempt)
        return attempt

    def verify(self) -> list[int]:
        """Return numbers of the attempts, from 1, that are not intact.

        They give other results when evaluated again, or lie beyond the budget.
        """
        return [
            each.seq + 1
            for each in self.attempts
            if each.seq >= self.header.budget
            or self._measured(each.source, each.constants, each.seq) != each
        ]

    def _measured(self, source: str, constants: Mapping[str, int], seq: int) -> Attempt:
        rule = check_rule(source)
        if rule.domain.name != self._domain.name:
            raise InvalidArgumentError(
                f"The log is for rules of domain {self._domain.name!r}; "
                f"got one of {rule.domain.name!r}."
            )
        tuned = tuned_values(rule, {name: str(value) for name, value in constants.items()})
        if self._runner is None:
            self._runner = RuleRunner()
        results, losses = [], []
        for trace, case in zip(self.header.traces, self._cases, strict=True):
            try:
                found = self._domain.evaluate(rule, case, self._runner, tuned)
            except FileFormatError as error:
                # Loops are too long for this case.
                problem = " ".join(str(error).split())
                results.append({"trace": trace, "problem": problem})
                losses.append(math.inf)
                continue
            results.append({**found.to_json(), "trace": trace})
            losses.append(found.loss)
        mean = sum(losses) / len(losses)
        # As JSON gives them back, so that a verified attempt is equal.
        plain = json.loads(json.dumps(results, allow_nan=False))
        loss = mean if math.isfinite(mean) else None
        return Attempt(seq, source, dict(tuned), tuple(plain), loss)


def read_rule_header(folder: str | Path) -> RuleHeader:
    """Return the choices of a log of rules.

    Raises:
      FileFormatError: The file is damaged or of a newer format.
      StorageError: It cannot be read.
    """
    path = Path(folder) / HEADER_NAME
    with storage_errors(path, "read"), open_member(path) as handle:
        content = handle.read(_MAX_HEADER_BYTES)
    try:
        header: RuleHeader = typed(json.loads(content), RuleHeader)
    except (ValueError, RecursionError, InvalidArgumentError) as error:
        raise FileFormatError(path, None, f"the file is damaged: {error}") from None
    if header.format != _FORMAT:
        raise FileFormatError(
            path, None, f"the format must be {_FORMAT}; got {header.format}", "Update ArchGym"
        )
    if header.crc != header.checksum():
        raise FileFormatError(path, None, "the members do not match their checksum")
    if not header.traces or not 1 <= header.budget <= _MAX_BUDGET:
        raise FileFormatError(path, None, "the file must have a trace and a budget")
    return header


def _attempt(path: Path, data: Mapping[str, Any], seq: int) -> Attempt:
    try:
        attempt = Attempt(
            int(data["seq"]),
            str(data["source"]),
            {str(name): int(value) for name, value in data["constants"].items()},
            tuple(dict(each) for each in data["results"]),
            None if data["loss"] is None else float(data["loss"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FileFormatError(path, seq + 1, "the line is no attempt") from None
    if attempt.seq != seq:
        problem = f"the line must be attempt {seq}; got {attempt.seq}"
        raise FileFormatError(path, seq + 1, problem)
    return attempt


def _place(text: str, root: Path | None) -> str:
    """Return a trace's name, or its path where a file in the root has that name."""
    if root is None:
        return text
    path = root / text
    return str(path) if path.is_file() else text


def _placed(options: Mapping[str, str], root: Path | None) -> dict[str, str]:
    return {name: _place(text, root) for name, text in options.items()}
