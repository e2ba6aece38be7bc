"""Rules as code in tasks and studies."""

from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.rule import RuleSimulator
from archgym.evaluation.task import Task
from archgym.rules.language import check_rule
from archgym.studies.study import Study

TEXT = """DOMAIN = "tlb"
LONG = tunable(2, low=0, high=3)
STEP = tunable(1, low=0, high=4)
interval = per_line(bits=2, start=3)

def on_fill(line, set, page, time):
    interval[line] = LONG * STEP

def victim(line, set, time):
    return interval[line] % WAYS
"""


def task(text: str) -> Task:
    simulator = RuleSimulator(check_rule(text), ["sort"], options={"entries": "96"})
    return Task.make(simulator, "sort")


@pytest.mark.slow
def test_source_is_part_of_the_digest_and_of_the_study(tmp_path: Path) -> None:
    mine, same, other = task(TEXT), task(TEXT), task(TEXT + "# another\n")

    assert mine.digest == same.digest != other.digest
    # The digest of 0.2.0, whose studies are resumed.
    assert mine.digest == "9273c9bac4982553c703d9257e030704e836e6f3498c79ff934f5981758a6e29"
    with Study.create(tmp_path / "s", mine, None, budget=3) as study:
        trials = study.evaluate(mine.space.enumerate().__next__()[:3])
    assert TEXT.splitlines()[0].replace('"', '\\"') in (tmp_path / "s" / "study.json").read_text()
    assert trials.feasible.any()
    with pytest.raises(InvalidArgumentError, match="must be the one that"):
        Study.open(tmp_path / "s", other)


@pytest.mark.slow
def test_fault_is_an_infeasible_design_without_reward() -> None:
    made = task(TEXT)
    designs = [made.space.design({"LONG": 2, "STEP": step}) for step in (1, 4)]
    indices = [made.space.indices_of(design) for design in designs]

    found = made.evaluate(np.array(indices))

    # 2 * 4 does not fit in 2 bits.
    assert found.reason[:, 0].tolist() == [0, 1]
    assert made.simulator.reasons[1] == "The rule faults or exceeds its limits."
    assert found.reward[1] < found.reward[0]


def test_rule_without_tunable_constants_is_refused() -> None:
    source = check_rule('DOMAIN = "tlb"\ndef victim(line, set, time):\n    return 0\n')

    with pytest.raises(InvalidArgumentError, match="needs a tunable constant"):
        RuleSimulator(source, ["sort"])
