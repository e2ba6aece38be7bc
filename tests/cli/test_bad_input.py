"""Bad input: one line on standard error, the right exit code, never a traceback."""

from pathlib import Path

import pytest

from tests.cli.conftest import Archgym
from tests.privileges import bound_by_permissions

WRONG_COMMANDS = [
    (["serch", "plugin"], 2, "serch"),
    (["search"], 2, "SIMULATOR"),
    (["search", "plugin", "--budget", "none"], 2, "budget"),
    (["search", "plugin", "--budget", "0"], 2, "budget"),
    (["search", "plugin", "--seed", "-1"], 2, "seed"),
    (["search", "plugin", "--bugdet", "5"], 2, "--budget"),
    (["search", "plugn"], 1, "'plugin'"),
    (["search", "plugin", "--agent", "genetik"], 1, "'genetic'"),
    (["search", "plugin", "--space", "defalt"], 1, "'default'"),
    (["search", "plugin", "--workload", "heavi"], 1, "'heavy'"),
    (["search", "plugin", "--workload", "heavy=much"], 1, "name=weight"),
    (["search", "plugin", "--workload", "heavy=-1"], 1, "weight"),
    (["search", "plugin", "-w", "heavy", "-w", "heavy"], 1, "once"),
    (["search", "plugin", "--objective", "low-lateny"], 1, "'low-latency'"),
    (["search", "plugin", "--objective", "target:latency"], 1, "metric<=number"),
    (["search", "plugin", "--fidelity", "standrad"], 1, "'standard'"),
    (["search", "plugin", "--option", "devise=large"], 1, "'device'"),
    (["search", "plugin", "--option", "device"], 1, "name=value"),
    (["search", "plugin", "--device", "large"], 2, "No such option: --device"),
    (["search", "plugin", "--option", "device=large", "-o", "device=small"], 1, "once"),
    (["search", "plugin", "--option", "device=larg"], 1, "'large'"),
    (["search", "plugin", "--option", "fidelity=x"], 1, "--fidelity"),
    (["search", "plugin", "-a", "genetic", "--hyper", "populaton=3"], 1, "'population'"),
    (["search", "plugin", "--hyper", "population=many"], 1, "population"),
    (["search", "plugin", "--timeout", "0"], 2, "--timeout"),
    (["search", "plugin", "--seed", "9223372036854775808"], 2, "--seed"),
    (["search", "plugin", "--workers", "100000"], 2, "256"),
    (["search", "plugin", "--out", ""], 2, "--out"),
    (["describe", "plugin", "-w", "light", "-w", "heavy"], 1, "one workload"),
    (["bench", "run", "random", "--task", "x", "--split", "x", "--out", "x"], 2, "either"),
    (["search", "plugin/default"], 1, "simulator/space/workload/objective-vN"),
    (["search", "plugin/default/light/low-power-v7"], 1, "-v0"),
    (["evaluate", "plugin", "--set", "bank=4"], 1, "'banks'"),
    (["evaluate", "plugin", "--set", "banks=5"], 1, "`banks` must be one of 1, 2, 4, 8, 16"),
    (["evaluate", "plugin", "--set", "banks=many"], 1, "`banks` must be one of"),
    (["evaluate", "plugin", "--set", "banks"], 1, "name=value"),
    (["evaluate", "plugin", "--set", "banks=4", "--set", "banks=8"], 1, "twice"),
    (["evaluate", "plugin", "--design", "absent.json"], 1, "no such file"),
    (["evaluate", "plugin", "--option", "trouble=raise", "--set", "depth=3"], 1, "the toy broke"),
    (["describe", "plugin", "--workload", "absent.stl"], 1, "absent.stl"),
    (["list", "agent"], 1, "'agents'"),
    (["list", "--simulator", "plugn"], 1, "'plugin'"),
    (["show", "absent"], 1, "absent"),
    (["show", "absent", "absent"], 1, "twice"),
    (["resume", "absent"], 1, "absent"),
    (["dataset", "build", "absent", "--out", "new"], 1, "absent"),
    (["dataset", "build", "absent", "--out", "a.xlsx"], 1, "absent"),
    (["dataset", "build", "absent", "--out", "a", "--split", "size"], 1, "`by` must be one of"),
    (["dataset", "split", "absent", "--by", "design", "--out", "new"], 1, "absent"),
    (["dataset", "merge", "absent", "--out", "new"], 1, "absent"),
    (["dataset", "info", "absent"], 1, "absent"),
    (["dataset", "verify", "absent"], 1, "absent"),
    (["validate", "plugin"], 1, "reference results"),
    (["validate", "dram", "--reference", "absent"], 1, "does not exist"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "hint"), WRONG_COMMANDS, ids=[" ".join(w[0]) for w in WRONG_COMMANDS]
)
def test_wrong_command_is_refused_in_one_line(
    archgym: Archgym, arguments: list[str], code: int, hint: str
) -> None:
    ran = archgym(*arguments)

    assert_refused(ran.err, hint)
    assert ran.code == code
    assert not Path("runs").exists()


