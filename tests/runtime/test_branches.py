"""Branches of runs: equal to their origin, independent of it, and in memory used again."""

from typing import NamedTuple

import numpy as np

from archgym.runtime.branches import branch_of


class Tables(NamedTuple):
    rows: np.ndarray
    fixed: np.ndarray


class Machine:
    def __init__(self, n: int) -> None:
        self.records = np.zeros(n, dtype=[("time", np.int64), ("name", np.int8, (3,))])
        self.parts = (Tables(np.arange(n), np.ones(n)), np.zeros(2))
        self.table = np.arange(n)
        self.now = 0


def test_branch_is_independent_and_shares_what_no_run_writes() -> None:
    run = Machine(5)
    run.records["time"] = 7
    branch = branch_of(run, None, ("records", "parts"))
    run.records["time"][2] = 1
    run.parts[0].rows[0] = -1
    run.now = 3

    assert branch.records["time"].tolist() == [7] * 5
    assert branch.parts[0].rows.tolist() == [0, 1, 2, 3, 4]
    assert branch.table is run.table
    assert branch.now == 0


def test_branch_that_is_used_again_keeps_its_memory() -> None:
    run = Machine(5)
    branch = branch_of(run, None, ("records", "parts"))
    memory = branch.records
    run.records["name"][1] = (1, 2, 3)
    run.now = 4

    again = branch_of(run, branch, ("records", "parts"))

    assert again is branch
    assert again.records is memory
    assert memory["name"][1].tolist() == [1, 2, 3]
    assert again.now == 4


def test_named_tuple_has_copies_of_what_is_written_alone() -> None:
    tables = Tables(np.arange(3), np.ones(3))
    branch = branch_of(tables, None, ("rows",))
    tables.rows[0] = 9

    assert branch.rows.tolist() == [0, 1, 2]
    assert branch.fixed is tables.fixed
