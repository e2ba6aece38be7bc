"""The English of docstrings, help texts and documentation follows the conventions."""

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

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


def docstrings(tree: ast.Module) -> Iterator[tuple[ast.AST, int, str]]:
    """Yield the owner, line and text of docstrings, those of attributes included."""
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
        for _, line, text in docstrings(ast.parse(path.read_text()))
        if text.split()[0].rstrip(",:;") in QUESTIONS
    ]

    assert found == []


def test_no_argument_is_described_by_a_question() -> None:
    words = "|".join([*(QUESTIONS - {"As"}), "Told"])
    entry = re.compile(rf"\s+[*a-z][\w, *]*: ({words})\b")
    found = [
        f"{path.relative_to(ROOT)}:{line}: {entry_line.strip()}"
        for path in SOURCES
        for _, line, text in docstrings(ast.parse(path.read_text()))
        for entry_line in text.splitlines()
        if entry.match(entry_line)
    ]

    assert found == []


def test_docstring_of_a_function_opens_with_a_verb() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.split(chr(10))[0]}"
        for path in SOURCES
        for node, line, text in docstrings(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not is_property(node)
        and (
            text.split()[0].rstrip(",:;") in ARTICLES
            or re.match(r"[A-Z][a-z]+\b", text.split()[0]) is None
        )
    ]

    assert found == []


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
