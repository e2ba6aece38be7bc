"""Tests that the paper's numbers are as recorded, and that it refers to what is there."""

import json
import re
from pathlib import Path
from runpy import run_path

PAPER = Path(__file__).parents[1] / "paper"


def test_numbers_behind_figures_are_as_recorded() -> None:
    recorded = json.loads((PAPER / "artifacts.json").read_text("utf-8"))

    assert run_path(str(PAPER / "figures.py"))["artifacts"]() == recorded


def test_figures_and_references_exist() -> None:
    text = (PAPER / "paper.md").read_text("utf-8")
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    cited = set(re.findall(r"@(\w+)", text.partition("# Summary")[2]))

    assert len(pictures) >= 3
    assert all((PAPER / name).is_file() for name in pictures)
    assert cited == set(re.findall(r"@\w+\{(\w+)", (PAPER / "paper.bib").read_text("utf-8")))
