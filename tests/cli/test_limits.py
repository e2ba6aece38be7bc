"""Limits and named metrics on the command line."""

from pathlib import Path

import pytest

from tests.cli.conftest import Archgym


def test_search_with_a_limit_ends_with_a_design_that_meets_it(
    archgym: Archgym, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    limit = "power_mw <= 600"
    words = f"search plugin -w light --minimise latency_ns -a genetic -n 60 --seed 1 --out {out}"
    ran = archgym(*words.split(), "--subject-to", limit)

    assert ran.code == 0, ran.err
    assert "Limits: met" in ran.out
    shown = archgym("show", out, "--json").json
    assert shown["limits"] == [limit]
    assert shown["missed_limits"] == []
    assert shown["best"]["metrics"]["power_mw"] <= 600


def test_evaluate_says_which_limit_is_missed(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "-w", "light", "--subject-to", "power_mw <= 0.5")

    assert ran.code == 0, ran.err
    assert "Limits: missed: power_mw " in ran.out
    assert "> 0.5" in ran.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--subject-to", "power <= 3"], "Unknown metric 'power'. Did you mean 'power_mw'?"),
        (["--subject-to", "power_mw = 3"], "A limit must read `metric <= number`"),
        (["--subject-to", "power_mw <= 1, power_mw >= 2"], "must not contradict each other"),
        (["--minimise", "latency"], "Unknown metric 'latency'. Did you mean 'latency_ns'?"),
        (["--minimise", "latency_ns", "--objective", "balanced"], "`objective` must be left out"),
    ],
)
def test_limits_that_do_not_fit_are_refused(
    archgym: Archgym, options: list[str], message: str
) -> None:
    ran = archgym("evaluate", "plugin", "-w", "light", *options)

    assert ran.code == 1
    assert message in ran.err


def test_explain_says_whether_limits_are_met(archgym: Archgym) -> None:
    given = ("explain", "default", "plugin", "-w", "light")

    met = archgym(*given, "--subject-to", "power_mw <= 900")
    missed = archgym(*given, "--subject-to", "power_mw <= 0.5")

    assert "Limits: met" in met.out
    assert "Limits: missed: power_mw" in missed.out
    data = archgym(*given, "--subject-to", "power_mw <= 0.5", "--json").json
    assert data["missed_limits"][0].startswith("power_mw ")


def test_search_that_misses_its_limits_ends_with_code_3(archgym: Archgym) -> None:
    given = ("search", "plugin", "-w", "light", "-a", "random", "-n", "5", "--subject-to")

    met = archgym(*given, "power_mw <= 900", "--out", "met")
    missed = archgym(*given, "power_mw <= 0.5", "--out", "missed")
    data = archgym(*given, "power_mw <= 0.5", "--out", "json", "--json")

    assert (met.code, missed.code, data.code) == (0, 3, 3)
    assert "Limits: missed: power_mw" in missed.out
    assert data.json["missed_limits"]
    assert archgym("resume", "missed").code == 3


def test_explain_names_designs_that_miss_a_limit(archgym: Archgym) -> None:
    found = archgym("explain", "default", "plugin", "-w", "light", "--subject-to", "power_mw <= 15")
    beyond = archgym(
        "explain", "default", "plugin", "-w", "light", "--subject-to", "power_mw <= 0.5"
    )  # fmt: skip

    assert "misses a limit" in found.out
    assert "further from the limits" not in found.out
    assert ": misses a limit\n" in beyond.out
    assert "further from the limits" in beyond.out


def test_table_says_whether_its_optima_meet_limits(archgym: Archgym) -> None:
    words = "table build plugin -w light --objective balanced[power_mw<=20] --out t.parquet"
    built = archgym(*words.split())
    shown = archgym("table", "info", "t.parquet")

    assert built.code == 0, built.err
    assert "balanced[power_mw<=20] on light: Limits: met" in shown.out
    optima = archgym("table", "info", "t.parquet", "--json").json["optima"]
    assert all(optimum["missed_limits"] == [] for optimum in optima)


def test_sweep_says_how_many_runs_meet_limits(archgym: Archgym) -> None:
    Path("plan.yaml").write_text(
        "budget: 10\nseeds: [0, 1]\nagents: {random: }\ntasks:\n  easy: {simulator: plugin, "
        "subject_to: power_mw <= 900}\n  hard: {simulator: plugin, subject_to: power_mw <= 0.5}\n"
    )

    ran = archgym("sweep", "run", "plan.yaml", "--out", "swept")
    shown = archgym("sweep", "report", "swept")

    assert ran.code == 0, ran.err
    text = shown.out
    assert "Limits: met by the best designs of 2 of 2 runs." in text
    assert "Limits: met by the best designs of 0 of 2 runs." in text
    assert "Limits: missed by that of hard/random/seed-0: power_mw" in text
