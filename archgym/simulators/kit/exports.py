"""Folders of exports: files of a tool, the command that runs them, and what the tool must print.

A folder holds the tool's files in the tool's own layout, and

    run.sh          one command; its argument is the tool's place, or PATH has the tool
    expected.json   for each number: where the tool prints it, its unit, our value, the tolerance
    README.md       the tool's name, its release, how to get it, and what it cannot express

Example:
    >>> made = folder(
    ...     Tool(name="Adder", release="1.2", get="pip install adder==1.2", program="adder"),
    ...     {"adder.cfg": "blocks = 4"},
    ...     '"$tool" adder.cfg',
    ...     [Number(metric="delay_ns", value=81.5, unit="ps", scale=1e3, after=("Delay:",))],
    ... )
    >>> sorted(made)
    ['README.md', 'adder.cfg', 'expected.json', 'run.sh']
    >>> expected(made)[1][0].read({"stdout": "Delay: 81500 ps"})
    81500.0
"""

import csv
import io
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, final

import numpy as np

from archgym.checks import check_whole
from archgym.errors import FileFormatError, InvalidDesignError, sentence
from archgym.evaluation.capabilities import Files
from archgym.evaluation.metrics import Metrics
from archgym.evaluation.simulator import Simulator, Workload
from archgym.files.tool_texts import command_options as command_options
from archgym.files.tool_texts import python_settings as python_settings

README: Final = "README.md"
RUN: Final = "run.sh"
EXPECTED: Final = "expected.json"
STDOUT: Final = "stdout"
"""Name of the tool's standard output among files that hold numbers."""
MISSING: Final = 127
"""Exit code of `run.sh` where the tool is not installed, as of a shell without the command."""
DIFFERENCES: Final = "## What differs"
"""Heading in the README of lines on what the tool cannot express."""
NETWORK_NODES: Final = 64
"""Nodes of the network of `noc` for which traffic of other simulators is written."""
FLIT_BYTES: Final = 16
"""Bytes of a flit in such traffic."""
_FORMAT: Final = 1
_NUMBER: Final = re.compile(
    r"\s*([-+]?(?:\d{1,30}(?:\.\d{0,30})?(?:[eE][-+]?\d{1,3})?|nan|inf))(?![\w.])\s*(\S*)"
)


@final
@dataclass(frozen=True, kw_only=True)
class Tool:
    """Program of others that runs exported designs."""

    name: str
    release: str
    """Release or commit whose files these are."""
    get: str
    """One line that installs it, or where it is."""
    program: str
    """Program that PATH has; `python3` for a module."""
    inside: str = ""
    """Place of the program in the tool's folder; the same name by default."""
    module: str = ""
    """Python module that the program must be able to import."""

    @property
    def missing(self) -> str:
        """What `run.sh` prints where the tool is not installed."""
        return f"{self.name} is not installed. To get it: {self.get}"


