"""`archgym show` of objectives with several terms."""

from pathlib import Path

import pytest

from archgym.studies.study import Study
from tests.cli.conftest import Archgym
from tests.toys import ToyAgent, toy_task


@pytest.fixture
def balanced(archgym: Archgym) -> Path:
    """A finished study of an objective with two terms."""
    ran = archgym(
        "search", "plugin", "--objective", "balanced", "-a", "random", "-n", "40",
        "--out", "balanced",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    return Path("balanced")


def test_show_writes_the_front_with_units_and_what_is_special(
    archgym: Archgym, balanced: Path
) -> None:
    ran = archgym("show", balanced)

    assert "Pareto front (" in ran.out
    assert "hypervolume" in ran.out
    front = ran.out.split("Pareto front (")[1]
    for text in ("latency_ns [ns]", "power_mw [mW]", "default", "Common design"):
        assert text in front


def test_show_gives_the_front_as_json(archgym: Archgym, balanced: Path) -> None:
    front = archgym("show", balanced, "--json").json["front"]

    points = front["points"]
    latencies = [point["metrics"]["latency_ns"] for point in points]
    powers = [point["metrics"]["power_mw"] for point in points]
    assert len(points) > 2
    assert latencies == sorted(latencies)
    assert powers == sorted(powers, reverse=True)
    assert points[0].keys() == {"seq", "evaluation", "designs", "terms", "metrics", "design"}
    assert front["reference_point"] == pytest.approx([-0.6931, -0.6931], abs=1e-4)
    assert front["hypervolume"] > 0


def test_objective_of_one_term_has_no_front(archgym: Archgym, study: Path) -> None:
    assert archgym("show", study, "--json").json["front"] is None
    assert "Pareto" not in archgym("show", study).out


def test_long_front_is_shortened(archgym: Archgym, balanced: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("archgym.studies.front._MAX_NUMBERED", 2)
        ran = archgym("show", balanced)

    assert "more points in between; use --json for all." in ran.out


def test_comparison_has_the_hypervolume_at_equal_budget(archgym: Archgym, balanced: Path) -> None:
    archgym(
        "search", "plugin", "--objective", "balanced", "-a", "genetic", "-n", "60",
        "--out", "other",
    )  # fmt: skip

    ran = archgym("show", balanced, "other", "--json")

    volumes = {s["folder"]: s["hypervolume"] for s in ran.json["studies"]}
    alone = archgym("show", balanced, "--json").json["front"]["hypervolume"]
    whole = archgym("show", "other", "--json").json["front"]["hypervolume"]
    assert volumes["balanced"] == alone
    assert 0 < volumes["other"] < whole
    assert "hypervolume" in archgym("show", balanced, "other").out


def test_comparison_for_one_term_has_no_hypervolume(archgym: Archgym, study: Path) -> None:
    archgym("search", "plugin", "-a", "genetic", "-n", "30", "--out", "other")

    assert "hypervolume" not in archgym("show", study, "other").out


@pytest.mark.parametrize(("name", "magic"), [("f.svg", b"<?xml"), ("f.png", b"\x89PNG")])
def test_fronts_of_studies_are_drawn(
    archgym: Archgym, balanced: Path, name: str, magic: bytes
) -> None:
    archgym(
        "search", "plugin", "--objective", "balanced", "-a", "genetic", "-n", "30",
        "--out", "other",
    )  # fmt: skip

    ran = archgym("show", balanced, "other", "--front", name)

    assert ran.code == 0, ran.err
    assert f"Picture: {name}" in ran.out
    assert Path(name).read_bytes().startswith(magic)


def test_both_pictures_can_be_drawn_at_once(archgym: Archgym, balanced: Path) -> None:
    ran = archgym("show", balanced, "--plot", "curve.svg", "--front", "front.svg")

    assert ran.code == 0, ran.err
    text = Path("front.svg").read_text()
    assert "lower is better" in text
    assert "lower is better" not in Path("curve.svg").read_text()


def test_front_of_an_objective_with_one_metric_cannot_be_drawn(
    archgym: Archgym, study: Path
) -> None:
    ran = archgym("show", study, "--front", "f.png")

    assert ran.code == 1
    assert "`--front` needs an objective with terms of two metrics" in ran.err
    assert "--front-metrics, such as latency_ns,power_mw" in ran.err
    assert not Path("f.png").exists()


def test_front_is_over_the_metrics_that_are_named(archgym: Archgym, study: Path) -> None:
    drawn = archgym(
        "show", study, "--front", "f.svg", "--front-metrics", "power_mw, throughput_gbs"
    )  # fmt: skip
    front = archgym("show", study, "--front-metrics", "power_mw,throughput_gbs", "--json").json

    assert drawn.code == 0, drawn.err
    assert "power_mw [mW], lower is better" in Path("f.svg").read_text()
    assert "throughput_gbs [GB/s]" in drawn.out.split("Pareto front (")[1]
    points = [tuple(point["metrics"].values()) for point in front["front"]["points"]]
    # As power falls, so does throughput.
    assert points == sorted(points)
    assert [throughput for _, throughput in points] == sorted({t for _, t in points})


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        ("power_mw", "two metrics or more"),
        ("power_mw,power_mw", "each once"),
        ("power_mw,latenci_ns", "'latency_ns'"),
        ("power_mw,entries", "`entries` is not one"),
    ],
)
def test_metrics_without_a_front_are_refused(
    archgym: Archgym, study: Path, names: str, hint: str
) -> None:
    ran = archgym("show", study, "--front-metrics", names)

    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert hint in ran.err


def test_front_in_another_format_is_refused(archgym: Archgym, balanced: Path) -> None:
    ran = archgym("show", balanced, "--front", "f.gif")

    assert ran.code == 1
    assert "`--front` must end in .svg, .png or .pdf" in ran.err


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--front", "f.svg")], ids=str)
def test_study_without_a_design_that_was_built_is_shown(
    archgym: Archgym, arguments: tuple[str, ...]
) -> None:
    Study.create("new", toy_task("light", "balanced"), ToyAgent, seed=1, budget=5).close()

    ran = archgym("show", "new", *arguments)

    assert ran.code == 0, ran.err


def test_front_of_three_metrics_has_a_panel_for_each_after_the_first(
    archgym: Archgym, study: Path
) -> None:
    names = "power_mw,throughput_gbs,latency_ns"

    drawn = archgym("show", study, "--front", "f.svg", "--front-metrics", names)

    assert drawn.code == 0, drawn.err
    text = Path("f.svg").read_text()
    assert text.count("power_mw [mW], lower is better") == 2
    for name in ("throughput_gbs [GB/s]", "latency_ns [ns], lower is better"):
        assert text.count(name) == 1
