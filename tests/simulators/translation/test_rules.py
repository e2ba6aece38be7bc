"""TLB replacement as code: equal to the built-in rules, never better than the optimum."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from archgym.errors import ArchGymError
from archgym.rules.case import built_in, evaluate
from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner
from archgym.simulators.translation.rules.case import TlbCase, open_case
from archgym.simulators.translation.rules.domain import TLB


@pytest.fixture(scope="module")
def runner() -> Iterator[RuleRunner]:
    with RuleRunner(seconds=120) as made:
        yield made


def case(entries: int, ways: int) -> TlbCase:
    pages = np.random.default_rng(4).zipf(1.3, size=20_000) % 3000
    return TlbCase("zipf", pages.astype(np.int64), entries, ways)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entries", "ways"),
    [
        (96, 12),
        *(
            pytest.param(*size, marks=pytest.mark.nightly)
            for size in ((1, 1), (8, 8), (64, 4), (1536, 12))
        ),
    ],
)
@pytest.mark.parametrize("rule", ["lru", "fifo", "srrip", "next-page"])
def test_written_rule_equals_the_built_in_one(
    runner: RuleRunner, rule: str, entries: int, ways: int
) -> None:
    tlb = case(entries, ways)

    written = evaluate(check_rule(TLB.templates[rule]), tlb, runner)

    expected = tlb.built_in_counts(rule)
    counts = {name: written.counts[name] for name in expected}
    assert counts == expected
    assert sum(counts.values()) >= tlb.bound >= tlb.compulsory


def test_optimum_is_that_of_a_small_example() -> None:
    # Belady's rule with two entries on 1 2 3 1 2 3: 3 replaces 2, then 2 replaces 1.
    tlb = TlbCase("small", np.array([1, 2, 3, 1, 2, 3]), 2, 2)

    assert (tlb.compulsory, tlb.bound) == (3, 4)
    assert tlb.built_in_counts("lru")["misses"] == 6


def test_next_page_prefetch_halves_the_misses_of_a_scan() -> None:
    # 100 new pages in order: every second one was prefetched on the miss before.
    tlb = TlbCase("scan", np.arange(100), 16, 4)

    assert tlb.built_in_counts("lru") == {"misses": 100, "prefetches": 0}
    assert tlb.built_in_counts("next-page") == {"misses": 50, "prefetches": 50}
    assert built_in("next-page", tlb).loss == 1.0
    assert built_in("next-page", replace(tlb, prefetch_weight=0.25)).loss == 0.625


@pytest.mark.slow
def test_prefetch_of_pages_that_do_not_exist_is_ignored(runner: RuleRunner) -> None:
    text = TLB.templates["lru"] + "\n\ndef prefetch(page, hit, time):\n    return page + 100000\n"

    found = evaluate(check_rule(text), case(64, 4), runner)

    assert (found.counts["prefetches"], found.problem) == (0, "")


@pytest.mark.slow
def test_victim_outside_the_set_is_a_fault(runner: RuleRunner) -> None:
    text = 'DOMAIN = "tlb"\ndef victim(line, set, time):\n    return WAYS\n'

    found = evaluate(check_rule(text), case(8, 4), runner)

    assert found.problem.endswith("a victim is no way of the set")
    assert found.loss == float("inf")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"entries": "0"}, "`entries` must be a whole number from 1 to"),
        ({"entries": "-3"}, "`entries` must be a whole number from 1 to"),
        ({"entries": "13"}, "must be whole sets of 12 ways"),
        ({"way": "3"}, "Did you mean 'ways'"),
    ],
)
def test_option_out_of_range_is_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(ArchGymError, match=words):
        open_case("sort", options)
