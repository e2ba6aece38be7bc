"""Texts of other tools: command lines, and Python that is read and never run."""

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from archgym.errors import FileFormatError

_DEFAULTED: Final = re.compile(r"\$\{\w+:-([^}]*)\}")
# Options by their long names, with other spellings that the tools read (vLLM's engine arguments,
# SGLang's server arguments, llama.cpp's `common/arg.cpp`).
_LONG: Final = {
    "tensor-parallel-size": "-tp --tp --tp-size",
    "pipeline-parallel-size": "-pp --pp --pp-size",
    "data-parallel-size": "-dp --dp --dp-size",
    "expert-parallel-size": "--ep --ep-size",
    "enable-expert-parallel": "-ep",
    "quantization": "-q",
    "ctx-size": "-c",
    "batch-size": "-b",
    "ubatch-size": "-ub",
    "parallel": "-np",
    "n-gpu-layers": "-ngl --gpu-layers",
    "n-cpu-moe": "-ncmoe",
    "cache-type-k": "-ctk",
    "cache-type-v": "-ctv",
    "flash-attn": "-fa",
    "split-mode": "-sm",
    "threads": "-t",
    "draft-max": "--draft --draft-n",
}
_SPELLINGS: Final = {word: name for name, words in _LONG.items() for word in words.split()}
# Words after which short spellings are those of an engine, and not of a shell's command.
_ENGINE: Final = re.compile(r"serve|(.*/)?llama-[a-z-]+|(sglang|vllm|dynamo)\..*")
# What an engine does of itself: a command that is silent on it means this (vLLM 0.12).
OPTION_DEFAULTS: Final = {"vllm": {"enable-chunked-prefill": True}}
# chosen: more than any memory has channels.
_MOST_COPIES: Final = 1_024


def command_options(text: str) -> Iterator[tuple[str, str | bool, int]]:
    """Yield the options of command lines with their values and lines, and exported variables.

    An option without a value is True, or False as `--no-NAME`; `${NAME:-value}` is its value. Names
    are the long ones, with hyphens; short ones count after the name of an engine.

    Raises:
      FileFormatError: A line with options has an open quotation.

    Example:
      >>> list(command_options("serve --port 8000 --quiet"))
      [('port', '8000', 1), ('quiet', True, 1)]
      >>> list(command_options("serve -tp 8 --log_level 2 --no-quiet"))
      [('tensor-parallel-size', '8', 1), ('log-level', '2', 1), ('quiet', False, 1)]
    """
    for number, line in enumerate(text.replace("\\\n", " \n").splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            if "--" not in line:
                continue
            raise FileFormatError("command line", number, str(error)) from None
        is_engine = False
        for word, following in pairwise([*words, "--"]):
            is_engine = is_engine or _ENGINE.fullmatch(word) is not None
            name, separator, value = word.partition("=")
            if word == "export":
                name, _, value = following.partition("=")
                yield name, value, number
            elif _is_option(name, is_engine) and name != "--":
                is_flag = not separator and _is_option(following, is_engine)
                given = value if separator else following
                yield *option_of(name, is_flag or _DEFAULTED.sub(r"\1", given)), number


def option_of(name: str, value: Any) -> tuple[str, Any]:
    """Return an option under its long name, and its value; `no-NAME` switches it off.

    Example:
      >>> option_of("tp_size", 4), option_of("--no-enable-expert-parallel", True)
      (('tensor-parallel-size', 4), ('enable-expert-parallel', False))
    """
    # Variables of the environment are upper case.
    plain = name if name.isupper() else name.replace("_", "-")
    spelt = plain if plain.startswith("-") else f"--{plain}"
    long = _SPELLINGS.get(spelt, spelt.removeprefix("--"))
    if isinstance(value, bool) and long.startswith("no-"):
        return long.removeprefix("no-"), not value
    return long, value


def _is_option(word: str, is_engine: bool) -> bool:
    return word.startswith("--") or (is_engine and word in _SPELLINGS)


def python_settings(text: str) -> dict[str, Any]:
    """Return the calls of a Python text as nested data; nothing runs.

    A call of `package.kind.Name(key=value)` is a mapping of `impl` to the name and of keys to
    values, and each one that is assigned is a member by its kind. Names mean what was assigned to
    them, and a list over `range(n)` has n equal members.

    Raises:
      SyntaxError: The text is not Python.

    Example:
      >>> python_settings("a = [x.part.Wheel() for _ in range(2)]; b = x.car.Van(size=3, parts=a)")
      {'car': {'impl': 'Van', 'size': 3, 'parts': [{'impl': 'Wheel'}, {'impl': 'Wheel'}]}}
    """
    names: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for statement in ast.parse(text).body:
        if not isinstance(statement, ast.Assign):
            continue
        value = _python_value(statement.value, names)
        names |= {each.id: value for each in statement.targets if isinstance(each, ast.Name)}
        called = statement.value
        if isinstance(called, ast.Call) and isinstance(called.func, ast.Attribute):
            kind = getattr(called.func.value, "attr", "")
            found |= {kind: value} if kind else {}
    return found


def _python_value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.List):
        return [_python_value(each, names) for each in node.elts]
    if isinstance(node, ast.ListComp):
        over = node.generators[0].iter
        count = _python_value(over.args[-1], names) if isinstance(over, ast.Call) else None
        one = _python_value(node.elt, names)
        return [one] * min(count, _MOST_COPIES) if isinstance(count, int) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        keys = {word.arg: _python_value(word.value, names) for word in node.keywords if word.arg}
        return {"impl": node.func.attr, **keys}
    return None
