"""Language of rules: a checked subset of Python with declared state.

A rule file declares its domain, constants, arrays with their bits, and functions (hooks):

    DOMAIN = "expert-cache"
    last = per_block(bits=32)

    def on_use(block, layer, hit, time):
        last[block] = time

    def score(block, layer, time):
        return last[block]

Allowed are integer and floating-point arithmetic, comparisons, `if`, `for` over a static `range`,
`min`, `max`, `abs`, `int`, local variables, and reads and writes of the declared arrays. All else
is refused with its line: imports, attributes, other calls, strings, `while`, comprehensions.
"""

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from archgym.checks import parse_whole
from archgym.errors import FileFormatError, unknown_name
from archgym.files.storage import open_file, storage_errors
from archgym.rules.checker import ArraySpec, Checker, Tunable, number_of
from archgym.rules.domain import Domain

MAX_SOURCE_BYTES = 20_000
"""chosen: the rules of published work fit in a tenth of it."""
MAX_STEPS = 2**16
"""chosen: steps of one call with all loops run to their end; a loop over the largest array."""


@final
@dataclass(frozen=True)
class RuleSource:
    """A rule that passed all checks."""

    path: str
    text: str
    domain: Domain
    doc: str
    constants: Mapping[str, int | float]
    tunables: tuple[Tunable, ...]
    arrays: tuple[ArraySpec, ...]
    hooks: Mapping[str, ast.FunctionDef] = field(repr=False)
    uses_time: bool

    @property
    def name(self) -> str:
        """First line of the description, or the file."""
        return self.doc.split("\n")[0].rstrip(".") or self.path

    @property
    def digest(self) -> str:
        """SHA-256 of the source text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def state_bits(self, sizes: Mapping[str, int]) -> int:
        """Return the storage that the rule needs [bits].

        A rule that reads `time` needs a counter of 32 bits for it.
        """
        bits = sum(array.bits * array.entries(sizes) for array in self.arrays)
        return bits + (32 if self.uses_time else 0)

    def operations(self, values: Mapping[str, int]) -> dict[str, int]:
        """Return operations of one call of each hook, on its longest path.

        An arithmetic operation, a comparison, and a read or write of an array count as one.
        """
        return {
            name: _steps(hook.body, {**values, **self.integers}, True)
            for name, hook in self.hooks.items()
        }

    @property
    def longest(self) -> ast.FunctionDef:
        """Hook with the most loops."""
        loops = {n: sum(isinstance(e, ast.For) for e in ast.walk(h)) for n, h in self.hooks.items()}
        return self.hooks[max(loops, key=lambda name: loops[name])]

    @property
    def integers(self) -> dict[str, int]:
        """Constants that loops may run to."""
        return {n: v for n, v in self.constants.items() if isinstance(v, int)}


def read_rule(path: str | Path) -> RuleSource:
    """Return the rule in a file.

    Raises:
      FileFormatError: The file is not in the language; the message names the line.
      UnknownNameError: Its domain does not exist.
      StorageError: It cannot be read.
    """
    with storage_errors(path, "read"), open_file(path) as handle:
        content = handle.read(MAX_SOURCE_BYTES + 1)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise FileFormatError(path, None, "a rule must be UTF-8 text") from None
    return check_rule(text, str(path))


def check_rule(text: str, path: str = "policy") -> RuleSource:
    """Return the rule in a text, after all checks.

    Args:
      text: Source of the rule.
      path: Name for messages; logs record the default.

    Raises:
      FileFormatError: The text is not in the language; the message names the line.
      UnknownNameError: Its domain does not exist.
    """
    if len(text.encode(errors="replace")) > MAX_SOURCE_BYTES:
        raise FileFormatError(path, None, f"a rule must be below {MAX_SOURCE_BYTES} bytes")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise FileFormatError(path, error.lineno, f"the syntax is invalid: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise FileFormatError(path, None, f"the text cannot be parsed: {error}") from None
    return RuleSource(path, text, *Checker(path, tree).check())


def _steps(body: list[ast.stmt], values: Mapping[str, int], counts: bool) -> int:
    """Return operations on the longest path through statements."""
    total = 0
    for node in body:
        if isinstance(node, ast.If):
            total += _weight(node.test)
            total += max(_steps(node.body, values, counts), _steps(node.orelse, values, counts))
        elif isinstance(node, ast.For):
            assert isinstance(node.iter, ast.Call)
            bounds = [_bound_value(each, values) for each in node.iter.args]
            n = max(0, bounds[-1] - (bounds[0] if len(bounds) == 2 else 0))
            total += n * (1 + _steps(node.body, values, counts))
        elif isinstance(node, ast.AugAssign):
            is_entry = isinstance(node.target, ast.Subscript)
            total += 1 + _weight(node.value) + (_weight(node.target) + 1 if is_entry else 0)
        else:
            total += _weight(node)
    return total


def _bound_value(node: ast.expr, values: Mapping[str, int]) -> int:
    return values[node.id] if isinstance(node, ast.Name) else int(number_of(node) or 0)


def _weight(node: ast.AST) -> int:
    """Return operations in an expression or a simple statement."""
    counted = (ast.BinOp, ast.Compare, ast.BoolOp, ast.Subscript, ast.IfExp, ast.Call, ast.UnaryOp)
    return sum(isinstance(each, counted) for each in ast.walk(node))


def bounds_of(source: RuleSource, values: Mapping[str, Any]) -> dict[str, int]:
    """Return operations by hook, refused where loops run too long.

    Raises:
      FileFormatError: One call may take more than 65,536 steps.
    """
    found = source.operations({name: int(value) for name, value in values.items()})
    for name, steps in found.items():
        if steps > MAX_STEPS:
            raise FileFormatError(
                source.path,
                source.hooks[name].lineno,
                f"one call of `{name}` must take {MAX_STEPS} operations or fewer; it may take "
                f"{steps}",
            )
    return found


def tuned_values(source: RuleSource, texts: Mapping[str, str]) -> dict[str, int]:
    """Return values of tunable constants from texts, within their ranges.

    Raises:
      UnknownNameError: The rule has no such tunable constant.
      InvalidArgumentError: A value is not a whole number in the range.
    """
    known = {each.name: each for each in source.tunables}
    found = {}
    for name, text in texts.items():
        if name not in known:
            raise unknown_name(f"tunable constant of {source.path}", name, known)
        found[name] = parse_whole(name, text, known[name].low, known[name].high)
    return found
