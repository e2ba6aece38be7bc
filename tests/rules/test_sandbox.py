"""Rules that misbehave when they run: charged as infeasible, never rewarded."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from archgym.rules.case import RuleResult, evaluate
from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner
from archgym.runtime.reductions import collected_reductions
from archgym.simulators.moe.kernel.replay import Events
from archgym.simulators.moe.rules.case import CacheCase
from tests.rules.escapes import HEAD, returning, scored

EVENTS = Events(
    layers=np.array([0, 1, 0, 1], dtype=np.int64),
    cycles=np.array([0, 0, 1, 1], dtype=np.int64),
    offsets=np.array([0, 2, 4, 6, 8], dtype=np.int64),
    experts=np.array([0, 1, 2, 3, 1, 2, 0, 3], dtype=np.int32),
    n_layers=2,
    n_experts=4,
)
CASE = CacheCase("four events", EVENTS, 2)


def prefetching(expert: str) -> str:
    """Return the hook that asks for this expert."""
    return f"\nPREFETCH = 1\ndef prefetch(block, layer, slot, time):\n    return {expert}\n"


@pytest.fixture(scope="module")
def runner() -> Iterator[RuleRunner]:
    with RuleRunner(seconds=120) as made:
        yield made


def measured(text: str, runner: RuleRunner) -> RuleResult:
    return evaluate(check_rule(text), CASE, runner)


FAULTS = {
    returning("last[block + 100]"): "line 4: an index lies outside its array",
    returning("last[-1]"): "line 4: an index lies outside its array",
    returning("last[0 - block - 1]"): "an index lies outside its array",
    returning("last[9007199254740992]"): "an index lies outside its array",
    returning("last[1.5]"): "line 4: an index lies outside its array or is not whole",
    returning("last[block / 2 + 0.25]"): "an index lies outside its array or is not whole",
    returning("1") + prefetching("4"): "a block to prefetch does not exist",
    returning("1") + prefetching("0 - 2"): "a block to prefetch does not exist",
    returning("1") + prefetching("0.5"): "a block to prefetch does not exist",
    returning("block / 0"): "line 4: a number is divided by zero",
    returning("block // layer"): "a number is divided by zero",
    returning("block % (layer - layer)"): "a number is divided by zero",
    returning("1 << 64"): "a shift is below 0 or above 62",
    returning("1 << (0 - 1)"): "a shift is below 0 or above 62",
    returning("1 >> 100"): "a shift is below 0 or above 62",
    scored("x = 1e15", "for k in range(40):", "    x = x * 1e15", "return x - x"): "not a number",
    HEAD
    + "def on_use(block, layer, hit, time):\n    last[block] = 0 - 1\n"
    + returning("1")[len(HEAD) :]: "line 4: a value does not fit in the bits of its array",
    HEAD
    + "def on_use(block, layer, hit, time):\n    last[block] = 4294967296\n"
    + returning("1")[len(HEAD) :]: "does not fit in the bits",
    HEAD
    + "def on_use(block, layer, hit, time):\n    last[block + 99] = 1\n"
    + returning("1")[len(HEAD) :]: "an index lies outside",
}


# Each rule is compiled: every third one here, the others every night.
@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        text if number % 3 == 0 else pytest.param(text, marks=pytest.mark.nightly)
        for number, text in enumerate(FAULTS)
    ],
)
def test_fault_makes_a_rule_infeasible(text: str, runner: RuleRunner) -> None:
    found = measured(text, runner)

    assert FAULTS[text] in found.problem
    assert found.loss == float("inf")
    assert found.problem
    assert "loads" not in found.to_json()


@pytest.mark.slow
def test_prefetch_that_is_never_called_is_reported(runner: RuleRunner) -> None:
    text = returning("1") + prefetching("0").replace("PREFETCH = 1\n", "")

    with collected_reductions() as notes:
        measured(text, runner)

    assert "The policy's `prefetch` is never called; declare PREFETCH = 1 or more." in notes


@pytest.mark.slow
def test_rule_of_mixed_types_is_reported_in_one_line(runner: RuleRunner) -> None:
    found = measured(scored("x = 1 << 1.5", "return x"), runner)

    assert "cannot be compiled" in found.problem
    assert "\n" not in found.problem


@pytest.mark.slow
def test_rule_beyond_its_time_is_infeasible_and_the_next_one_runs() -> None:
    body = [
        "x = 0",
        "for a in range(130):",
        "    for b in range(60):",
        "        x = (x * 31 + last[(a + b) % 8]) % 1000003",
        "return x",
    ]
    events = Events(
        layers=np.tile([0, 1], 200_000).astype(np.int64),
        cycles=np.repeat(np.arange(200_000), 2),
        offsets=np.arange(0, 800_001, 2),
        experts=np.random.default_rng(0)
        .permuted(np.tile([[0, 1, 2, 3]], (400_000, 1)), axis=1)[:, :2]
        .ravel()
        .astype(np.int32),
        n_layers=2,
        n_experts=4,
    )
    with RuleRunner(seconds=120) as own:
        # Compiled on a short case, so that the limit holds for the run alone.
        assert "problem" not in own.run(scored(*body), CacheCase("short", EVENTS, 4).input())
        own._seconds = 1
        slow = own.run(scored(*body), CacheCase("long", events, 4).input())
        own._seconds = 120
        quick = own.run(returning("1"), CASE.input())

    assert slow == {"problem": "the policy took longer than 1 s; its longest hook begins in line 3"}
    assert quick["events"] == 4


@pytest.mark.slow
def test_child_that_is_killed_costs_one_run(runner: RuleRunner) -> None:
    measured(returning("1"), runner)
    process: Any = runner._process
    process.kill()
    process.join()

    assert not measured(returning("1"), runner).problem


@pytest.mark.slow
def test_no_rule_beats_the_optimum(runner: RuleRunner) -> None:
    for text in (returning("1"), returning("0 - last[block]"), returning("block")):
        found = measured(text, runner)

        assert found.measures["loads"] >= CASE.bound == 6
        assert found.measures["compulsory_loads"] == 6


def test_loads_below_the_bound_are_reported_as_a_defect() -> None:
    from archgym.errors import SimulatorError

    class Cheat:
        def run(self, *arguments: Any) -> dict[str, Any]:
            return {"hits": 8, "misses": 0, "prefetched": 0, "useful": 0}

    with pytest.raises(SimulatorError, match="fewer than the optimum"):
        evaluate(check_rule(returning("1")), CASE, Cheat())  # type: ignore[arg-type]


def test_counts_that_do_not_add_up_are_refused() -> None:
    from archgym.errors import SimulatorError

    class Cheat:
        def run(self, *arguments: Any) -> dict[str, Any]:
            return {"hits": 100, "misses": 8, "prefetched": 0, "useful": 0}

    with pytest.raises(SimulatorError, match="do not add up"):
        evaluate(check_rule(returning("1")), CASE, Cheat())  # type: ignore[arg-type]
