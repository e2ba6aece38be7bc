"""Commands `measure` and `decide`, and `--measured` of others."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Archgym


def measured(archgym: Archgym, study: Path) -> tuple[str, float]:
    """Measure the best design of a study 10 % above what is simulated."""
    best = archgym("decide", study, "--json").json["best"]
    metric, (value, _, _) = next(iter(best["metrics"].items()))
    Path("m.csv").write_text(
        f"evaluation,{metric},date,extra\n{best['evaluation']},{1.1 * value},today,7\n"
    )
    return metric, value


def test_study_is_measured_and_decided(archgym: Archgym, study: Path) -> None:
    metric, _ = measured(archgym, study)

    ran = archgym("measure", study, "m.csv")
    decided = archgym("decide", study, "--next", "1")
    as_json = archgym("decide", study, "--json").json

    assert ran.code == 0
    assert "1 measurement added to study/measured.jsonl, which has 1 now." in ran.out
    assert "1 column unused, no metric of the simulator (kept): extra" in ran.out
    assert "1 measurement of 1 design count." in decided.out
    assert "Measuring more is not worth it" in decided.out
    assert "Measure evaluation" not in decided.out
    assert metric in decided.out
    best = as_json["best"]
    assert f"Evaluation {best['evaluation']}: " in decided.out
    assert all(f"{name}={value}" in decided.out for name, value in best["design"].items())
    assert as_json["measurements"] == 1
    assert as_json["prior"]["origin"] == "chosen"


def test_all_commands_number_evaluations_alike(archgym: Archgym, study: Path) -> None:
    shown = archgym("show", study).out
    (number,) = re.findall(r"Best design \(evaluation (\d+)", shown)
    reported = archgym("report", study, "--out", "page.html").out

    decided = archgym("decide", study).out

    assert f"at evaluation {number}, has" in " ".join(reported.split())
    assert f"evaluation {number} is the best of its run" in Path("page.html").read_text("utf-8")
    assert f"Evaluation {number} is the best" in decided
    # `measure` takes the number that is named.
    (text,) = re.findall(rf"Evaluation {number}: (.+?)\n\n", decided, re.DOTALL)
    metric, (value, _, _) = next(
        iter(archgym("decide", study, "--json").json["best"]["metrics"].items())
    )
    Path("m.csv").write_text(f"evaluation,{metric}\n{number},{value}\n")
    assert archgym("measure", study, "m.csv").code == 0
    design = json.loads((study / "measured.jsonl").read_text().splitlines()[-1])["design"]
    assert set(text.replace(",", "").split()) == {f"{n}={v}" for n, v in design.items()}


def test_evaluation_and_search_take_measurements(archgym: Archgym, study: Path) -> None:
    metric, value = measured(archgym, study)
    archgym("measure", study, "m.csv", "--to", "bench.jsonl")
    design = archgym("decide", study, "--json").json["best"]["design"]
    chosen = [word for n, v in design.items() for word in ("--set", f"{n}={v}")]

    found = archgym("evaluate", "plugin", *chosen, "--measured", "bench.jsonl", "--json").json
    ran = archgym(
        "search", "plugin", "-a", "random", "-n", "4", "--measured", "bench.jsonl",
        "--confidence", "0.9", "--out", "again", "--json",
    )  # fmt: skip

    assert found["metrics"][f"simulated_{metric}"] == value
    assert 1.05 * value < found["metrics"][metric] < 1.1 * value
    assert "measured=" in found["task"]
    assert ran.code == 0
    assert "confidence=0.9,measured=" in ran.json["task"]
    assert archgym("resume", "again", "-n", "6").code == 0


def test_bad_file_is_one_line_and_keeps_nothing(archgym: Archgym, study: Path) -> None:
    metric, value = measured(archgym, study)
    Path("m.csv").write_text(f"evaluation,{metric}\n1,{value}\n1,-1\n")

    ran = archgym("measure", study, "m.csv")

    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "m.csv:3:" in ran.err
    assert not (study / "measured.jsonl").exists()


def test_unknown_rule_is_refused(archgym: Archgym, study: Path) -> None:
    ran = archgym("decide", study, "--robust", "always")

    assert ran.code == 1
    assert "`--robust` must be one of no, expected, p10" in ran.err


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_measurements_that_are_no_file_are_not_passed_over(
    archgym: Archgym, study: Path, make: Callable[[Path], None]
) -> None:
    make(study / "measured.jsonl")

    ran = archgym("decide", study)

    assert ran.code == 1
    assert "measured.jsonl" in ran.err


def test_measurement_that_was_cut_off_is_named(archgym: Archgym, study: Path) -> None:
    measured(archgym, study)
    archgym("measure", study, "m.csv")
    again = archgym("measure", study, "m.csv")
    assert "0 measurements added" in again.out
    assert "1 row not added, equal to earlier ones" in again.err
    Path("m.csv").write_text(Path("m.csv").read_text("utf-8").replace("today", "tomorrow"))
    archgym("measure", study, "m.csv")
    file = study / "measured.jsonl"
    file.write_bytes(file.read_bytes()[:-20])

    ran = archgym("decide", study)

    assert ran.code == 1
    assert "measured.jsonl:3: the line, or one before it, was changed or cut off" in ran.err


def test_new_place_of_measurements_is_asked_for_and_taken(archgym: Archgym, study: Path) -> None:
    measured(archgym, study)
    archgym("measure", study, "m.csv", "--to", "bench.jsonl")
    archgym("search", "plugin", "-a", "random", "-n", "2", "--measured", "bench.jsonl",
            "--out", "calibrated")  # fmt: skip
    Path("far/away").mkdir(parents=True)
    moved = Path("bench.jsonl").rename("far/away/moved.jsonl")

    for command in ("decide", "resume"):
        gone = archgym(command, "calibrated")
        assert gone.code == 1
        assert "bench.jsonl must hold the measurements" in gone.err
        assert "--measured FILE" in gone.err
    again = archgym("resume", "calibrated", "-n", "3", "--measured", moved, "--json")
    assert again.json["evaluations"] == 3
    refused = archgym("resume", study, "--measured", moved)
    assert "`--measured` must be left out; study was made without measurements" in refused.err


def test_row_that_contradicts_its_evaluation_is_refused(archgym: Archgym, study: Path) -> None:
    metric, value = measured(archgym, study)
    best = archgym("decide", study, "--json").json["best"]
    banks = 4 if best["design"]["banks"] != 4 else 8
    Path("m.csv").write_text(f"evaluation,banks,{metric}\n{best['evaluation']},{banks},{value}\n")

    ran = archgym("measure", study, "m.csv")

    assert ran.code == 1
    assert f"has banks={best['design']['banks']}, not {banks}" in ran.err
    assert not (study / "measured.jsonl").exists()


def test_options_that_a_study_does_not_take_are_named(archgym: Archgym, study: Path) -> None:
    ran = archgym("evaluate", study, "--confidence", "0.9", "-o", "device=ddr4-2400")

    assert ran.code == 1
    assert "A study has its task; leave out --option, --confidence." in ran.err
