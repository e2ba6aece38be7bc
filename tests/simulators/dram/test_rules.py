"""Scheduling and page rules as code: equal to the built-in ones, and faults that are charged."""

from collections.abc import Iterator

import pytest

from archgym.errors import ArchGymError, FileFormatError
from archgym.rules.case import built_in, evaluate
from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner
from archgym.simulators.dram.rules.case import BUILT_IN, open_case
from archgym.simulators.dram.rules.domain import DRAM_SCHEDULING

_HEAD = 'DOMAIN = "dram-scheduling"\n'


@pytest.fixture(scope="module")
def runner() -> Iterator[RuleRunner]:
    with RuleRunner(seconds=120) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trace", "options"),
    [
        ("bursty-rw", {}),
        ("cloud-1", {"request_buffer_size": "32", "scheduler_buffer": "Shared"}),
        ("random", {"device": "ddr4-2400", "request_buffer_size": "16", "arbiter": "Reorder"}),
    ],
)
@pytest.mark.parametrize("rule", list(BUILT_IN))
def test_written_rule_equals_the_built_in_one(
    runner: RuleRunner, rule: str, trace: str, options: dict[str, str]
) -> None:
    case = open_case(trace, options)
    source = check_rule(DRAM_SCHEDULING.templates[rule])

    written = evaluate(source, case, runner)

    assert not written.problem
    expected = built_in(rule, case)
    found = {name: value for name, value in written.counts.items() if name != "seconds"}
    assert found == expected.counts
    assert written.measures == expected.measures
    assert written.loss == expected.loss > 1.0


@pytest.mark.slow
def test_rules_make_a_difference(runner: RuleRunner) -> None:
    case = open_case("bursty-rw", {"request_buffer_size": "32"})
    losses = {
        name: evaluate(check_rule(text), case, runner).loss
        for name, text in DRAM_SCHEDULING.templates.items()
    }

    # The order of the built-in rules on this trace: closing every row costs most.
    assert losses["closed-adaptive"] < losses["frfcfs"] < losses["closed"]
    assert losses["capped"] < losses["fcfs"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "words"),
    [
        # Squared twelve times, 1.5 is infinite, and infinity minus itself is not a number.
        (
            "    x = 1.5\n    for i in range(12):\n        x = x * x\n    return x - x\n",
            "a score is",
        ),
        ("    return 1 // (age - age)\n", "line 3: a number is divided by zero"),
        ("    return lost[row]\n", "an index lies outside its array"),
    ],
)
def test_faulty_rule_is_infeasible(runner: RuleRunner, body: str, words: str) -> None:
    text = _HEAD + "def score(bank, row, hit, write, turn, age, time):\n" + body
    text = text.replace(_HEAD, _HEAD.strip() + "; lost = table(2, bits=1)\n", 1)

    found = evaluate(check_rule(text), open_case("random", {}), runner)

    assert words in found.problem
    assert found.loss == float("inf")


@pytest.mark.slow
def test_rule_cannot_reorder_requests_to_one_address(runner: RuleRunner) -> None:
    # The youngest request first would let reads pass older writes to their address.
    youngest = _HEAD + ("def score(bank, row, hit, write, turn, age, time):\n    return -age\n")
    case = open_case("bursty-rw", {"request_buffer_size": "32"})

    found = evaluate(check_rule(youngest), case, runner)

    assert not found.problem
    # Every request was served, and none was faster than the memory.
    assert found.loss > 1.0


def test_rule_without_a_decision_is_refused() -> None:
    text = _HEAD + "def on_issue(bank, row, write, outcome, time):\n    pass\n"

    with pytest.raises(FileFormatError, match="one of the functions score, close is missing"):
        check_rule(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"request_buffer": "8"}, "Did you mean 'request_buffer_size'"),
        ({"request_buffer_size": "0"}, "request_buffer_size"),
        ({"device": "ddr9"}, "ddr9"),
    ],
)
def test_option_that_does_not_fit_is_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(ArchGymError, match=words):
        open_case("random", options)
