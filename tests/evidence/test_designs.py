"""Recorded runs of exported designs in the tools themselves."""

import pytest

from evidence.designs import NAME, PAIRS, compare
from evidence.recorded import json_lines

# ChampSim compiles for a minute a design; its rows are not recorded.
RECORDED = ("dramsys", "ramulator", "scalesim")


@pytest.mark.parametrize("form", RECORDED)
def test_designs_that_ran_in_the_tool_are_equal(form: str) -> None:
    rows = [row for _, row in json_lines(PAIRS[form].folder / f"{NAME}-{form}.jsonl.gz")]
    ran = [row for row in rows if "problem" not in row]

    assert len(ran) == PAIRS[form].count
    assert len({row["task"]["workload"] for row in ran}) >= 2
    found = compare(form, stride=29)
    assert found.n_rows >= 5
    assert found.is_met, found.problem


@pytest.mark.slow
@pytest.mark.parametrize("form", RECORDED)
def test_every_recorded_run_is_repeated(form: str) -> None:
    found = compare(form)

    assert found.is_met, found.problem
