"""`archgym rule`: rules as code on the command line."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Archgym


def test_new_rule_passes_its_check(archgym: Archgym) -> None:
    assert archgym("rule", "new", "mine.py", "--template", "decay").code == 0

    ran = archgym("rule", "check", "mine.py", "--json")

    found = json.loads(ran.out)
    assert found["domain"] == "expert-cache"
    # 1,024 blocks of 16 and 32 bits, and the counter of events.
    assert found["state_bits"] == 1024 * 48 + 32
    assert found["tunable"]["GAIN"] == {"default": 64, "low": 1, "high": 255}


def test_existing_file_is_not_overwritten(archgym: Archgym) -> None:
    Path("mine.py").write_text("x")

    ran = archgym("rule", "new", "mine.py")

    assert ran.code == 1
    assert ran.err == "error: mine.py exists. Choose another file.\n"


def test_unknown_template_suggests_one(archgym: Archgym) -> None:
    ran = archgym("rule", "new", "mine.py", "--template", "lruu")

    assert "Did you mean 'lru'" in ran.err


def test_check_names_the_line(archgym: Archgym) -> None:
    Path("mine.py").write_text('DOMAIN = "expert-cache"\nimport os\n')

    ran = archgym("rule", "check", "mine.py")

    assert ran.code == 1
    assert ran.err.startswith("error: mine.py:2: an import is not allowed")


@pytest.mark.slow
def test_evaluation_reports_causes_and_exit_code(archgym: Archgym) -> None:
    archgym("rule", "new", "mine.py")
    Path("bad.py").write_text(Path("mine.py").read_text().replace("last[block]\n", "last[-1]\n"))

    good = archgym("rule", "evaluate", "mine.py", "--trace", "olmoe:1", "--json")
    bad = archgym("rule", "evaluate", "bad.py", "--trace", "olmoe:1")

    found = json.loads(good.out)["results"][0]
    assert found["diagnosis"] == "policy"
    assert found["loads"] == sum(
        found[f"{part}_loads"] for part in ("compulsory", "capacity", "policy")
    )
    assert bad.code == 3
    assert "infeasible: line 11: an index lies outside its array" in bad.err


def test_new_rule_begins_with_a_template_of_its_domain(archgym: Archgym) -> None:
    assert archgym("rule", "new", "mine.py", "--domain", "dram-control").code == 0

    assert "dram-control" in Path("mine.py").read_text()
