"""`archgym search`, `resume` and `show`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Archgym, write_plugin

ROOT = Path(__file__).resolve().parents[2]


def test_search_writes_a_study_in_a_readable_folder(archgym: Archgym) -> None:
    ran = archgym("search", "plugin", "-a", "random", "-n", "5", "--seed", "3")

    assert ran.code == 0
    assert Path("runs/plugin-default-light-low-latency-random-seed3/journal.jsonl").is_file()


def test_study_at_a_file_url_is_explained_exported_and_reported(archgym: Archgym) -> None:
    url = (Path.cwd() / "my study").as_uri()
    archgym("search", "plugin", "-a", "random", "-n", "5", "--out", url)

    for words in (
        ("explain", url),
        ("export", url, "--as", "json", "--out", (Path.cwd() / "best.json").as_uri()),
        ("report", url, "--out", (Path.cwd() / "page.html").as_uri()),
    ):
        assert archgym(*words).code == 0

    refused = archgym("search", "plugin", "-n", "5", "--out", "file:other")
    assert refused.code == 2
    assert "must have three slashes" in refused.err
    assert sorted(path.name for path in Path.cwd().iterdir()) == [
        "best.json",
        "my study",
        "page.html",
    ]


def test_second_search_gets_a_folder_of_its_own(archgym: Archgym) -> None:
    archgym("search", "plugin", "-a", "random", "-n", "5")

    ran = archgym("search", "plugin", "-a", "random", "-n", "5")

    assert ran.code == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_hyperparameters_are_numbers_where_declared_so(archgym: Archgym) -> None:
    ran = archgym(
        "search", "plugin", "-a", "genetic", "-n", "5", "--hyper", "population=6", "--json"
    )

    assert ran.json["hyperparameters"] == {"population": 6}


def test_search_with_workers_gives_the_same_journal(archgym: Archgym) -> None:
    for workers in ("1", "2"):
        archgym(
            "search",
            "plugin",
            "-a",
            "genetic",
            "-n",
            "30",
            "--out",
            f"w{workers}",
            "--workers",
            workers,
        )

    assert Path("w1/journal.jsonl").read_bytes() == Path("w2/journal.jsonl").read_bytes()


def test_resume_with_a_larger_budget_equals_one_long_search(archgym: Archgym) -> None:
    archgym("search", "plugin", "-n", "30", "--out", "whole")
    archgym("search", "plugin", "-n", "12", "--out", "parts")

    ran = archgym("resume", "parts", "--budget", "30")

    assert ran.code == 0
    assert Path("parts/journal.jsonl").read_bytes() == Path("whole/journal.jsonl").read_bytes()


def test_resume_and_show_tell_of_segments(archgym: Archgym) -> None:
    archgym("search", "plugin", "-a", "unreplayable", "-n", "12", "--out", "parts")

    resumed = archgym("resume", "parts", "--budget", "30")
    again = archgym("resume", "parts")
    shown = archgym("show", "parts")

    segments = archgym("show", "parts", "--json").json["segments"]
    assert [segment["first_seq"] for segment in segments] == [0, segments[1]["first_seq"]]
    n, seed = segments[1]["first_seq"], segments[1]["seed"]
    assert (
        f"unreplayable cannot be replayed here: it restarts after {n} asks, in segment 2 with "
        f"seed {seed}."
    ) in resumed.out
    assert "segment" not in again.out
    assert (
        "2 segments, because the agent cannot be replayed; they start at ask 1 (seed 0), "
        f"ask {n + 1} (" in (shown.out)
    )


def test_show_gives_best_and_default_design(archgym: Archgym, study: Path) -> None:
    ran = archgym("show", study, "--json")

    assert ran.json["evaluations"] == 12
    assert ran.json["best"]["design"].keys() == ran.json["default"]["design"].keys()
    assert len(ran.json["curve"]["values"]) == 12
    assert ran.json["curve"]["label"].endswith("[ns]")


def test_show_draws_tables_and_curve(archgym: Archgym, study: Path) -> None:
    ran = archgym("show", study)

    for text in ("12 of 12 evaluations", "latency_ns", "default", "over evaluations"):
        assert text in ran.out


def test_show_compares_at_equal_budget(archgym: Archgym, study: Path) -> None:
    archgym("search", "plugin", "-a", "genetic", "-n", "30", "--out", "other")

    ran = archgym("show", study, "other", "--json")

    assert ran.json["budget"] == 12
    assert {s["agent"] for s in ran.json["studies"]} == {"random", "genetic"}
    rewards = [s["best"]["reward"] for s in ran.json["studies"]]
    assert rewards == sorted(rewards, reverse=True)


def test_show_compares_studies_of_different_devices(archgym: Archgym) -> None:
    for device in ("ddr5", "lpddr5"):
        archgym("search", "dram", "-o", f"device={device}", "-o", "requests=300", "-n", "8",
                "-a", "random", "--out", device)  # fmt: skip

    ran = archgym("show", "ddr5", "lpddr5")
    found = archgym("show", "ddr5", "lpddr5", "--json").json["studies"]

    assert "2 tasks: 2 studies after 8 evaluations" in ran.out
    assert "relative to the default design of the study that was named first" in ran.out
    assert found[0]["reward"] >= found[1]["reward"]
    # By the first study's default, not by its own.
    rewards = {each["folder"]: (each["reward"], each["best"]["reward"]) for each in found}
    assert rewards["ddr5"][0] == rewards["ddr5"][1]
    assert rewards["lpddr5"][0] != rewards["lpddr5"][1]


def test_show_says_what_the_best_beat(archgym: Archgym, study: Path) -> None:
    archgym("search", "plugin", "-a", "genetic", "-n", "30", "--out", "other")

    ran = archgym("show", study, "other")

    assert "Best study: " in ran.out


def test_show_says_that_equal_studies_are_tied(archgym: Archgym, study: Path) -> None:
    archgym("search", "plugin", "-a", "random", "-n", "12", "--out", "twin")

    ran = archgym("show", study, "twin")

    assert "Best study: study; it tied with twin." in ran.out


@pytest.mark.parametrize(("name", "magic"), [("c.svg", b"<?xml"), ("c.png", b"\x89PNG")])
def test_show_draws_a_picture(archgym: Archgym, study: Path, name: str, magic: bytes) -> None:
    ran = archgym("show", study, "--plot", name)

    assert ran.code == 0
    assert Path(name).read_bytes().startswith(magic)


def test_show_refuses_studies_of_different_tasks(archgym: Archgym, study: Path) -> None:
    archgym("search", "plugin", "-w", "heavy", "-n", "5", "--out", "other")

    ran = archgym("show", study, "other")

    assert ran.code == 1
    assert "must be of the same task" in ran.err


def test_resume_of_a_finished_study_says_so(archgym: Archgym, study: Path) -> None:
    ran = archgym("resume", study)

    assert "already complete" in ran.out
    assert "archgym resume study --budget 24" in ran.out


def test_end_at_the_limit_of_asks_counts_the_repeats(archgym: Archgym) -> None:
    ran = archgym("search", "plugin", "-a", "random", "-n", "12", "--max-asks", "3")

    assert "limit of 3 asks (0 repeats)" in ran.out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
def test_full_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "archgym", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    assert ran.returncode == 1
    assert ran.stderr.startswith("error: standard output cannot be written: no space is left.")
    assert ran.stderr.count("\n") == 1


def test_closed_pipe_ends_silently() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "archgym", "list"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    finally:
        os.close(writing)

    assert ran.returncode == 141
    assert ran.stderr == ""


HELD_UP = """
import ctypes, sys
from archgym.cli.console import signals as stopping
sys.argv = ["archgym", "search", "plugin"]
stopping.install()
print("ready", flush=True)
# No handler runs in here, as in a kernel: a thread waits for itself.
mutex = (ctypes.c_char * 64)()
ctypes.CDLL(None).pthread_mutex_lock(mutex)
ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_before_the_study_ends_a_held_up_main_thread(
    number: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HELD_UP],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    started = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == code, errors
    assert time.monotonic() - started < 2
    assert errors == f"error: stopped by {number.name} before the study began.\n"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_search_prints_the_command_that_resumes_it(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path = os.pathsep.join([str(write_plugin(tmp_path / "other")), str(ROOT)])
    search = [
        sys.executable, "-m", "archgym", "search", "plugin", "--option", "pace_s=0.05",
        "-n", "400", "--out", "my study",
    ]  # fmt: skip
    process = subprocess.Popen(
        search, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True
    )
    journal = Path("my study/journal.jsonl")
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 5):
        time.sleep(0.05)
        assert process.poll() is None

    started = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == code
    assert time.monotonic() - started < 2
    assert errors.strip().endswith("Resume with: archgym resume 'my study'")
    assert len(errors.splitlines()) == 1
