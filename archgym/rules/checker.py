"""Checker of the rules' language: allowed constructs and known names."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, final

from archgym.errors import FileFormatError
from archgym.rules.domain import Domain, domain

# chosen: each is several times what the rules of published work need, and keeps what is
# compiled small; 32 bits are the widest entry, so that sums of entries fit in 64.
_MAX_NODES = 3000
_MAX_DEPTH = 40
_MAX_ARRAYS = 16
_MAX_ENTRIES = 2**16
_MAX_BITS = 32
# Floating-point numbers hold every whole number up to it.
_MAX_CONSTANT = 2**53

CALLS: Mapping[str, tuple[int, ...]] = {"min": (2, 3), "max": (2, 3), "abs": (1,), "int": (1,)}
"""Functions that may be called, with their numbers of arguments."""
_OPERATORS = (
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.FloorDiv,
    ast.Mod,
    ast.LShift,
    ast.RShift,
    ast.BitAnd,
    ast.BitOr,
    ast.BitXor,
)
_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_UNARY = (ast.USub, ast.UAdd, ast.Invert, ast.Not)


@final
@dataclass(frozen=True)
class ArraySpec:
    """State of a rule: one array of unsigned integers."""

    name: str
    size: str | int
    """Name of a size of the domain, or a number of entries."""
    bits: int
    start: int

    def entries(self, sizes: Mapping[str, int]) -> int:
        """Return the number of entries for these sizes."""
        return self.size if isinstance(self.size, int) else sizes[self.size]


@final
@dataclass(frozen=True)
class Tunable:
    """Integer constant with a range that a search may choose from."""

    name: str
    default: int
    low: int
    high: int


class Checked(NamedTuple):
    """Parts of a rule that passed all checks."""

    domain: Domain
    doc: str
    constants: Mapping[str, int | float]
    tunables: tuple[Tunable, ...]
    arrays: tuple[ArraySpec, ...]
    hooks: Mapping[str, ast.FunctionDef]
    uses_time: bool


@final
class Checker:
    """Checks of one rule, with the names that are known so far."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        """Take a rule's name for messages, and its tree."""
        self._path = path
        self._tree = tree
        self._domain: Domain | None = None
        self._doc = ""
        self._constants: dict[str, int | float] = {}
        self._tunables: list[Tunable] = []
        self._arrays: dict[str, ArraySpec] = {}
        self._hooks: dict[str, ast.FunctionDef] = {}
        self._uses_time = False
        # Names that the hook under check may read.
        self._locals: set[str] = set()
        self._loops = 0

    def check(self) -> Checked:
        """Return the parts of the rule.

        Raises:
          FileFormatError: The text is not in the language; the message names the line.
          UnknownNameError: Its domain does not exist.
        """
        self._check_size()
        for position, node in enumerate(self._tree.body):
            if isinstance(node, ast.Expr) and position == 0 and _is_text(node.value):
                self._doc = str(node.value.value).strip()  # type: ignore[attr-defined]
            elif isinstance(node, ast.Assign):
                self._declare(node)
            elif isinstance(node, ast.FunctionDef):
                self._hook(node)
            else:
                self._refuse(node, f"{_kind(node)} is not allowed at the top of a rule")
        chosen = self._known_domain(None)
        for name, hook in chosen.hooks.items():
            if hook.is_required and name not in self._hooks:
                self._refuse(None, f"the function {name}({', '.join(hook.parameters)}) is missing")
        if chosen.one_of and not set(chosen.one_of) & set(self._hooks):
            self._refuse(None, f"one of the functions {', '.join(chosen.one_of)} is missing")
        return Checked(
            chosen,
            self._doc,
            self._constants,
            tuple(self._tunables),
            tuple(self._arrays.values()),
            self._hooks,
            self._uses_time,
        )

    def _check_size(self) -> None:
        n_nodes = 0
        waiting: list[tuple[ast.AST, int]] = [(self._tree, 0)]
        while waiting:
            node, depth = waiting.pop()
            n_nodes += 1
            if n_nodes > _MAX_NODES or depth > _MAX_DEPTH:
                self._refuse(None, f"a rule must have {_MAX_NODES} terms and {_MAX_DEPTH} levels")
            waiting += [(child, depth + 1) for child in ast.iter_child_nodes(node)]

    def _refuse(self, node: ast.AST | None, problem: str) -> NoReturn:
        raise FileFormatError(self._path, getattr(node, "lineno", None), problem)

    def _known_domain(self, node: ast.AST | None) -> Domain:
        if self._domain is None:
            self._refuse(node, 'a rule must begin with its domain, such as DOMAIN = "expert-cache"')
        return self._domain

    # ---- declarations

    def _declare(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if len(node.targets) != 1 or not isinstance(target, ast.Name):
            self._refuse(node, "a declaration must have one name")
        name, value = target.id, node.value
        if name == "DOMAIN":
            if self._domain is not None or not _is_text(value):
                self._refuse(node, "DOMAIN must be given once, as a text")
            self._domain = domain(str(value.value))  # type: ignore[attr-defined]
            return
        self._check_new(node, name)
        number = number_of(value)
        if number is not None:
            if not abs(number) <= _MAX_CONSTANT:
                self._refuse(node, f"constants must be within 2^53; got {number!r}"[:200])
            self._constants[name] = number
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            if value.func.id == "tunable":
                self._tune(name, value)
            else:
                self._array(name, value, value.func.id)
        else:
            self._refuse(node, f"`{name}` must be a number, tunable(…) or an array")

    def _check_new(self, node: ast.AST, name: str) -> None:
        self._check_name(node, name)
        chosen = self._known_domain(node)
        taken = {*self._constants, *self._arrays, *self._hooks, *chosen.values, *CALLS, "range"}
        if name in taken or name in chosen.hooks:
            self._refuse(node, f"`{name}` is declared twice or taken by the domain")

    def _check_name(self, node: ast.AST, name: str) -> None:
        if name.startswith("_") or not name.isascii() or len(name) > 40:
            self._refuse(node, f"names must be plain and not begin with _; got {name[:40]!r}")

    def _tune(self, name: str, call: ast.Call) -> None:
        given = self._numbers(call, ("default", "low", "high"))
        if set(given) != {"default", "low", "high"} or not (
            given["low"] <= given["default"] <= given["high"]
        ):
            self._refuse(call, "write tunable(default, low=…, high=…) with low <= default <= high")
        self._constants[name] = given["default"]
        self._tunables.append(Tunable(name, given["default"], given["low"], given["high"]))

    def _array(self, name: str, call: ast.Call, kind: str) -> None:
        chosen = self._known_domain(call)
        per = kind.removeprefix("per_")
        if kind == "table":
            given = self._numbers(call, ("entries", "bits", "start"))
            size: str | int = given.get("entries", 0)
        elif kind.startswith("per_") and per in chosen.sizes:
            given = self._numbers(call, ("bits", "start"))
            size = per
        else:
            known = ", ".join(["table", *(f"per_{each}" for each in chosen.sizes)])
            self._refuse(call, f"an array must be one of {known}; got {kind[:40]!r}")
        bits, start = given.get("bits", 0), given.get("start", 0)
        if not 1 <= bits <= _MAX_BITS:
            self._refuse(call, f"`bits` must be from 1 to {_MAX_BITS}; got {bits}")
        if not 0 <= start < 2**bits:
            self._refuse(call, f"`start` must fit in {bits} bits; got {start}")
        if isinstance(size, int) and not 1 <= size <= _MAX_ENTRIES:
            self._refuse(call, f"a table must have 1 to {_MAX_ENTRIES} entries; got {size}")
        if len(self._arrays) == _MAX_ARRAYS:
            self._refuse(call, f"a rule may have {_MAX_ARRAYS} arrays")
        self._arrays[name] = ArraySpec(name, size, bits, start)

    def _numbers(self, call: ast.Call, names: tuple[str, ...]) -> dict[str, int]:
        """Return whole arguments of a declaration by name."""
        if len(call.args) > len(names):
            self._refuse(call, f"too many arguments; they are {', '.join(names)}")
        pairs = list(zip(names, call.args, strict=False))
        pairs += [(keyword.arg or "**", keyword.value) for keyword in call.keywords]
        found: dict[str, int] = {}
        for name, node in pairs:
            value = number_of(node)
            if name not in names or name in found or type(value) is not int:
                self._refuse(call, f"`{name}` must be one of {', '.join(names)}, a whole number")
            if abs(value) > _MAX_CONSTANT:
                self._refuse(call, f"`{name}` must be within 2^53")
            found[name] = value
        return found

    # ---- hooks

    def _hook(self, node: ast.FunctionDef) -> None:
        chosen = self._known_domain(node)
        hook = chosen.hooks.get(node.name)
        if hook is None:
            known = ", ".join(chosen.hooks)
            self._refuse(node, f"functions must be one of {known}; got {node.name[:40]!r}")
        if node.name in self._hooks:
            self._refuse(node, f"`{node.name}` is defined twice")
        a = node.args
        names = tuple(argument.arg for argument in a.args)
        is_plain = not (a.posonlyargs or a.kwonlyargs or a.vararg or a.kwarg or a.defaults)
        is_plain &= not (node.decorator_list or node.returns or getattr(node, "type_params", None))
        is_plain &= all(argument.annotation is None for argument in a.args)
        if names != hook.parameters or not is_plain:
            self._refuse(node, f"write def {node.name}({', '.join(hook.parameters)}):")
        self._locals = set(names)
        body = node.body
        if isinstance(body[0], ast.Expr) and _is_text(body[0].value):
            body = body[1:]
            if not body:
                self._refuse(node, f"`{node.name}` has no statement")
        node.body = body
        self._block(body)
        if hook.has_result and not _always_returns(body):
            self._refuse(node, f"`{node.name}` must return a number on every path")
        if not hook.has_result and any(
            isinstance(each, ast.Return) and each.value is not None for each in ast.walk(node)
        ):
            self._refuse(node, f"`{node.name}` must not return a value")
        self._hooks[node.name] = node

    def _block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            if len(node.targets) != 1:
                self._refuse(node, "assign to one name at a time")
            self._expression(node.value)
            self._target(node.targets[0])
        elif isinstance(node, ast.AugAssign):
            self._operator(node, node.op)
            self._expression(node.value)
            self._target(node.target, is_read=True)
        elif isinstance(node, ast.If):
            self._expression(node.test)
            self._branches(node)
        elif isinstance(node, ast.For):
            self._for(node)
        elif isinstance(node, ast.Return):
            if node.value is not None:
                self._expression(node.value)
        elif isinstance(node, ast.Break | ast.Continue):
            if not self._loops:
                self._refuse(node, f"{_kind(node)} outside a loop")
        elif not isinstance(node, ast.Pass):
            self._refuse(node, f"{_kind(node)} is not allowed")

    def _branches(self, node: ast.If) -> None:
        before = set(self._locals)
        self._block(node.body)
        after_body, self._locals = self._locals, set(before)
        self._block(node.orelse)
        # A name is known afterwards if both branches set it, or if the other one leaves.
        if _always_leaves(node.body):
            after_body = set(self._locals)
        if node.orelse and _always_leaves(node.orelse):
            self._locals = set(after_body)
        self._locals = after_body & self._locals

    def _for(self, node: ast.For) -> None:
        call = node.iter
        is_range = (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id == "range"
            and not call.keywords
            and 1 <= len(call.args) <= 2
        )
        if not is_range or node.orelse or not isinstance(node.target, ast.Name):
            self._refuse(node, "a loop must be `for name in range(bound)` or range(first, bound)")
        assert isinstance(call, ast.Call)
        for bound in call.args:
            self._bound(bound)
        before = set(self._locals)
        self._local(node.target, node.target.id)
        self._loops += 1
        self._block(node.body)
        self._loops -= 1
        # The body may not have run.
        self._locals = before

    def _bound(self, node: ast.expr) -> None:
        """Check a bound of a loop: a number, a constant, or a value of the domain."""
        if isinstance(node, ast.Name):
            known = {**self._known_domain(node).values}
            tuned = {each.name for each in self._tunables}
            is_constant = type(self._constants.get(node.id)) is int and node.id not in tuned
            if node.id not in known and not is_constant:
                self._refuse(node, f"bounds of loops must be static; `{node.id[:40]}` is not")
        else:
            self._expression(node)
            if type(number_of(node)) is not int:
                self._refuse(node, "bounds of loops must be whole numbers or constants")

    def _target(self, node: ast.expr, is_read: bool = False) -> None:
        if isinstance(node, ast.Name):
            if is_read and node.id not in self._locals:
                self._refuse(node, f"`{node.id[:40]}` has no value here")
            self._local(node, node.id)
        elif isinstance(node, ast.Subscript):
            self._entry(node)
        else:
            self._refuse(node, "assign to a local name or an entry of an array")

    def _local(self, node: ast.AST, name: str) -> None:
        self._check_name(node, name)
        chosen = self._known_domain(node)
        taken = {*self._constants, *self._arrays, *chosen.values, *chosen.hooks, *CALLS, "range"}
        if name in taken or name == "time":
            self._refuse(node, f"`{name}` cannot be assigned")
        self._locals.add(name)

    def _entry(self, node: ast.Subscript) -> None:
        if not isinstance(node.value, ast.Name) or node.value.id not in self._arrays:
            self._refuse(node, "only declared arrays have entries")
        if isinstance(node.slice, ast.Slice | ast.Tuple):
            self._refuse(node, "arrays have one index")
        self._expression(node.slice)

    def _operator(self, node: ast.AST, operator: ast.AST) -> None:
        if not isinstance(operator, _OPERATORS):
            self._refuse(node, f"the operator {type(operator).__name__} is not allowed")

    def _expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant):
            number = number_of(node)
            if number is None or not abs(number) <= _MAX_CONSTANT:
                self._refuse(node, "constants must be numbers within 2^53, True or False")
        elif isinstance(node, ast.Name):
            self._read(node)
        elif isinstance(node, ast.Subscript):
            self._entry(node)
        elif isinstance(node, ast.BinOp):
            self._operator(node, node.op)
            self._expression(node.left)
            self._expression(node.right)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, _UNARY):
            self._expression(node.operand)
        elif isinstance(node, ast.BoolOp):
            for value in node.values:
                self._expression(value)
        elif isinstance(node, ast.Compare):
            if not all(isinstance(each, _COMPARISONS) for each in node.ops):
                self._refuse(node, "comparisons are ==, !=, <, <=, > and >=")
            for value in (node.left, *node.comparators):
                self._expression(value)
        elif isinstance(node, ast.IfExp):
            for value in (node.test, node.body, node.orelse):
                self._expression(value)
        elif isinstance(node, ast.Call):
            self._call(node)
        else:
            self._refuse(node, f"{_kind(node)} is not allowed")

    def _read(self, node: ast.Name) -> None:
        known = {*self._locals, *self._constants, *self._known_domain(node).values}
        if node.id in self._arrays:
            self._refuse(node, f"`{node.id}` is an array; read an entry of it")
        if node.id not in known:
            self._refuse(node, f"`{node.id[:40]}` has no value here")
        if node.id == "time":
            self._uses_time = True

    def _call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name not in CALLS or name is None:
            self._refuse(node, f"only {', '.join(CALLS)} may be called")
        if node.keywords or len(node.args) not in CALLS[name]:
            self._refuse(node, f"`{name}` takes {CALLS[name][0]} arguments without names")
        for argument in node.args:
            self._expression(argument)


# ---- facts about trees


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def number_of(node: ast.AST) -> int | float | None:
    """Return the value of a number, also of a negative one; None for anything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = number_of(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        value = node.value
        return int(value) if isinstance(value, bool) else value
    return None


def _kind(node: ast.AST) -> str:
    """Return the name of a construct in words."""
    words = {"JoinedStr": "a text", "Attribute": "an attribute", "Import": "an import"}
    name = type(node).__name__
    return words.get(name, f"`{name.lower()}`")


def _always_returns(body: list[ast.stmt]) -> bool:
    last = body[-1]
    if isinstance(last, ast.If):
        return bool(last.orelse) and _always_returns(last.body) and _always_returns(last.orelse)
    return isinstance(last, ast.Return) and last.value is not None


def _always_leaves(body: list[ast.stmt]) -> bool:
    last = body[-1] if body else None
    if isinstance(last, ast.If):
        return bool(last.orelse) and _always_leaves(last.body) and _always_leaves(last.orelse)
    return isinstance(last, ast.Return | ast.Break | ast.Continue)
