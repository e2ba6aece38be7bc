"""Cache policies as code: equal to the built-in ones in every counter, and never past the bound."""

from collections.abc import Iterator

import pytest

from archgym.errors import ArchGymError
from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner
from archgym.simulators.cpu.policy_domain import CACHE
from archgym.simulators.cpu.policy_replay import (
    BUILT_IN,
    CpuCase,
    built_in_counts,
    evaluate_policy,
    open_case,
)

# Small caches, so that every policy replaces blocks.
_OPTIONS = {"instructions": "20000", "l2_sets": "128", "l2_ways": "4", "llc_sets": "512"}


@pytest.fixture(scope="module")
def runner() -> Iterator[RuleRunner]:
    with RuleRunner(seconds=300) as made:
        yield made


@pytest.fixture(scope="module")
def case() -> CpuCase:
    return open_case("hash-join-small", _OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["l1d", "l2", "llc"])
@pytest.mark.parametrize("policy", list(BUILT_IN))
def test_written_policy_equals_the_built_in_one(
    runner: RuleRunner, policy: str, cache: str
) -> None:
    found = open_case("hash-join-small", {**_OPTIONS, "cache": cache})

    written = evaluate_policy(check_rule(CACHE.templates[policy]), found, runner)

    assert not written.problem
    assert written.counts is not None
    assert {k: v for k, v in written.counts.items() if k != "seconds"} == built_in_counts(
        policy, found
    )
    assert written.counts["fills"] >= written.counts["bound_fills"]
    assert written.counts["bound_fills"] >= written.counts["compulsory_fills"]


@pytest.mark.slow
def test_most_recently_used_victim_costs_cycles(runner: RuleRunner, case: CpuCase) -> None:
    worst = CACHE.templates["lru"].replace("< last[line + best]", "> last[line + best]")

    lru = evaluate_policy(check_rule(CACHE.templates["lru"]), case, runner)
    mru = evaluate_policy(check_rule(worst), case, runner)

    assert mru.loss > lru.loss > 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def victim(line, set, time):\n    return WAYS\n", "a victim is no way of the set"),
        ("def victim(line, set, time):\n    return -1\n", "a victim is no way of the set"),
        (
            "def prefetch(block, ip, hit, time):\n    return 1 << 56\n",
            "a block to prefetch does not exist",
        ),
        (
            "def stride(block, ip, hit, time):\n    return -block\n",
            "a block to prefetch does not exist",
        ),
        ("DEGREE = 1000\ndef stride(block, ip, hit, time):\n    return 1\n", "DEGREE must be"),
    ],
)
def test_decision_that_cannot_be_is_a_fault(
    runner: RuleRunner, case: CpuCase, body: str, words: str
) -> None:
    found = evaluate_policy(check_rule('DOMAIN = "cache"\n' + body), case, runner)

    assert words in found.problem
    assert found.loss == float("inf")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cache": "l4"}, "cache"),
        ({"instructions": "7"}, "instructions"),
        ({"l2_set": "128"}, "Did you mean 'l2_sets'"),
        ({"l2_sets": "100"}, "l2_sets"),
    ],
)
def test_option_that_does_not_fit_is_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(ArchGymError, match=words):
        open_case("b-tree", options)
