"""Compilation of rules: checked trees to machine code with checked accesses.

Every read and write of an array is compared with its bounds and its bits, and every division and
shift with what it allows. A fault is written to `faults` as a code and the line in the rule, and
the simulation stops there. Nothing here runs in the process that asks: see `sandbox`.
"""

import ast
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numba
import numpy as np
import numpy.typing as npt

from archgym.rules.calls import BITS, DIVISION, INDEX, INNER, SCORE, SHIFT, EntryPoints, Storage
from archgym.rules.domain import Hook
from archgym.rules.language import RuleSource
from archgym.runtime.hooks import HOOK_SIGNATURE, N_HOOK_ARGUMENTS

Array = npt.NDArray[Any]


def _helper(function: Callable[..., Any]) -> Callable[..., Any]:
    made: Callable[..., Any] = numba.njit(forceinline=True, **INNER)(function)
    return made


@_helper
def _fault(memory: Array, code: int, line: int) -> None:
    if memory[0] == 0:
        memory[0] = code
        memory[1] = line


@_helper
def _get(memory: Array, begin: int, entries: int, index: Any, line: int) -> int:
    place = np.int64(index)
    if place != index or np.uint64(place) >= np.uint64(entries):
        _fault(memory, INDEX, line)
        return 0
    return memory[np.uint64(begin + place)]  # type: ignore[no-any-return]


@_helper
def _put(
    memory: Array, begin: int, entries: int, index: Any, value: Any, largest: int, line: int
) -> None:
    place = np.int64(index)
    if place != index or np.uint64(place) >= np.uint64(entries):
        _fault(memory, INDEX, line)
    elif not (value >= 0 and value <= largest):
        _fault(memory, BITS, line)
    else:
        memory[np.uint64(begin + place)] = np.int64(value)


@_helper
def _divide(a: Any, b: Any, memory: Array, line: int) -> float:
    if b == 0:
        _fault(memory, DIVISION, line)
        return 0.0
    return float(a / b)


@_helper
def _quotient(a: Any, b: Any, memory: Array, line: int) -> Any:
    if b == 0:
        _fault(memory, DIVISION, line)
        return a // 1
    return a // b


@_helper
def _remainder(a: Any, b: Any, memory: Array, line: int) -> Any:
    if b == 0:
        _fault(memory, DIVISION, line)
        return a % 1
    return a % b


@_helper
def _shift_left(a: int, b: int, memory: Array, line: int) -> int:
    if b < 0 or b > 62:
        _fault(memory, SHIFT, line)
        return 0
    return a << b


@_helper
def _shift_right(a: int, b: int, memory: Array, line: int) -> int:
    if b < 0 or b > 62:
        _fault(memory, SHIFT, line)
        return 0
    return a >> b


_HELPERS: Final = {
    "_get": _get,
    "_put": _put,
    "_divide": _divide,
    "_quotient": _quotient,
    "_remainder": _remainder,
    "_shift_left": _shift_left,
    "_shift_right": _shift_right,
}
_CHECKED: Final[dict[type[ast.operator], str]] = {
    ast.Div: "_divide",
    ast.FloorDiv: "_quotient",
    ast.Mod: "_remainder",
    ast.LShift: "_shift_left",
    ast.RShift: "_shift_right",
}
# Arguments that every compiled hook takes after its own.
_SHARED: Final = ("_memory", "_floats")
_N_FAULT: Final = 2


@final
@dataclass(frozen=True)
class Compiled:
    """Hooks as functions that Numba calls."""

    hooks: Mapping[str, Callable[..., Any]]


def entry_points(hooks: Mapping[str, Callable[..., Any]], known: Mapping[str, Hook]) -> EntryPoints:
    """Return hooks of a rule for the decision points of a kernel that is compiled already.

    Args:
      hooks: Compiled hooks by name.
      known: All hooks of the domain.
    """
    made = {name: _entry_point(hook, known[name]) for name, hook in hooks.items()}
    addresses = {name: made[name].address if name in made else 0 for name in known}
    return EntryPoints(addresses, tuple(made.values()))


def _entry_point(hook: Callable[..., Any], declared: Hook) -> Any:
    """Return a function with the arguments that `call_hook` gives to every hook."""
    names = [f"argument_{place}" for place in range(N_HOOK_ARGUMENTS)]
    call = f"hook({', '.join([*names[: len(declared.parameters)], 'memory', 'floats'])})"
    lines = [f"def entry({', '.join(names)}, memory, floats):"]
    if declared.has_result:
        lines += [f"    value = 1.0 * {call}", "    if value != value:"]
        lines += ["        fault(memory, code, 0)", "        return 0.0", "    return value"]
    else:
        lines += [f"    {call}", "    return 0.0"]
    found: dict[str, Any] = {"hook": hook, "fault": _fault, "code": SCORE}
    # The text holds nothing but numbered names.
    exec("\n".join(lines), found)  # noqa: S102
    options = {name: INNER[name] for name in ("error_model", "_nrt")}
    return numba.cfunc(HOOK_SIGNATURE, **options)(found["entry"])


