"""Agreement of computed numbers with recorded ones."""

import pytest

from archgym.errors import InvalidArgumentError
from evidence.agreement import Differences, validation_of
from evidence.validation import Group


def test_first_line_beyond_the_tolerance_is_a_problem() -> None:
    found = Differences("all", "rows", 1e-3)
    found.number(1, "energy", 100.0, 100.05)
    found.number(2, "energy", 103.0, 100.0)
    found.number(3, "energy", 102.0, 100.0)
    found.equal(1, "phases", [4], [4])

    table = validation_of(found.lines, (Group("all", "rows of a test"),))

    assert table.rows == (
        ("rows", "energy", 3, 1, 0.03, "no", ""), ("rows", "phases", 1, 1, 0.0, "yes", ""),
    )  # fmt: skip
    assert table.problems == (
        "rows: energy must agree in all 3 rows; it agrees in 1, and differs by 0.03 at worst, "
        "first in line 2.",
    )


def test_not_a_number_never_agrees() -> None:
    found = Differences("all", "rows", 1.0)
    found.number(7, "energy", float("nan"), 1.0)

    assert found.lines[0].first == 7


def test_other_entries_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`area` must have the entries a; got b"):
        Differences("all", "rows", 1.0).numbers(1, "area", {"a": 1.0}, {"b": 1.0})