@final
@dataclass(frozen=True, kw_only=True)
class Number:
    """Number that a tool prints for a metric.

    It stands behind texts (`after`, each after the one before; the last occurrence of the first),
    or it is a sum over a column of a CSV table.
    """

    metric: str
    value: float
    """Value of the metric, in the metric's unit."""
    unit: str
    """Unit of the tool's number."""
    scale: float = 1.0
    """Units of the tool in one of ours."""
    tolerance: float = 0.0
    """Largest difference of equal numbers [tool's unit], such as what the tool rounds off."""
    file: str = STDOUT
    after: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    """Texts, as `after`, behind which stands a number that is subtracted; empty for none."""
    units: Mapping[str, float] = field(default_factory=dict)
    """Words of which one must follow the number, and what `unit` each is; empty if none must."""
    column: str = ""
    weights: tuple[float, ...] = ()
    """Factor of each row of a table, in order."""

    @property
    def stated(self) -> float:
        """Our value in the tool's unit."""
        return self.value * self.scale

    def read(self, texts: Mapping[str, str]) -> float:
        """Return the number that a tool printed.

        Args:
          texts: Contents of the tool's output by file; `STDOUT` for what it prints.

        Raises:
          FileFormatError: It is absent, of another unit, or not a finite number.
        """
        if self.file not in texts:
            raise FileFormatError(self.file, None, f"holds {self.metric}, and is absent")
        try:
            text = texts[self.file]
            number = self._of_table(text) if self.column else self._of_text(text, self.after)
            number -= self._of_text(text, self.less) if self.less else 0.0
        except FileFormatError:
            raise
        except (csv.Error, ValueError, IndexError, OverflowError):
            problem = f"must be a table with numbers in column {self.column!r}"
            raise FileFormatError(self.file, None, problem) from None
        if not math.isfinite(number):
            raise FileFormatError(self.file, None, f"{self.metric} must be finite; got {number}")
        return number

    def _of_text(self, text: str, after: tuple[str, ...]) -> float:
        place = 0
        for count, words in enumerate(after):
            place = text.rfind(words) if not count else text.find(words, place)
            if place < 0:
                problem = f"must hold {self.metric} behind {words!r}, which is absent"
                raise FileFormatError(self.file, None, problem)
            place += len(words)
        found = _NUMBER.match(text, place, place + 200)
        if found is None:
            shown = text[place : place + 20].partition("\n")[0]
            problem = f"must have a number for {self.metric} behind {after[-1]!r}; got {shown!r}"
            raise FileFormatError(self.file, None, problem)
        if self.units and found[2] not in self.units:
            problem = f"{self.metric} must be in {' or '.join(self.units)}; got {found[2][:20]!r}"
            raise FileFormatError(self.file, None, problem)
        return float(found[1]) * self.units.get(found[2], 1.0)

    def _of_table(self, text: str) -> float:
        rows = [row for row in csv.reader(io.StringIO(text), skipinitialspace=True) if row]
        place = [name.strip() for name in rows[0]].index(self.column)
        numbers = [float(row[place][:40]) for row in rows[1:]]
        if len(numbers) != len(self.weights):
            problem = f"must have {len(self.weights)} rows; got {len(numbers)}"
            raise FileFormatError(self.file, None, problem)
        return math.fsum(w * n for w, n in zip(self.weights, numbers, strict=True))


def rounding(value: float, digits: int) -> float:
    """Return what a tool rounds off where it prints this many significant digits."""
    return 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) + 1 - digits) if value else 0.0


def stated(simulator: Simulator, indices: np.ndarray, workload: Workload) -> Metrics:
    """Return the metrics of a design that is exported.

    Raises:
      InvalidDesignError: The design cannot be built.
      SimulatorError: The simulator failed on it.
    """
    found = simulator.evaluate(simulator.space.design_at(indices), workload)
    if found.infeasible is not None:
        raise InvalidDesignError(sentence(f"The design cannot be built: {found.infeasible}"))
    return found


def folder(
    tool: Tool,
    files: Files,
    command: str,
    numbers: Sequence[Number] = (),
    *,
    differences: Sequence[str] = (),
    why_none: str = "",
) -> dict[str, str | bytes]:
    """Return the files of an export: those of the tool, and what runs and checks them.

    Args:
      tool: The tool.
      files: Contents by name, as the tool reads them.
      command: Lines of a shell in the folder; `"$tool"` is the program.
      numbers: Numbers that the tool prints, with the values of our metrics.
      differences: Sentences on what the tool cannot express, or does otherwise.
      why_none: Reason why no number can be compared, where there is none.
    """
    about = {name: text for name, text in asdict(tool).items() if text}
    rows = [_plain(number) for number in numbers]
    data: dict[str, Any] = {"format": _FORMAT, "tool": about, "numbers": rows}
    if why_none:
        data["why_none"] = why_none
    made = {
        **files,
        RUN: _script(tool, command),
        EXPECTED: json.dumps(data, indent=2, allow_nan=False) + "\n",
        README: _readme(tool, numbers, why_none),
    }
    return with_differences(made, differences)


def text_of(files: Files, name: str) -> str:
    """Return a file of an export as text."""
    content = files[name]
    return content if isinstance(content, str) else content.decode(errors="replace")


def with_differences(files: Files, lines: Sequence[str]) -> dict[str, str | bytes]:
    """Return files whose README lists further differences between the design and the tool's."""
    if not lines:
        return dict(files)
    text = text_of(files, README) if README in files else ""
    if DIFFERENCES not in text:
        text = f"{text}\n{DIFFERENCES}\n\n".lstrip("\n")
    return {**files, README: text + "".join(f"- {line}\n" for line in lines)}