def new_storage(
    source: RuleSource,
    sizes: Mapping[str, int],
    values: Mapping[str, int],
    tuned: Mapping[str, int] | None = None,
) -> Storage:
    """Return the arrays of a rule at their start.

    Args:
      source: The rule.
      sizes: Sizes of the domain by name.
      values: Values of the domain by name.
      tuned: Values of its tunable constants; defaults for the rest.
    """
    constants = {**source.constants, **(tuned or {})}
    integers = [v for v in constants.values() if isinstance(v, int)]
    head = [0] * _N_FAULT + [int(values[name]) for name in source.domain.values] + integers
    entries = [np.full(a.entries(sizes), a.start, dtype=np.int64) for a in source.arrays]
    floats = [v for v in constants.values() if isinstance(v, float)] or [0.0]
    return Storage(
        np.concatenate([np.array(head, dtype=np.int64), *entries]),
        np.array(floats, dtype=np.float64),
    )


def compile_rule(source: RuleSource, sizes: Mapping[str, int]) -> Compiled:
    """Return the hooks of a rule as functions for these sizes.

    Machine code is made when a simulation first calls them.
    """
    hooks = {}
    for name, node in source.hooks.items():
        function = _Rewriter(source, sizes).rewritten(node)
        module = ast.fix_missing_locations(ast.Module([function], []))
        names: dict[str, Any] = {"__builtins__": {}, **_HELPERS}
        names |= {"range": range, "min": min, "max": max, "abs": abs, "int": int}
        # The tree consists of what `language` allows and of the helpers above.
        exec(compile(module, source.path, "exec"), names)  # noqa: S102
        hooks[name] = _helper(names[name])
    return Compiled(hooks)


@final
class _Rewriter(ast.NodeTransformer):
    """Replacement of accesses and of operators that may fault by checked ones."""

    def __init__(self, source: RuleSource, sizes: Mapping[str, int]) -> None:
        integers = [n for n, v in source.constants.items() if isinstance(v, int)]
        floats = [n for n, v in source.constants.items() if isinstance(v, float)]
        ordered = [*source.domain.values, *integers]
        self._places = {name: ("_memory", _N_FAULT + n) for n, name in enumerate(ordered)}
        self._places |= {name: ("_floats", place) for place, name in enumerate(floats)}
        # Begin, entries and largest value of each array.
        self._shapes: dict[str, tuple[int, int, int]] = {}
        begin = _N_FAULT + len(ordered)
        for array in source.arrays:
            n = array.entries(sizes)
            self._shapes[array.name] = (begin, n, 2**array.bits - 1)
            begin += n

    def rewritten(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Return a hook that takes the storage after its own arguments."""
        made = copy.deepcopy(node)
        made.body = [self.visit(statement) for statement in made.body]
        made.args.args += [ast.arg(name) for name in _SHARED]
        return made

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id not in self._places:
            return node
        array, place = self._places[node.id]
        return ast.Subscript(ast.Name(array, ast.Load()), ast.Constant(place), ast.Load())

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return self._access("_get", node, [])

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        left, right = self.visit(node.left), self.visit(node.right)
        return self._operation(node.op, left, right, node.lineno)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        target, value = node.targets[0], self.visit(node.value)
        if isinstance(target, ast.Subscript):
            return ast.Expr(self._access("_put", target, [value]))
        return ast.Assign([target], value)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        read = copy.deepcopy(node.target)
        for each in ast.walk(read):
            if hasattr(each, "ctx"):
                each.ctx = ast.Load()
        value = self._operation(node.op, self.visit(read), self.visit(node.value), node.lineno)
        if isinstance(node.target, ast.Subscript):
            return ast.Expr(self._access("_put", node.target, [value]))
        return ast.Assign([node.target], value)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        # The name of a function is not a variable.
        return ast.Call(node.func, [self.visit(each) for each in node.args], [])

    def _access(self, helper: str, node: ast.Subscript, values: list[ast.expr]) -> ast.Call:
        assert isinstance(node.value, ast.Name)
        begin, entries, largest = self._shapes[node.value.id]
        arguments: list[ast.expr] = [_name("_memory"), ast.Constant(begin), ast.Constant(entries)]
        arguments += [self.visit(node.slice), *values]
        if values:
            arguments.append(ast.Constant(largest))
        return ast.Call(_name(helper), [*arguments, _line(node.lineno)], [])

    def _operation(
        self, operator: ast.operator, left: ast.expr, right: ast.expr, line: int
    ) -> ast.expr:
        helper = _CHECKED.get(type(operator))
        if helper is None:
            return ast.BinOp(left, operator, right)
        return ast.Call(_name(helper), [left, right, _name("_memory"), _line(line)], [])


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _line(line: int) -> ast.Constant:
    return ast.Constant(line)
