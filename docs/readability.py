"""Measure how readable the pages are: `python docs/readability.py [--before REVISION] [--worst N]`.

It prints, for all pages together and for each one, the median of words per sentence, the share of
sentences above 25 words, and the Flesch reading ease (textstat). Pages that are generated do not
count, nor do code, tables and headings. `--before` adds the figures of a revision of the
repository. `--worst` lists the longest sentences.
"""

import argparse
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATED = {"docs/cli.md", "docs/parameters.md"}
LIMIT = 25


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--before", help="Revision to compare with.", metavar="REVISION")
    parser.add_argument("--worst", type=int, default=0, help="Number of sentences to list.")
    options = parser.parse_args()
    pages = current_pages()
    lines = ["| pages | sentences | median words | above 25 words | Flesch ease |", "|---|" * 5]
    lines[1] = "|---|---|---|---|---|"
    if options.before:
        lines.append(row(f"all, {options.before}", pages_of(options.before)))
    lines.append(row("all", pages))
    lines += [row(name, {name: text}) for name, text in pages.items()]
    found = [(len(s.split()), name, s) for name, text in pages.items() for s in sentences(text)]
    for n, name, sentence in sorted(found, reverse=True)[: options.worst]:
        lines.append(f"{n:3} {name}: {sentence}")
    sys.stdout.write("\n".join(lines) + "\n")


def current_pages() -> dict[str, str]:
    """Return the text of each page that people wrote, by its path."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    names = {str(path.relative_to(ROOT)): path for path in paths}
    return {name: path.read_text() for name, path in names.items() if name not in GENERATED}


def pages_of(revision: str) -> dict[str, str]:
    """Return the same for a revision."""
    listed = _git("ls-tree", "-r", "--name-only", revision).split("\n")
    names = [
        name
        for name in listed
        if name in ("README.md", "CONTRIBUTING.md")
        or (name.startswith("docs/") and name.endswith(".md") and name not in GENERATED)
    ]
    return {name: _git("show", f"{revision}:{name}") for name in names}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def row(name: str, pages: Mapping[str, str]) -> str:
    """Return a line of the table for some pages together."""
    import textstat

    found = [sentence for text in pages.values() for sentence in sentences(text)]
    if not found:
        return f"| {name} | 0 | | | |"
    words = [len(sentence.split()) for sentence in found]
    long = sum(n > LIMIT for n in words)
    # A full stop at each end, so that textstat counts the same sentences.
    ease = textstat.flesch_reading_ease(" ".join(f"{s.rstrip('.!?:;')}." for s in found))
    return (
        f"| {name} | {len(found)} | {statistics.median(words):g} "
        f"| {long} ({100 * long / len(found):.1f} %) | {ease:.1f} |"
    )


def sentences(text: str) -> list[str]:
    """Return the sentences of a Markdown page, without code, tables, headings and links."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    text = re.sub(r"```.*?```", "\n\n", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^\s*\|.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "Code", text)
    found = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)", text):
        if block.lstrip().startswith(("#", "|", ">")):
            continue
        block = re.sub(r"^\s*(?:[-*]|\d+\.)\s+", "", " ".join(block.split()))
        found += [s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z*\d])", block) if len(s.split()) > 1]
    return found


if __name__ == "__main__":
    main()
