"""The championship of rules written as code."""

from pathlib import Path

import pytest

from archgym.rules.language import check_rule, read_rule
from archgym.simulators.cpu.rules.domain import CACHE
from experiments.championship import geometric_mean, refusal, scores

SIZES = {"line": 2048, "set": 256}


@pytest.mark.parametrize(
    ("track", "template", "reason"),
    [
        ("replacement", "ship", ""),
        ("prefetch", "ip-stride", ""),
        ("prefetch", "srrip", "this track has no function 'on_fill'"),
        ("replacement", "next-line", "this track has no function 'prefetch'"),
    ],
)
def test_track_takes_its_own_functions(track: str, template: str, reason: str) -> None:
    assert refusal(track, check_rule(CACHE.templates[template]), SIZES) == reason


def test_rule_beyond_the_budget_is_refused_before_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "large.py"
    path.write_text(
        '"""Much state."""\nDOMAIN = "cache"\nseen = table(16385, bits=32)\n'
        "def prefetch(block, ip, hit, time):\n    seen[block % 16385] = 1\n    return -1\n"
    )

    (row,) = scores("prefetch", {"large": read_rule(path)}, ["b-tree"])

    assert row["problem"] == "524,320 bits of state, of at most 524,288"
    assert row["speed"] == {}


def test_speed_is_that_of_the_cycles() -> None:
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    never = '"""None."""\nDOMAIN = "cache"\ndef prefetch(block, ip, hit, time):\n    return -1\n'

    (row,) = scores("prefetch", {"none": check_rule(never)}, ["b-tree"])

    assert (row["problem"], row["speed"]) == ("", {"b-tree": 1.0})
