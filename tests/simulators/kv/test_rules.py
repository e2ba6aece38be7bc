"""Rules of the domain `kv-cache`: LRU as code, gaps, and rules that fail."""

import json
from pathlib import Path
from typing import Any

import pytest

import archgym
from archgym.errors import InvalidArgumentError
from archgym.rules.case import compare_rules
from archgym.rules.domain import domain
from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner
from archgym.runtime.reductions import collected_reductions
from archgym.simulators.kv.metrics import gap_share
from archgym.simulators.kv.rules.case import open_case

CASE = {"memory_percent": "50"}
TRACE = Path(archgym.__file__).parent / "simulators/kv/data/traces/coding.jsonl.gz"


def test_built_in_rules_lie_between_lru_and_the_optimum_or_below() -> None:
    case = open_case("coding@0-10", CASE)

    assert case.loss({"hits": case.of_lru}) == 1.0
    assert case.loss({"hits": case.bound}) == 0.0
    priority = case.built_in_counts("priority")
    assert case.of_lru <= priority["hits"] <= case.bound


def test_parts_of_sessions_differ() -> None:
    first, second = open_case("coding@0-10", CASE), open_case("coding@10-20", CASE)

    assert len(first.made.stream) + len(second.made.stream) == 344
    with pytest.raises(InvalidArgumentError, match="NAME@LOW-HIGH"):
        open_case("coding@10-3", CASE)


def test_held_out_sessions_that_rules_were_made_on_are_refused(tmp_path: Path) -> None:
    rule = {"lru": check_rule(domain("kv-cache").templates["lru"])}
    copy = tmp_path / "copy.jsonl.gz"
    copy.write_bytes(TRACE.read_bytes())

    # Before, only a trace of the same name was.
    for other, n in (("coding@5-15", 5), ("coding", 10), (f"{copy}@9-20", 1)):
        with pytest.raises(InvalidArgumentError, match=f"has {n} sessions or requests of training"):
            compare_rules(rule, ["coding@0-10"], [other])
    first, second = open_case("chat@0-600", CASE), open_case("chat@600-1200", CASE)
    assert second.shared_with(first) == 0
    # Before, a part of a trace without sessions was the whole of it.
    assert len(first.made.stream) == len(second.made.stream) == 600


def test_cache_below_the_largest_request_is_raised_and_told() -> None:
    # Before, it was raised in silence.
    with collected_reductions() as notes:
        case = open_case("coding@0-10", {"gpu_blocks": "10"})

    assert case.capacity == case.made.blocks.need.max()
    assert any("a cache of 10 blocks is below the largest request" in note for note in notes)


def test_rule_below_an_optimal_lru_loses() -> None:
    # Before, each rule was said to close all of a gap of 0.
    assert gap_share(7, 7, 7) == 1.0
    assert gap_share(6, 7, 7) < 0.0
    assert gap_share(0, 0, 0) == 1.0
    assert gap_share(8, 6, 10) == 0.5


@pytest.mark.slow
def test_lru_as_code_has_the_hits_of_lru() -> None:
    chosen = domain("kv-cache")
    lru: Any
    ended: Any
    case = open_case("coding@0-10", CASE)
    runner = RuleRunner(seconds=120.0)
    try:
        lru = chosen.evaluate(check_rule(chosen.templates["lru"]), case, runner, None)
        ended = chosen.evaluate(check_rule(chosen.templates["ended-first"]), case, runner, None)
        wrong = chosen.evaluate(
            check_rule('DOMAIN = "kv-cache"\n\n\ndef score(block, depth, left, session, time):\n'
                       "    return 1 / (depth - depth)\n"),
            case, runner, None,
        )  # fmt: skip
    finally:
        runner.close()

    assert lru.counts["hits"] == case.of_lru
    assert lru.loss == 1.0
    assert ended.loss < 1.0
    assert ended.counts["hits"] <= case.bound
    assert "divided by zero" in wrong.problem


@pytest.mark.slow
def test_blocks_that_come_back_with_the_tool_are_hits(tmp_path: Path) -> None:
    # Two agents take turns, each 20 seconds after the other, in memory for one of them.
    turn = {"in": 640, "out": 1, "api": 100, "think": 39_900, "keep": 10, "new": []}
    lines = [
        {"tool": 0, "system": 0, "requests": [{**turn, "keep": 0, "new": [[0, 10]]}, *[turn] * 7]}
    ] * 2
    trace = tmp_path / "turns.jsonl"
    trace.write_text("\n".join(map(json.dumps, lines)))
    options = {"memory_percent": "1", "below": "all"}
    case, alone = open_case(str(trace), options), open_case(str(trace), {"memory_percent": "1"})
    agents = open_case("coding@0-10", {"memory_percent": "25", "below": "all"})
    chosen = domain("kv-cache")
    rule = check_rule(chosen.templates["usual-pause"])
    runner = RuleRunner(seconds=120.0)
    results: list[Any] = []
    try:
        for each, early in ((case, 80), (case, 0), (alone, 80), (agents, 80), (agents, 0)):
            results.append(chosen.evaluate(rule, each, runner, {"EARLY": early}))
    finally:
        runner.close()
    with_tool, never, without_memory, of_agents, kept = results

    assert [each.problem for each in results] == [""] * 5
    # The pause is known from the second turn on, and each turn can hit nine blocks.
    assert with_tool.counts["hits"] == 2 * 6 * 9
    assert never.counts["hits"] == without_memory.counts["hits"] == 0
    assert without_memory.counts["brought"] == 0 < with_tool.measures["brought_blocks"]
    # Whatever comes back, no rule beats the optimum of both memories.
    assert 0 < of_agents.counts["hits"] <= agents.bound
    assert kept.counts["hits"] == agents.built_in_counts("priority")["hits"]