def differences(files: Files) -> list[str]:
    """Return what the READMEs of an export say that the tool cannot express, each once."""
    found: dict[str, None] = {}
    for name in files:
        if name.rpartition("/")[2] == README:
            lines = text_of(files, name).partition(DIFFERENCES)[2].splitlines()
            found |= dict.fromkeys(line.removeprefix("- ") for line in lines if line)
    return list(found)


def expected(files: Files) -> tuple[Tool, list[Number]]:
    """Return the tool of a folder, and the numbers that it must print.

    Raises:
      FileFormatError: The folder is not one of `folder`.
    """
    if EXPECTED not in files:
        raise FileFormatError(EXPECTED, None, "must be in the folder, and is absent")
    try:
        data = json.loads(text_of(files, EXPECTED))
        check_whole("format", data["format"], _FORMAT, _FORMAT)
        numbers = []
        for given in data["numbers"]:
            row = {name: value for name, value in given.items() if name != _STATED}
            row |= {name: tuple(row[name]) for name in ("after", "less", "weights") if name in row}
            numbers.append(Number(**row))
        return Tool(**data["tool"]), numbers
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(EXPECTED, None, f"is not as ArchGym writes it: {error}") from None


_STATED: Final = "value_in_unit"


def _plain(number: Number) -> dict[str, Any]:
    row = {name: value for name, value in asdict(number).items() if value not in ("", (), {})}
    return {**row, _STATED: number.stated}


def _script(tool: Tool, command: str) -> str:
    inside = tool.inside or tool.program
    lines = [
        "#!/bin/sh",
        f"# Usage: sh run.sh [PLACE], with the place of {tool.name}: program or folder.",
        "set -eu",
        f"tool=${{1:-{tool.program}}}",
        f"missing() {{ printf '%s\\n' {shlex.quote(tool.missing)} >&2; exit {MISSING}; }}",
        f'[ ! -d "$tool" ] || tool=$tool/{inside}',
        'case $tool in */*) ;; *) tool=$(command -v -- "$tool") || missing ;; esac',
        '[ -x "$tool" ] || missing',
        'tool=$(CDPATH= cd -- "$(dirname -- "$tool")" && pwd)/$(basename -- "$tool")',
        'cd -- "$(dirname -- "$0")"',
    ]
    if tool.module:
        lines.append(f'"$tool" -c "import {tool.module}" 2>/dev/null || missing')
    return "\n".join([*lines, command]) + "\n"


def _readme(tool: Tool, numbers: Sequence[Number], why_none: str) -> str:
    lines = [
        f"# Design for {tool.name}, {tool.release}",
        "",
        f"`sh run.sh` runs it. Where PATH lacks `{tool.program}`, add the place of the program or "
        f"of the folder of {tool.name}.",
        "",
        f"To get it: {tool.get}",
        "",
        "## What it must print",
        "",
    ]
    if not numbers:
        lines.append(why_none or "No number of it is compared.")
        return "\n".join(lines) + "\n"
    lines += [
        "`expected.json` says where each number stands.",
        "",
        "| metric | value | unit | file |",
        "|---|---:|---|---|",
        *(f"| `{n.metric}` | {n.stated:.12g} | {n.unit} | {n.file} |" for n in numbers),
    ]
    return "\n".join(lines) + "\n"


def packet_files(
    rows: Sequence[tuple[int, int, int, int, int]], nodes: Mapping[str, object]
) -> dict[str, str]:
    """Return packets as a workload of a network on chip, and which node has which block.

    Args:
      rows: Cycle, source, destination, flits, and the packet before, or -1, of each packet.
      nodes: Node, or nodes, by block.
    """
    lines = [f"{c},{s},{d},{n},{w if w >= 0 else ''}" for c, s, d, n, w in rows]
    blocks = [f"{node},{name}" for name, node in nodes.items()]
    return {
        "traffic.csv": "\n".join(["cycle,source,destination,flits,waits_for", *lines, ""]),
        "nodes.csv": "\n".join(["node,block", *blocks, ""]),
    }
