"""Questions on measured serving hold no answers, and scores refuse what they cannot judge."""

import csv
import os
from pathlib import Path

import pytest

from archgym.bench.accuracy import (
    ANSWERS,
    AXES,
    TABLE,
    AccuracyScore,
    goal_of,
    group_files,
    measured_rows,
    score,
    split,
)
from archgym.errors import FileFormatError
from evidence.moe.board import board_table

HEAD = "axis,id,tpot_ms,tpot_low_ms,tpot_high_ms,ttft_ms"


def predictions(path: Path, factor: float, width: float, leave_out: int = 0) -> Path:
    """Write what was measured times a factor for all questions on GPUs but some."""
    by_id = {row["id"]: row for row in measured_rows()}
    lines = [HEAD]
    for ids in split()["gpu"].values():
        for one in ids:
            tpot = factor * (goal_of(by_id[one], "tpot") or 0.0)
            ttft = goal_of(by_id[one], "ttft") or ""
            lines.append(f"gpu,{one},{tpot},{tpot / width},{tpot * width},{ttft}")
    path.write_text("\n".join(lines[: len(lines) - leave_out]) + "\n")
    return path


def _of(found: list[AccuracyScore], axis: str, quantity: str) -> AccuracyScore:
    return next(each for each in found if (each.axis, each.quantity) == (axis, quantity))


def test_table_that_ships_is_what_the_script_makes() -> None:
    reference = Path(os.environ.get("ARCHGYM_REFERENCE", ".")) / "moe"
    if not (reference / "further").is_dir():
        pytest.skip("ARCHGYM_REFERENCE does not name a folder of recorded results with moe")

    assert board_table(reference) == TABLE.read_text()


@pytest.mark.parametrize("axis", AXES)
def test_each_row_is_asked_once_and_never_among_those_to_learn_from(axis: str) -> None:
    asked = []
    for group in split()[axis]:
        files = group_files(axis, group)
        questions = list(csv.DictReader(files["questions.csv"].splitlines()))
        known = list(csv.DictReader(files["learn.csv"].splitlines()))
        ids = {row["id"] for row in questions}
        assert not ids & {row["id"] for row in known}
        assert len(questions) + len(known) == 1435
        assert not {*ANSWERS, "source"} & set(questions[0])
        asked += [*ids]
    assert len(asked) == len(set(asked)) == (1287 if axis == "release" else 1435)


@pytest.mark.parametrize(("axis", "column"), [("gpu", "gpu"), ("model", "model")])
def test_what_is_left_out_is_not_learned_from(axis: str, column: str) -> None:
    for group in split()[axis]:
        files = group_files(axis, group)
        questions, known = (
            {row[column] for row in csv.DictReader(files[f"{name}.csv"].splitlines())}
            for name in ("questions", "learn")
        )
        assert not questions & known


def test_scores_are_error_bias_and_coverage_of_what_was_predicted(tmp_path: Path) -> None:
    found = score(predictions(tmp_path / "p.csv", 1.25, 1.3))

    tpot, ttft = _of(found, "gpu", "tpot"), _of(found, "gpu", "ttft")
    assert (tpot.rows, tpot.missing, tpot.coverage) == (1435, 0, 100.0)
    assert (tpot.median, tpot.p90, tpot.bias) == pytest.approx((25.0, 25.0, 25.0))
    assert tpot.width == pytest.approx(1.69)
    assert (ttft.rows, ttft.missing, ttft.median, ttft.coverage) == (1370, 0, 0.0, 0.0)
    assert score(predictions(tmp_path / "p.csv", 1.25, 1.2))[2].coverage == 0.0


def test_missing_predictions_count_as_misses(tmp_path: Path) -> None:
    found = score(predictions(tmp_path / "p.csv", 1.0, 1.1, leave_out=287))

    tpot = _of(found, "gpu", "tpot")
    assert (tpot.missing, tpot.median, tpot.p90) == (287, pytest.approx(0.0), None)
    assert tpot.coverage == pytest.approx(80.0)
    assert _of(found, "engine", "tpot").median is None


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (b"", 1, "columns must be axis, id"),
        (b"axis,id,tpot_ms,tpot_ms\n", 1, "columns must be"),
        (b"axis,id,price\n", 1, "columns must be"),
        (b"axis,id,tpot_ms\ngpu,m0001\n", 2, "must have 3 cells; it has 2"),
        (b"axis,id,tpot_ms\ngpu,m0001,nan\n", 2, "`tpot_ms` must be a number above 0"),
        (b"axis,id,tpot_ms\ngpu,m0001,inf\n", 2, "`tpot_ms` must be a number above 0"),
        (b"axis,id,tpot_ms\ngpu,m0001,-1\n", 2, "`tpot_ms` must be a number above 0"),
        (b"axis,id,tpot_ms\ngpu,m0001,1e300\n", 2, "`tpot_ms` must be a number above 0"),
        (b"axis,id,tpot_ms\ngpu,m0001,1\ngpu,m0001,1\n", 3, "gpu m0001 must come once"),
        (b"axis,id,tpot_ms\ngpu,m9999,1\n", 2, "must be those of a question; got 'gpu', 'm9999'"),
        (b"axis,id,tpot_ms\nload,m0001,1\n", 2, "must be those of a question"),
        (b"axis,id,tpot_low_ms\ngpu,m0001,1\n", 2, "must both be given"),
        (b"axis,id,tpot_low_ms,tpot_high_ms\ngpu,m0001,2,1\n", 2, "in this order"),
        (b"axis,id,tpot_ms\ngpu,m0001,\xff\n", 2, "must be UTF-8"),
        (b'axis,id,tpot_ms\ngpu,"m0001,1\n', 2, "must be CSV"),
        (b"axis,id,tpot_ms\ngpu,m0001," + b"1" * 200_000 + b"\n", 2, "must be CSV"),
    ],
)
def test_hostile_predictions_end_in_one_line(
    text: bytes, line: int, what: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(text)

    with pytest.raises(FileFormatError) as caught:
        score(path)

    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)
