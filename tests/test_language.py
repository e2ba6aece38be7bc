"""The English of docstrings, help texts and documentation follows the conventions."""

import ast
import functools
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

# One process reads the sources once for all tests of this file.
pytestmark = pytest.mark.xdist_group("language")

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "archgym").rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

QUESTIONS = {"What", "Whether", "How", "Where", "Which", "Who", "Of", "As", "Why", "Whose"}
ARTICLES = {"The", "A", "An", "All", "Each", "Every", "Its", "Their", "This", "Those", "It"}
BANNED = re.compile(
    r"\b((?<![Tt]here )is none|(?<![Tt]here )are none|beside|anew|go(es)? on|tells? of|told of"
    r"|in truth|hangs? together|means? nothing|at the least|likewise|knobs?|[Ww]hoever|lest)\b"
)
# Files that quote a word as data or as another tool's term.
QUOTED = {"tests/test_language.py", "docs/glossary.md"}
MAX_WORDS = 35
MAX_MEDIAN_WORDS = 16


@functools.cache
def docstrings(path: Path) -> Sequence[tuple[ast.AST, int, str]]:
    """Return the owner, line and text of a file's docstrings, those of attributes included."""
    return tuple(docstrings_of(ast.parse(path.read_text())))


def docstrings_of(tree: ast.Module) -> Iterator[tuple[ast.AST, int, str]]:
    """Yield the owner, line and text of a tree's docstrings."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for position, statement in enumerate(node.body):
            value = statement.value if isinstance(statement, ast.Expr) else None
            if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
                continue
            if value.value.strip() and (position == 0 or not is_function):
                yield node if position == 0 else statement, statement.lineno, value.value


def is_property(node: ast.AST) -> bool:
    """Return True for a property, which is described by a noun phrase."""
    decorators = getattr(node, "decorator_list", [])
    return any("property" in ast.unparse(decorator) for decorator in decorators)


def test_no_docstring_opens_with_a_question_word() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.split(chr(10))[0]}"
        for path in SOURCES
        for _, line, text in docstrings(path)
        if text.split()[0].rstrip(",:;") in QUESTIONS
    ]

    assert found == []


def test_no_argument_is_described_by_a_question() -> None:
    words = "|".join([*(QUESTIONS - {"As"}), "Told"])
    entry = re.compile(rf"\s+[*a-z][\w, *]*: ({words})\b")
    found = [
        f"{path.relative_to(ROOT)}:{line}: {entry_line.strip()}"
        for path in SOURCES
        for _, line, text in docstrings(path)
        for entry_line in text.splitlines()
        if entry.match(entry_line)
    ]

    assert found == []


def test_docstring_of_a_function_opens_with_a_verb() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.split(chr(10))[0]}"
        for path in SOURCES
        for node, line, text in docstrings(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not is_property(node)
        and (
            text.split()[0].rstrip(",:;") in ARTICLES
            or re.match(r"[A-Z][a-z]+\b", text.split()[0]) is None
        )
    ]

    assert found == []


# Words after which a second verb belongs to a relative clause: "a policy that sees or chooses".
RELATIVE = re.compile(r"\b(that|which|what|who|whose|if|where|how|as)\b")
OBJECT = re.compile(r" (a|an|the|it|its|them|their|all|each|no|nothing|once|how|whether|out)\b| `")
NOT_OBJECT = re.compile(
    r"$|[.,;:)]| (after|at|before|by|for|from|if|in|into|of|on|over|that|to|with)\b"
)
SECOND = re.compile(r"\b(?:and|or|then|but)(?: (?:also|then|never|only|not))? ([a-z]+)\b")


def third_person(verb: str) -> set[str]:
    """Return the forms that a verb may have in the third person."""
    return {f"{verb}s", f"{verb}es", f"{verb[:-1]}ies" if verb.endswith("y") else f"{verb}s"}


def wrong_verbs(line: str, forms: set[str]) -> list[str]:
    """Return the verbs of a docstring's first line that are in the third person.

    Args:
      line: First sentence of a function's docstring.
      forms: Third person of the verbs that docstrings begin with.
    """
    first = line.split()[0].strip(",:;.").lower()
    found = [first] if first in forms else []
    for match in SECOND.finditer(line):
        before, after = line[: match.start()], line[match.end() :]
        if match[1] not in forms or RELATIVE.search(before):
            continue
        # "Return" is followed by nouns, such as "reads and writes".
        is_noun = OBJECT.match(after) is None if first == "return" else NOT_OBJECT.match(after)
        if not is_noun:
            found.append(match[1])
    return found


def first_lines() -> Iterator[tuple[str, str]]:
    """Yield place and first sentence of every function's docstring."""
    for path in SOURCES:
        for node, line, text in docstrings(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_property(node):
                opening = " ".join(text.split("\n\n")[0].split())
                yield f"{path.relative_to(ROOT)}:{line}", re.split(r"(?<=[.!?;])\s", opening)[0]


def test_every_verb_of_a_first_line_is_imperative() -> None:
    lines = list(first_lines())
    verbs = {line.split()[0].strip(",:;.").lower() for _, line in lines}
    forms = set().union(*map(third_person, verbs))

    found = [
        f"{place}: {wrong} in {line}" for place, line in lines for wrong in wrong_verbs(line, forms)
    ]

    assert found == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("Read and checks `study.json`.", ["checks"]),
        ("Read and check `study.json`.", []),
        ("Selects, of all candidates, the command that wins.", ["selects"]),
        ("Read a plan's file, and sets values over it.", ["sets"]),
        ("Take further runs, and says once how long all take.", ["says"]),
        ("Return the row, and checks the rest.", ["checks"]),
        ("Drop waiting chunks and kills external programs.", ["kills"]),
        ("Return reads, checks and sets of a cache.", []),
        ("Enter an instruction's reads and checks into the queue.", []),
        ("Refuse a policy that reads or sets something else.", []),
    ],
)
def test_second_verb_in_the_third_person_is_found(line: str, wrong: list[str]) -> None:
    verbs = ("read", "check", "select", "set", "say", "drop", "kill", "return", "enter", "refuse")
    forms = set().union(*map(third_person, verbs))

    assert wrong_verbs(line, forms) == wrong


