"""Agreement of computed numbers with recorded ones."""

import pytest

from archgym.analysis.agreement import AgreementTable, Differences
from archgym.errors import InvalidArgumentError


def test_first_line_beyond_the_tolerance_is_a_problem() -> None:
    found = Differences("rows", 1e-3)
    found.number(1, "energy", 100.0, 100.05)
    found.number(2, "energy", 103.0, 100.0)
    found.number(3, "energy", 102.0, 100.0)
    found.equal(1, "phases", [4], [4])

    table = AgreementTable.of(found.lines, 1e-3)

    assert table.rows == (("rows", "energy", 3, 0.03, "no"), ("rows", "phases", 1, 0.0, "yes"))
    assert table.problems == (
        "rows: energy must agree within 0.001; it differs by 0.03 at worst, first in line 2.",
    )


def test_not_a_number_never_agrees() -> None:
    found = Differences("rows", 1.0)
    found.number(7, "energy", float("nan"), 1.0)

    assert found.lines[0].first == 7


def test_other_entries_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`area` must have the entries a; got b"):
        Differences("rows", 1.0).numbers(1, "area", {"a": 1.0}, {"b": 1.0})
