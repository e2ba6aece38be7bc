"""A number that README.md or docs/what-we-measured.md states is the one of the page it links to."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUMMARY = ROOT / "docs" / "what-we-measured.md"
# Errors and gains in percent, with the pairs of a median and a 90th percentile.
NUMBER = re.compile(r"\d[\d.,]*\d(?: / \d[\d.]*)? %|\d\.\d+(?: / [\d.]+)? %|\d{1,3}(?:,\d{3})+")
LINK = re.compile(r"\]\(([^)#]+\.md)[^)]*\)")


def claims(page: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield the parts of a page, each with the pages that it links to."""
    for part in re.split(r"\n(?=#)|\n(?=\| )", page.read_text()):
        links = [(page.parent / link).resolve() for link in LINK.findall(part)]
        if links and "```" not in part:
            yield part, [link for link in links if link.is_file()]


def plain(text: str) -> str:
    """Return text with one space between words, and without leading zeros of decimals."""
    return re.sub(r"\b0(?=\.\d)", "", " ".join(text.split()))


CLAIMS = [
    pytest.param(number, links, id=f"{page.stem}: {number}")
    for page in (ROOT / "README.md", SUMMARY)
    for part, links in claims(page)
    for number in NUMBER.findall(re.sub(r"`[^`]*`|\]\([^)]*\)", "", part))
]


@pytest.mark.parametrize(("number", "links"), CLAIMS)
def test_stated_number_stands_on_a_page_that_is_linked(number: str, links: list[Path]) -> None:
    pages = " ".join(plain(link.read_text()) for link in links)
    value = plain(number).removesuffix(" %")

    assert re.search(rf"(?<![\d.,]){re.escape(value)}(?![\d]|\.\d)", pages), number
