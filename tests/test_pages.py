"""The pages use the terms of the glossary, have pictures and stand in the contents."""

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))


@pytest.fixture(scope="module")
def docs_modules() -> Iterator[None]:
    sys.path[:0] = [str(DOCS), str(DOCS / "site")]
    yield
    del sys.path[:2]


def prose(page: Path) -> str:
    return re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)


def test_glossary_lists_terms_in_order_that_pages_use() -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| [^|]+ \|([^|]*)\|$", (DOCS / "glossary.md").read_text(), re.M
    )
    names = [term for term, _ in rows[1:]]
    terms = [name.strip() for term in names for name in term.split(",")]
    text = " ".join(prose(page) for page in PAGES if page.name != "glossary.md").lower()

    assert names == sorted(names)
    assert [term for term in terms if not re.search(rf"\b{term}", text)] == []


def test_every_page_stands_in_the_index_and_in_the_contents_of_the_site() -> None:
    index = (DOCS / "index.md").read_text()
    contents = (DOCS / "site" / "_toc.yml").read_text()
    names = [page.stem for page in PAGES if page.stem != "index"]

    assert [name for name in names if f"({name}.md" not in index] == []
    names += [f"tutorials/{path.stem}" for path in TUTORIALS]
    names += [f"experiments/{path.stem}" for path in (ROOT / "experiments").glob("*.md")]
    readmes = (ROOT / "archgym" / "simulators").glob("*/README.md")
    names += [f"models/{path.parent.name}" for path in readmes]
    # The site's builder refuses a page that stands nowhere, or twice.
    assert [name for name in names if contents.count(f"file: {name}\n") != 1] == []


def test_index_shows_every_tutorial_with_its_picture() -> None:
    text = (DOCS / "index.md").read_text()
    thumbnails = re.findall(r"\(pictures/(gallery/[^)]+)\)", text)

    assert [t.stem for t in TUTORIALS if f"(tutorials/{t.name})" not in text] == []
    assert len(thumbnails) >= len(TUTORIALS)
    for name in thumbnails:
        picture = (DOCS / "pictures" / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 20_000, name


def test_cards_of_the_index_are_those_of_the_script(docs_modules: None) -> None:
    gallery: Any = import_module("gallery")

    assert (
        f"{gallery.BEGIN}\n\n{gallery.cards()}\n\n{gallery.END}" in (DOCS / "index.md").read_text()
    )


def test_picture_of_a_model_names_a_missing_parameter(docs_modules: None) -> None:
    models: Any = import_module("models")

    problems = list(models.model_problems("dram", ["arbiter", "new_parameter"]))

    assert "docs/models.py: no box of 'dram' has the parameter 'new_parameter'" in problems
    assert "docs/models.py: no parameter of 'dram' is like 'command_mux'" in problems


def test_site_check_finds_broken_links_and_other_hosts(docs_modules: None, tmp_path: Path) -> None:
    check: Any = import_module("check")
    (tmp_path / "b.html").write_text('<h1 id="here">B</h1>')
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">1</a><a href="b.html#gone">2</a><a href="c.html">3</a>'
        '<script src="https://elsewhere.example/x.js"></script><a href="https://ok.example">4</a>'
    )

    problems = list(check.site_problems(tmp_path))

    assert problems == [
        "a.html: loads https://elsewhere.example/x.js from another host",
        "a.html: b.html#gone names a section that does not exist",
        "a.html: the link to c.html leads nowhere",
    ]


GOOD = """<style>:focus-visible { outline: 2px solid blue }</style>
<a href="#a">one</a><input name="q"><button>two</button>
<script>addEventListener('keydown', event => {
  if (event.key == '/') { document.querySelector('[name=q]').focus(); event.preventDefault(); }
});</script>"""
BAD = """<style>button:focus { outline: none }</style>
<a href="#a">one</a><button>two</button><a id="trap" href="#b">three</a><a href="#c">four</a>
<script>document.querySelector('#trap').addEventListener('keydown', event => {
  document.querySelector('button').focus(); event.preventDefault();
});</script>"""


@pytest.mark.nightly
def test_site_check_tries_pages_with_the_keyboard(docs_modules: None, tmp_path: Path) -> None:
    keyboard: Any = import_module("keyboard")
    if missing := keyboard.needed_programs():
        pytest.skip(f"needs {missing[0]}")
    for name, text in (("good", GOOD), ("bad", BAD), ("empty", "nothing")):
        (tmp_path / f"{name}.html").write_text(f"<!doctype html><body>{text}")

    good, bad, empty = (
        list(keyboard.keyboard_problems(tmp_path / f"{name}.html"))
        for name in ("good", "bad", "empty")
    )

    assert good == []
    assert bad == [
        "bad.html: the focus of <button> cannot be seen",
        "bad.html: Tab comes back to <button> before the end of the page",
        'bad.html: Tab does not reach <a href="#c">',
        "bad.html: the key / does not open the search",
    ]
    assert empty == ["empty.html: the page has nothing that Tab could reach"]
