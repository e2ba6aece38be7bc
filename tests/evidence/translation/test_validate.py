"""The comparison reports what is met, and fails where something got worse."""

import json
import math
from importlib import resources
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.traces import write_memory_trace
from evidence.translation import reference as module
from evidence.translation.accuracy import with_table
from evidence.translation.reference import (
    Line,
    expected_text,
    markdown,
    validate,
)
from evidence.translation.trends import Trend
from evidence.validation import Validation
from tests.simulators.translation.traces import pages

FOLDER = resources.files("evidence.translation")


def committed() -> dict[str, list[float]]:
    data: dict[str, list[float]] = json.loads(FOLDER.joinpath("data/accuracy.json").read_text())
    return data


def validation(*lines: Line) -> Validation[Line]:
    return Validation(lines, module.COLUMNS, module.GROUPS, ())


def line(key: str, ours: float, shortfall: float) -> Line:
    subject, where = key.split(" / ")
    return Line(subject, where, "%", "+1", ours, "0 to 1", shortfall)


@pytest.mark.slow
def test_what_ships_is_as_good_as_committed() -> None:
    told: list[str] = []

    found = validate(None, told.append)

    assert found.problems == ()
    assert [row.is_met for row in found.lines if "recorded rows" in row.subject] == [True] * 3
    assert any("random-4gb" in text for text in told)


def test_row_that_was_met_and_is_not_is_a_problem() -> None:
    key = next(key for key, (_, shortfall) in committed().items() if shortfall == 0.0)

    assert module._problems([line(key, 0.5, 0.0)]) == ()
    assert f"{key} must be 0 to 1" in module._problems([line(key, 9.0, 8.0)])[0]


def test_unmet_row_may_not_get_worse() -> None:
    key, shortfall = next((k, s) for k, (_, s) in committed().items() if s > 0.0)

    assert module._problems([line(key, 0.0, shortfall)]) == ()
    assert module._problems([line(key, 0.0, 1.5 * shortfall)])
    assert module._problems([line(key, 0.0, 0.5 * shortfall)]) == ()


def test_figure_that_is_no_number_is_a_problem() -> None:
    key = next(key for key, (_, shortfall) in committed().items() if shortfall == 0.0)

    assert module._problems([line(key, math.nan, math.nan)])


def test_fewer_rows_than_were_compared_are_a_problem() -> None:
    key, (n, _) = next(entry for entry in committed().items() if "recorded rows" in entry[0])
    subject, where = key.split(" / ")

    recorded = module.RECORDED
    assert module._problems([module._counted(subject, where, int(n), int(n), recorded)]) == ()
    assert module._problems([module._counted(subject, where, 3, 3, recorded)]) == (
        f"{key} must have {n:g} rows; there are 3.",
    )


def test_row_that_is_compared_no_more_is_a_problem() -> None:
    lines = [line(key, ours, shortfall) for key, (ours, shortfall) in committed().items()]

    assert module._problems(lines, are_all=True) == ()
    assert module._problems(lines[1:]) == ()
    assert module._problems(lines[1:], are_all=True) == (
        f"{lines[0].key} must be compared; it is not.",
    )


def test_row_that_is_not_committed_is_a_problem() -> None:
    assert "must be in data/accuracy.json" in module._problems([line("new / row", 1.0, 0.0)])[0]


def test_trend_reads_as_a_row() -> None:
    met = module._of_trend(Trend("walks", "gups", "%", "-50", -60.0, -98.0, -50.0))
    unmet = module._of_trend(Trend("gain", "gups", "%", "+1", -2.0, 0.0, float("inf")))

    assert (met.accepted, met.is_met) == ("-98 to -50", True)
    assert (unmet.accepted, unmet.is_met, unmet.shortfall) == ("above 0", False, 2.0)
    assert unmet.cells == (
        "published",
        "gain",
        "gups",
        "%",
        "+1",
        -2.0,
        "above 0",
        "NO",
        "no",
    )