HOSTILE = {
    "not JSON": ("{", "design.json:1:"),
    "a list": ("[1, 2]", "JSON object"),
    "empty": ("", "design.json:1:"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "NaN": ('{"banks": NaN}', "NaN"),
    "large": (" " * (2**20 + 1), "below 1048576 bytes"),
    "unknown name": ('{"bank": 4}', "design.json: "),
    "twice": ('{"banks": 4, "banks": 8}', "design.json: each name must come once; 'banks'"),
    "a boolean": (
        '{"mode": "off", "banks": true, "depth": 1, "gain": 0.0, "boost": 0}',
        "`banks` must be",
    ),
    "an object": (
        '{"mode": {}, "banks": 1, "depth": 1, "gain": 0.0, "boost": 0}',
        "`mode` must be",
    ),
    "outside": (
        '{"mode": "off", "banks": 1, "depth": 99, "gain": 0.0, "boost": 0}',
        "design.json: `depth` must be one of 1, 2, 3, 4, 5, 6, 7, 8; got 99",
    ),
}


@pytest.mark.parametrize(("content", "hint"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_design_file_is_refused_in_one_line(
    archgym: Archgym, content: str, hint: str
) -> None:
    Path("design.json").write_text(content)

    ran = archgym("evaluate", "plugin", "--design", "design.json")

    assert ran.code == 1
    assert_refused(ran.err, hint)


def test_design_file_of_other_bytes_is_refused(archgym: Archgym) -> None:
    Path("design.json").write_bytes(b"\xff\xfe{")

    ran = archgym("evaluate", "plugin", "--design", "design.json")

    assert ran.code == 1
    assert_refused(ran.err, "design.json")


@pytest.mark.parametrize(
    "command", [["show"], ["resume"], ["dataset", "build", "--out", "new"]], ids=str
)
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"task": 1}', "[" * 100_000])
def test_torn_study_file_is_refused_in_one_line(
    archgym: Archgym, study: Path, command: list[str], content: str
) -> None:
    (study / "study.json").write_text(content)

    ran = archgym(*command, study)

    assert ran.code == 1
    assert_refused(ran.err, "study.json")


def test_torn_journal_is_shown_and_reported(archgym: Archgym, study: Path) -> None:
    journal = study / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-10])

    ran = archgym("show", study)

    assert ran.code == 0
    assert "11 of 12 evaluations" in ran.out
    assert "1 damaged line" in ran.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "x.txt"), "must end in .html"),
        (("-o", "absent/x.html"), "absent/x.html cannot be written"),
        (("--json", "absent/x.json"), "absent/x.json cannot be written"),
        (("--csv", "study/study.json"), "study/study.json cannot be made"),
    ],
)
def test_report_that_cannot_be_written_is_refused_before_the_analysis(
    archgym: Archgym,
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, str],
    words: str,
) -> None:
    monkeypatch.setattr("archgym.report.find", lambda *_: pytest.fail("It was analysed."))

    ran = archgym("report", study, *arguments)

    assert ran.code == 1
    assert_refused(ran.err, words)


def test_search_into_a_folder_with_a_study_is_refused(archgym: Archgym, study: Path) -> None:
    before = (study / "journal.jsonl").read_bytes()

    ran = archgym("search", "plugin", "-n", "5", "--out", study)

    assert ran.code == 1
    assert_refused(ran.err, str(study))
    assert (study / "journal.jsonl").read_bytes() == before


def test_smaller_budget_is_refused(archgym: Archgym, study: Path) -> None:
    ran = archgym("resume", study, "--budget", "3")

    assert ran.code == 1
    assert_refused(ran.err, "at least the 12 evaluations")


def test_read_only_folder_is_refused(archgym: Archgym) -> None:
    Path("locked").mkdir(mode=0o500)

    with bound_by_permissions():
        ran = archgym("search", "plugin", "-n", "5", "--out", "locked/study")

    assert ran.code == 1
    assert_refused(ran.err, "permission is denied")


def test_file_in_place_of_a_folder_is_refused(archgym: Archgym) -> None:
    Path("file").write_text("")

    ran = archgym("search", "plugin", "-n", "5", "--out", "file/study")

    assert ran.code == 1
    assert_refused(ran.err, "file")


@pytest.mark.parametrize("name", ["curve.gif", "absent/curve.png"])
def test_picture_that_cannot_be_written_is_refused(
    archgym: Archgym, study: Path, name: str
) -> None:
    ran = archgym("show", study, "--plot", name)

    assert ran.code == 1
    assert_refused(ran.err, name)


def test_debug_shows_the_traceback(archgym: Archgym) -> None:
    with pytest.raises(LookupError):
        archgym("describe", "absent", "--debug")


def assert_refused(errors: str, hint: str) -> None:
    """One line that begins with "error:" and holds the hint."""
    assert errors.startswith("error: "), errors
    assert errors.count("\n") == 1, errors
    assert hint in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "words",
    [
        ("sweep", "run", "plan.json"),
        ("bench", "run", "random", "--task", "soc-small-edp"),
        ("dataset", "build", "study"),
        ("table", "build", "plugin"),
    ],
)
def test_memory_is_no_place_for_results_of_a_command(
    archgym: Archgym, words: tuple[str, ...]
) -> None:
    suffix = ".parquet" if words[0] == "table" else ""

    ran = archgym(*words, "--out", f"memory://results/of{suffix}")

    # Before: all was computed, and lost.
    assert ran.code != 0
    assert "`--out` must be a place that outlasts the command" in " ".join(ran.err.split())


@pytest.mark.parametrize("command", ["explain", "simplify"])
def test_simulator_in_the_place_of_a_design_is_told_what_to_write(
    archgym: Archgym, command: str
) -> None:
    ran = archgym(command, "dram")

    assert ran.code != 0
    assert "got the simulator 'dram' alone" in ran.err
    assert "write `default dram`" in ran.err


def test_class_in_the_place_of_an_agent_is_told_how_agents_register(archgym: Archgym) -> None:
    ran = archgym("search", "soc", "--agent", "own_agent:MyLocal", "--budget", "2")

    assert ran.code != 0
    assert "must be a registered name, not a class" in ran.err
    assert "entry-point group 'archgym.agents'" in ran.err
