"""`archgym export` and `archgym simplify`, and studies in the place of designs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import archgym as ag
from archgym.errors import InvalidArgumentError
from archgym.studies.portfolio import portfolio
from archgym.tables import build_table
from tests.cli.conftest import Archgym


@pytest.fixture
def study(archgym: Archgym, tmp_path: Path) -> Path:
    out = tmp_path / "study"
    words = f"search plugin -w light --minimise latency_ns -a genetic -n 40 --seed 1 --out {out}"
    ran = archgym(*words.split(), "--subject-to", "power_mw <= 20")
    assert ran.code == 0, ran.err
    return out


def test_formats_of_a_study_are_listed(archgym: Archgym, study: Path) -> None:
    ran = archgym("export", study)

    assert ran.code == 0, ran.err
    for name in ("json", "markdown"):
        assert name in ran.out


def test_design_of_a_study_is_exported_and_evaluated_again(archgym: Archgym, study: Path) -> None:
    ran = archgym("export", study, "--as", "json", "--out", "best.json")

    assert ran.code == 0, ran.err
    assert "Limits: met" in ran.out
    data = json.loads(Path("best.json").read_text())
    again = archgym("evaluate", "plugin", "-w", "light", "--design", "best.json", "--json").json
    assert again["metrics"] == data["metrics"]["light"]


def test_single_file_goes_to_standard_output(archgym: Archgym) -> None:
    ran = archgym("export", "default", "plugin", "--as", "markdown")

    assert ran.code == 0, ran.err
    assert ran.out.startswith("# plugin/default/light/low-latency-v0")


def test_exported_design_names_its_task(archgym: Archgym, study: Path) -> None:
    archgym("export", study, "--as", "json", "--out", "best.json")
    table = archgym("export", study, "--as", "markdown").out

    ran = archgym("export", "best.json", "--as", "markdown")

    assert ran.code == 0, ran.err
    assert ran.out == table
    assert "another version" not in ran.err


def test_exported_design_of_another_task_is_said(archgym: Archgym, study: Path) -> None:
    archgym("export", study, "--as", "json", "--out", "best.json")
    text = Path("best.json").read_text()
    digest = json.loads(text)["digest"]
    Path("best.json").write_text(text.replace(digest, "0" * len(digest)))

    ran = archgym("export", "best.json", "--as", "markdown")

    assert ran.code == 0, ran.err
    assert "best.json was written for another version of task plugin/" in ran.err


def test_format_of_another_option_names_the_option(archgym: Archgym) -> None:
    ran = archgym("export", "default", "dram", "--as", "ramulator")

    assert ran.code == 1
    assert "needs `--option device=ddr5`" in ran.err
    assert "'dramsys', 'json', 'markdown'." in ran.err


def test_file_given_to_the_short_option_gets_a_hint(archgym: Archgym, study: Path) -> None:
    ran = archgym("export", study, "--as", "json", "-o", "design.json")

    assert ran.code == 1
    assert "For a file, write --out design.json" in ran.err


def test_formats_of_a_study_are_in_the_message(archgym: Archgym, study: Path) -> None:
    ran = archgym("export", study, "--as", "xyz")

    assert ran.code == 1
    assert "Known: 'json', 'markdown'." in ran.err


def test_missed_limits_are_said(archgym: Archgym) -> None:
    ran = archgym(
        "export", "default", "plugin", "--as", "json", "--out", "x.json",
        "--subject-to", "power_mw <= 1",
    )  # fmt: skip

    assert ran.code == 0, ran.err
    assert "Limits: missed: power_mw" in ran.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("export default plugin --as jsn", "Unknown format 'jsn' of simulator 'plugin'"),
        ("export default plugin --as optuna", "Unknown format 'optuna' of simulator 'plugin'"),
        ("export default --as json", "TASK must be given"),
        ("export absent.json plugin --as json", "absent.json"),
        ("simplify default", "TASK must be given"),
        ("simplify default plugin --out here/x.json --error 200", "less than or equal to 100"),
    ],
)
def test_bad_input_is_one_clear_message(archgym: Archgym, words: str, message: str) -> None:
    ran = archgym(*words.split())

    assert ran.code in (1, 2)
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_existing_file_is_kept(archgym: Archgym) -> None:
    Path("x.json").write_text("{}")

    ran = archgym("export", "default", "plugin", "--as", "json", "--out", "x.json")

    assert ran.code == 1
    assert "must name a new file" in ran.err
    assert Path("x.json").read_text() == "{}"


def test_study_is_simplified_with_limits_kept(archgym: Archgym, study: Path) -> None:
    ran = archgym("simplify", study, "--out", "simple.json")
    data = archgym("simplify", study, "--json").json

    assert ran.code == 0, ran.err
    assert "Limits: met" in ran.out
    assert "Path from the default design" in ran.out
    assert data["missed_limits"] == []
    exported = json.loads(Path("simple.json").read_text())
    assert exported["design"] == data["design"]
    assert exported["missed_limits"] == []


def test_evaluate_takes_a_study_in_place_of_task_and_design(archgym: Archgym, study: Path) -> None:
    shown = archgym("show", study, "--json").json
    alone = archgym("evaluate", study, "--json").json
    elsewhere = archgym("evaluate", "plugin", "-w", "heavy", "--design", study, "--json").json

    assert alone["metrics"] == shown["best"]["metrics"]
    assert alone["design"] == elsewhere["design"] == shown["best"]["design"]
    assert alone["missed_limits"] == []


def test_explain_takes_a_study(archgym: Archgym, study: Path) -> None:
    shown = archgym("show", study, "--json").json
    explained = archgym("explain", study, "--json").json

    assert explained["design"] == shown["best"]["design"]


@pytest.fixture
def function_study(tmp_path: Path) -> Path:
    @ag.simulator(
        space=[ag.PowerOfTwo(name="ways", low=1, high=16)], metrics={"amat_ns": "minimise"}
    )
    def cache(design: Mapping[str, int]) -> dict[str, float]:
        return {"amat_ns": 2.0 + 0.1 * design["ways"] + 8.0 / design["ways"]}

    ag.search(cache, budget=5, folder=tmp_path / "function")
    return tmp_path / "function"


@pytest.mark.parametrize("command", ["explain", "simplify", "export"])
def test_study_of_a_function_is_refused_with_what_reads_it(
    archgym: Archgym, function_study: Path, command: str
) -> None:
    ran = archgym(command, function_study)

    assert ran.code == 1
    assert "is the Python function 'cache'" in ran.err
    assert "`archgym show" in ran.err
    assert "ag.SearchResult.read(" in ran.err
    assert "Unknown simulator" not in ran.err


def test_report_of_a_function_has_no_error(archgym: Archgym, function_study: Path) -> None:
    ran = archgym("report", function_study, "--out", "report.html")

    assert ran.code == 0, ran.err
    page = Path("report.html").read_text()
    assert "Unknown simulator" not in page
    assert "the task is a Python function, which a report cannot call." in page


def test_resume_of_a_function_says_how_to_continue_it(
    archgym: Archgym, function_study: Path
) -> None:
    ran = archgym("resume", function_study, "--budget", "9")

    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "is the study of the Python function 'cache'" in ran.err
    assert "Unknown simulator" not in ran.err
    call = f"archgym.Study.open({str(function_study)!r}, archgym.Task.make(cache, "
    assert f'{call}objective="minimise:amat_ns")).run(budget=10)' in ran.err


def test_evaluate_and_explain_take_an_exported_file(archgym: Archgym, study: Path) -> None:
    assert archgym("export", study, "--as", "json", "--out", "best.json").code == 0
    best = archgym("show", study, "--json").json["best"]

    evaluated = archgym("evaluate", "best.json", "--json").json
    explained = archgym("explain", "best.json", "--json").json

    assert evaluated["design"] == explained["design"] == best["design"]
    assert evaluated["metrics"] == best["metrics"]
    refused = archgym("evaluate", "best.json", "--design", study)
    assert (refused.code, refused.err.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (("report", "{}", "--no-evaluate", "--out", "a.html"), "a.html"),
        (("report", "{}", "--no-evaluate", "--json", "a.json"), "a.json"),
        (("report", "{}", "--no-evaluate", "--csv", "a"), "a/scores.csv"),
        (("show", "{}", "--plot", "a.svg"), "a.svg"),
    ],
)
def test_own_output_is_replaced_and_a_file_of_the_user_is_not(
    archgym: Archgym, study: Path, command: tuple[str, ...], path: str
) -> None:
    words = [word.format(study) for word in command]
    first, second = archgym(*words), archgym(*words)
    assert (first.code, second.code) == (0, 0), (first.err, second.err)
    Path(path).write_text("mine")

    refused = archgym(*words)

    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "add --force" in refused.err
    assert Path(path).read_text() == "mine"
    assert archgym(*words, "--force").code == 0
    assert Path(path).read_text() != "mine"


def test_exported_design_is_read_at_a_url(archgym: Archgym, study: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    url = "memory://archgym-export/best.json"
    assert archgym("export", study, "--as", "json", "--out", url).code == 0
    try:
        latency = archgym("evaluate", study, "--json").json["metrics"]
        of_plugin = ["plugin", "-w", "light"]
        alone = archgym("evaluate", url, "--json")
        given = archgym("evaluate", *of_plugin, "--design", url, "--json")
        search = archgym("search", *of_plugin, "--start", url, "-n", "2", "--out", "again")
    finally:
        fsspec.filesystem("memory").rm("/archgym-export", recursive=True)

    assert (alone.code, given.code, search.code) == (0, 0, 0), alone.err + given.err + search.err
    assert alone.json["metrics"] == given.json["metrics"] == latency
    assert ag.read_study("again").records.indices[0].tolist() == (
        ag.read_study(study).records.indices[ag.read_study(study).records.reward.argmax()].tolist()
    )


def test_reports_and_resumed_sweeps_are_local(archgym: Archgym, study: Path) -> None:
    page = archgym("report", study, "--out", "s3://bucket/page.html")
    sweep = archgym("sweep", "resume", "s3://bucket/sweep")

    assert page.code == sweep.code == 1
    assert "A report must be written in a folder of a file system; got s3://bucket" in page.err
    assert "A sweep that is resumed must be written in a folder" in sweep.err


def test_missed_limit_is_the_reason_why_a_row_is_not_feasible(study: Path) -> None:
    rows = ag.read_study(study).to_dataframe()

    missed = rows[~rows.feasible & rows.latency_ns.notna()]
    assert len(missed)
    assert missed.reason.str.contains("power_mw").all()
    assert (rows[rows.feasible].reason == "").all()


def test_portfolio_of_a_function_names_its_tasks(tmp_path: Path) -> None:
    @ag.simulator(space=[ag.Integer(name="n", low=1, high=4)], metrics={"t": "minimise"})
    def own(design: Mapping[str, Any]) -> dict[str, float]:
        return {"t": 1.0 / design["n"]}

    ag.Study.create(tmp_path / "own", ag.Task.make(own), "random", budget=4).run()

    with pytest.raises(InvalidArgumentError, match=r"portfolio\(studies, tasks="):
        portfolio([tmp_path / "own"])


def test_search_on_the_table_of_a_function_names_commands_that_work(archgym: Archgym) -> None:
    @ag.simulator(space=[ag.Integer(name="n", low=1, high=4)], metrics={"t": "minimise"})
    def own(design: Mapping[str, Any]) -> dict[str, float]:
        return {"t": 1.0 / design["n"]}

    build_table(ag.Task.make(own), "own.parquet")

    found = archgym("search", "own", "--from-table", "own.parquet", "-n", "4", "--out", "o1")

    assert found.code == 0, found.err
    assert "archgym report o1" in found.out
    assert "explain" not in found.out
