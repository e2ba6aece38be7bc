"""`archgym validate`: how its table is written."""

import pytest

from archgym.cli.views.validation import write_validation


def test_notes_stand_numbered_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    long = "the paper does not tell " * 12
    rows = [
        ("V1", 1.5, "", ""),
        ("V2", 2.5, "no", long),
        ("V3", 3.5, "no", "short"),
        ("V4", 4.5, "no", long),
    ]

    write_validation(("id", "ours", "met", "note"), rows, ())

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line.split()[-1] for line in lines[2:6]] == ["1.5", "1", "2", "1"]
    notes = lines[-5:-2]
    assert notes == [f"note 1: {long}".rstrip(), "note 2: short", ""]


@pytest.mark.parametrize(
    ("cells", "said"),
    [(("yes", "NO", "yes", ""), ["2 of 3 rows are met."]), ((3, 4), []), ((), [])],
)
def test_rows_that_are_met_are_counted(
    capsys: pytest.CaptureFixture[str], cells: tuple[str | int, ...], said: list[str]
) -> None:
    write_validation(("id", "met"), [("V", cell) for cell in cells], ())

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "are met" in line] == said