def test_figure_within_a_quarter_of_the_published_one_is_near() -> None:
    near = [Trend("walks", "gups", "%", "-50", x, -98.0, -10.0).is_near for x in (-38, -37, -62.5)]
    others = [
        Trend("walks", "gups", "%", "-50", -50.0, -98.0, -10.0, "sign"),
        Trend("walks", "gups", "%", "below 33", 33.0, -98.0, 33.0),
    ]

    assert near == [True, False, True]
    assert [trend.is_near for trend in others] == [False, False]


def test_counts_on_the_traces_of_another_folder_must_all_agree() -> None:
    agreed = module._counted("misses of srrip, equal", "mine", 3, 3)
    off = module._counted("misses of srrip, equal", "mine", 2, 3)

    assert module._problems([agreed]) == ()
    assert module._problems([off]) == ("misses of srrip, equal / mine must agree in 3 rows; 2 do.",)


def test_markdown_marks_what_is_not_met() -> None:
    rows = markdown(validation(line("a / b", 0.5, 0.0), line("c / d", 3.0, 2.0))).splitlines()

    assert rows[2] == "| published | a | b | +1 | 0.5 % | 0 to 1 | yes | no |"
    assert rows[3] == "| published | c | d | +1 | 3 % | 0 to 1 | **no** | no |"


def test_expected_text_keeps_what_is_compared() -> None:
    text = expected_text(validation(line("a / b", 0.123456, 0.0)))

    assert json.loads(text) == {"a / b": [0.1235, 0.0]}


def test_table_replaces_the_one_before() -> None:
    readme = "Top\n<!-- accuracy: by a command -->\nold\n<!-- end of accuracy -->\nrest\n"

    once = with_table(readme, "| new |\n")

    assert "old" not in once
    assert once == with_table(once, "| new |\n")
    assert once.endswith("<!-- end of accuracy -->\nrest\n")


def test_readme_shows_every_committed_row() -> None:
    readme = resources.files("archgym.simulators.translation").joinpath("README.md").read_text()

    for key, (_, shortfall) in committed().items():
        subject, where = key.split(" / ")
        # Rows of one kind that are all met stand in one line.
        cells = ((r, r.split(" | ")) for r in readme.splitlines() if f" | {subject} | " in r)
        row = next(r for r, c in cells if where == c[2] or where in c[2].split(", "))
        assert ("**no**" in row) == (shortfall > 0.0), key


def test_wrong_folder_is_told_before_anything_runs(tmp_path: Path) -> None:
    told: list[str] = []

    with pytest.raises(FileFormatError, match=r"holds none of pycachesim_\*\.csv, srrip"):
        validate(tmp_path, told.append)
    (tmp_path / "pycachesim_gups.csv").touch()
    with pytest.raises(FileFormatError, match="holds results but no folder traces"):
        validate(tmp_path, told.append)

    assert told == []


def test_folder_with_one_results_file_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A trace of four pages in a TLB of two: FIFO misses all of 0 1 2 3 0 1.
    monkeypatch.setattr(module, "_golden_lines", lambda progress: [])
    monkeypatch.setattr(module, "generated_trends", lambda traces, progress: [])
    (tmp_path / "traces").mkdir()
    write_memory_trace(pages([0, 1, 2, 3, 0, 1]), tmp_path / "traces" / "mine.npz")
    (tmp_path / "srrip.csv").write_text(
        "trace,unit_bytes,entries,ways,misses\nmine,4096,4,4,4\nmine,4096,1,1,5\n"
    )
    told: list[str] = []

    found = validate(tmp_path, told.append)

    assert [(row.where, row.ours, row.published) for row in found.lines] == [("mine", 1, "2")]
    assert found.problems == ("misses of srrip, equal / mine must agree in 2 rows; 1 do.",)
    assert any("lacks traces of gups" in text for text in told)


@pytest.mark.slow
def test_null_traces_of_the_reference_stay_null(reference: Path) -> None:
    from archgym.simulators.translation.layout import Memory
    from evidence.translation.trends import LARGE_DESIGNS, tried

    trace = module._traces(reference)["sqlite"]()
    designs = {name: LARGE_DESIGNS[name] for name in ("radix", "victima")}

    found = tried(trace, designs, Memory())

    assert found["radix"].l2_tlb_mpki < 0.1
    assert found["radix"].cycles / found["victima"].cycles == pytest.approx(1.0, abs=0.003)
