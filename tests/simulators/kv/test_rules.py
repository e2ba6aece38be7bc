"""Rules of the domain `kv-cache`: LRU as code, gaps, and rules that fail."""

from typing import Any

import pytest

from archgym.errors import InvalidArgumentError
from archgym.rules.domain import domain
from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner
from archgym.simulators.kv.rules.case import open_case

CASE = {"memory_percent": "50"}


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
def test_blocks_that_come_back_with_the_tool_are_hits() -> None:
    chosen = domain("kv-cache")
    options = {"memory_percent": "25", "below": "all"}
    case = open_case("coding@0-10", options)
    rule = check_rule(chosen.templates["usual-pause"])
    never = check_rule(chosen.templates["ended-first"])
    runner = RuleRunner(seconds=120.0)
    found: Any
    plain: Any
    try:
        found = chosen.evaluate(rule, case, runner, None)
        plain = chosen.evaluate(never, case, runner, None)
    finally:
        runner.close()

    assert found.problem == plain.problem == ""
    assert found.counts["brought"] > 0 == plain.counts["brought"]
    assert plain.counts["hits"] < found.counts["hits"] <= case.bound
    # The optimum of both memories, which no copy can exceed.
    assert case.bound > open_case("coding@0-10", {"memory_percent": "25"}).bound
    assert found.measures["brought_blocks"] == found.counts["brought"]
