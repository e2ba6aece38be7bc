"""`archgym validate`: how its table is written."""

import pytest

from archgym.cli.validating import _write_table


def test_notes_stand_numbered_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    long = "the paper does not tell " * 12
    rows = [
        ("V1", 1.5, "", ""),
        ("V2", 2.5, "no", long),
        ("V3", 3.5, "no", "short"),
        ("V4", 4.5, "no", long),
    ]

    _write_table(("id", "ours", "met", "note"), rows)

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line.split()[-1] for line in lines[2:6]] == ["1.5", "1", "2", "1"]
    assert lines[-3:] == [f"note 1: {long}".rstrip(), "note 2: short", ""]