def test_sources_and_pages_use_no_banned_phrase() -> None:
    found = []
    for path in [*SOURCES, *PAGES]:
        name = str(path.relative_to(ROOT))
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = BANNED.search(line)
            if match and name not in QUOTED:
                found.append(f"{name}:{number}: {match[0]!r} in {line.strip()[:80]}")

    assert found == []


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every command of the program with its full name."""
    yield name, command
    for child, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {child}")


def test_every_option_has_a_help_phrase() -> None:
    from archgym.cli.app import app

    found = []
    for name, command in commands(typer.main.get_command(app), "archgym"):
        for parameter in command.params:
            text = getattr(parameter, "help", None) or ""
            short = len(text.split()) < 3 and "default" not in text
            if short or text.split()[0] in QUESTIONS:
                found.append(f"{name} {parameter.opts[0]}: {text!r}")

    assert found == []


def sentences(page: Path) -> list[str]:
    """Return the sentences of a Markdown page, without code, tables, headings and links."""
    text = re.sub(r"```.*?```", "\n\n", page.read_text(), flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "code", text)
    found = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)", text):
        if block.lstrip().startswith(("#", "|", ">")):
            continue
        block = re.sub(r"^\s*(?:[-*]|\d+\.)\s+", "", " ".join(block.split()))
        found += [s for s in re.split(r"(?<=[.!?:;])\s+", block) if s.strip()]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_of_a_page_are_short(page: Path) -> None:
    lengths = [(len(sentence.split()), sentence) for sentence in sentences(page)]

    assert [s for n, s in lengths if n > MAX_WORDS] == []
    assert not lengths or statistics.median(n for n, _ in lengths) <= MAX_MEDIAN_WORDS
