"""Cache rules: equal to the built-in ones in every counter, and never past the bound."""

from collections.abc import Iterator

import pytest

from archgym.errors import ArchGymError
from archgym.rules.case import evaluate
from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner
from archgym.simulators.cpu.kernel.warmup import WARM_UPS
from archgym.simulators.cpu.rules.case import BUILT_IN, CpuCase, open_case
from archgym.simulators.cpu.rules.domain import CACHE

# Small caches, so that every rule replaces blocks.
_OPTIONS = {"instructions": "20000", "l2_sets": "128", "l2_ways": "4", "llc_sets": "512"}


@pytest.fixture(scope="module")
def runner() -> Iterator[RuleRunner]:
    with RuleRunner(seconds=300) as made:
        yield made


@pytest.fixture(scope="module")
def case() -> CpuCase:
    return open_case("hash-join-small", _OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "cache", ["l2", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("l1d", "llc"))]
)
@pytest.mark.parametrize(
    "rule",
    [
        rule if rule in ("srrip", "ip-stride") else pytest.param(rule, marks=pytest.mark.nightly)
        for rule in BUILT_IN
    ],
)
def test_written_rule_equals_the_built_in_one(runner: RuleRunner, rule: str, cache: str) -> None:
    found = open_case("hash-join-small", {**_OPTIONS, "cache": cache})

    written = evaluate(check_rule(CACHE.templates[rule]), found, runner)

    assert not written.problem
    counts = {name: count for name, count in written.counts.items() if name != "seconds"}
    assert counts == found.built_in_counts(rule)
    assert written.counts["fills"] >= written.counts["bound_fills"]
    assert written.counts["bound_fills"] >= written.counts["compulsory_fills"]


@pytest.mark.slow
def test_most_recently_used_victim_costs_cycles(runner: RuleRunner, case: CpuCase) -> None:
    worst = CACHE.templates["lru"].replace("< last[line + best]", "> last[line + best]")

    lru = evaluate(check_rule(CACHE.templates["lru"]), case, runner)
    mru = evaluate(check_rule(worst), case, runner)

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
    found = evaluate(check_rule('DOMAIN = "cache"\n' + body), case, runner)

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


def test_warm_up_of_one_program_is_not_that_of_another() -> None:
    # Before: cases have no digest, so that the second program continued from the first one's state.
    options = {"instructions": "20000"}
    programs = ("hash-join-small", "pointer-chase-small")
    alone = {}
    for name in programs:
        WARM_UPS.clear()
        alone[name] = open_case(name, options).built_in_counts("lru")
    WARM_UPS.clear()

    for name in (*programs, *programs, *programs):
        assert open_case(name, options).built_in_counts("lru") == alone[name]
