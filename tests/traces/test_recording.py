"""Recording programs under valgrind, and what the parser of its lines does."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, MissingProgramError, SimulatorError
from archgym.traces import AccessKind, read_memory_trace, read_trace_info
from archgym.traces.recording import LackeyParser, Recording, record, resolved

needs_valgrind = pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

TEXT = b"""==12== Lackey, an example Valgrind tool
I  04001000,3
 L 1ffeffe7e0,8
I  04001003,5
 S 1ffeffe7d8,8
I  04002000,2
I  04002002,2
 M 0421c7cc,4
"""


def test_lines_become_records() -> None:
    part = LackeyParser(0, 10).parse(TEXT)

    kinds = [AccessKind.FETCH, AccessKind.LOAD, AccessKind.STORE, AccessKind.FETCH]
    assert part.kind.tolist() == [*kinds, AccessKind.MODIFY]
    addresses = [0x4001000, 0x1FFEFFE7E0, 0x1FFEFFE7D8, 0x4002000, 0x421C7CC]
    assert part.address.tolist() == addresses
    assert part.size_bytes.tolist() == [3, 8, 8, 2, 4]
    # The fetch of an instruction comes before its access, and takes it along.
    assert part.instructions.tolist() == [1, 0, 1, 1, 1]


@pytest.mark.parametrize("length", [1, 7, 64])
def test_pieces_of_any_length_give_the_same_records(length: int) -> None:
    whole = LackeyParser(0, 10).parse(TEXT)
    parser = LackeyParser(0, 10)

    parts = [parser.parse(TEXT[i : i + length]) for i in range(0, len(TEXT), length)]

    assert np.concatenate([part.address for part in parts]).tolist() == whole.address.tolist()
    assert sum(part.n_instructions for part in parts) == whole.n_instructions


def test_skipped_accesses_leave_nothing_but_their_count() -> None:
    parser = LackeyParser(1, 10)

    part = parser.parse(TEXT)

    kinds = [AccessKind.FETCH, AccessKind.STORE, AccessKind.FETCH, AccessKind.MODIFY]
    assert part.kind.tolist() == kinds
    assert part.n_instructions == 3
    assert parser.accesses_seen == 3


def test_parser_is_done_after_the_accesses_that_are_wanted() -> None:
    parser = LackeyParser(1, 1)

    part = parser.parse(TEXT)

    assert parser.is_done
    assert part.kind.tolist() == [AccessKind.FETCH, AccessKind.STORE]


def test_lines_that_are_none_are_passed_over() -> None:
    noise = b" L zz,8\n L 12\nI\n\n X 10,8\n L ffffffffffffffffffff,8\n L 40,999999\n" + b"a" * 99

    part = LackeyParser(0, 10).parse(noise)

    # Twenty digits wrap, and all addresses are cut to 57 bits.
    assert part.address.tolist() == [2**57 - 1, 0x40]
    assert part.size_bytes.tolist() == [8, 65535]


@needs_valgrind
@needs_compiler
@pytest.mark.slow
def test_known_accesses_of_a_program_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text(
        "#include <stdio.h>\n"
        "static volatile char field[64 * 4096];\n"
        "int main(void) { for (int i = 0; i < 64; i++) field[i * 4096] = 1;\n"
        ' puts("done"); return 7; }\n'
    )
    subprocess.run(["cc", "-O1", "-o", "p", "p.c"], cwd=tmp_path, check=True)

    done = record([str(tmp_path / "p")], tmp_path / "p.npz", date="today")

    trace = read_memory_trace(tmp_path / "p.npz")
    stores = trace.address[(trace.kind == AccessKind.STORE) & (trace.size_bytes == 1)]
    # 64 stores that are a page apart, in a row.
    steps = np.diff(stores.astype(np.int64))
    assert int((steps == 4096).sum()) == 63
    info = read_trace_info(tmp_path / "p.npz")
    assert (info.exit_code, info.date, info.name) == (7, "today", "p")
    assert done.stopped == ""
    assert info.records == len(trace)
    assert info.instructions > info.loads + info.stores


@needs_valgrind
@pytest.mark.slow
def test_program_is_stopped_after_the_accesses_that_are_wanted(tmp_path: Path) -> None:
    reports: list[Recording] = []
    endless = ["/bin/sh", "-c", "while :; do :; done"]

    done = record(endless, tmp_path / "a.npz", skip=1000, max_accesses=2000, report=reports.append)

    info = read_trace_info(tmp_path / "a.npz")
    assert done.stopped == "limit"
    assert info.loads + info.stores + info.modifies == 2000
    assert (info.skipped, info.exit_code) == (1000, None)


@needs_valgrind
def test_skipping_more_than_there_is_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="`--skip` must be below the program's data accesses"):
        record(["/bin/true"], tmp_path / "a.npz", skip=10**9)

    assert list(tmp_path.iterdir()) == []


@needs_valgrind
@pytest.mark.slow
@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_stops_and_keeps_what_was_recorded(
    tmp_path: Path, number: signal.Signals, name: int
) -> None:
    program = [sys.executable, "-m", "archgym", "trace", "record", "-o", str(tmp_path / "a.npz")]
    endless = ["--", "/bin/sh", "-c", "while :; do :; done"]
    process = subprocess.Popen([*program, *endless], stderr=subprocess.PIPE, text=True)
    started = time.monotonic()
    # The file grows once a first chunk is full.
    while time.monotonic() - started < 60:
        scratch = list(tmp_path.glob(".writing-*"))
        if scratch and scratch[0].stat().st_size > 1000:
            break
        time.sleep(0.1)

    process.send_signal(number)
    _, said = process.communicate(timeout=60)

    assert process.returncode == name, said
    assert f"Stopped by {number.name}" in said
    assert len(read_memory_trace(tmp_path / "a.npz")) > 2**18
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_absent_valgrind_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingProgramError, match="apt-get install valgrind"):
        record(["/bin/true"], tmp_path / "a.npz")


@needs_valgrind
def test_absent_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingProgramError, match="'nosuchprogram' is not"):
        record(["nosuchprogram"], tmp_path / "a.npz")


def test_limits_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="`max_accesses` 1 to 4294967296"):
        record(["/bin/true"], tmp_path / "a.npz", max_accesses=0)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_shim_of_a_version_manager_is_followed(tmp_path: Path) -> None:
    script(tmp_path / ".pyenv/bin/pyenv", "#!/bin/sh\ntest $1 = which && echo /bin/true\n")
    shim = script(tmp_path / ".pyenv/shims/python3", "#!/bin/sh\nexec /bin/true\n")

    command, note = resolved([str(shim), "-c", "pass"])

    assert command == ["/bin/true", "-c", "pass"]
    assert "which is recorded" in note


def test_script_is_recorded_with_a_note(tmp_path: Path) -> None:
    path = script(tmp_path / "run", "#!/bin/sh -e\nexec /bin/true\n")

    command, note = resolved([str(path)])

    assert command == [str(path)]
    assert "/bin/sh -e is recorded, not the programs that it starts" in note


def test_program_is_left_as_it_is() -> None:
    assert resolved(["/bin/true", "x"]) == (["/bin/true", "x"], "")
    assert resolved(["nosuchprogram"]) == (["nosuchprogram"], "")


@needs_valgrind
@pytest.mark.slow
def test_child_that_lives_on_is_not_waited_for(tmp_path: Path) -> None:
    lasting = ["/bin/sh", "-c", f"sleep 300 & echo $! > {tmp_path / 'child'}"]
    try:
        done = record(lasting, tmp_path / "a.npz")
    finally:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)

    assert done.elapsed_s < 200
    assert (done.stopped, done.info.exit_code) == ("", 0)


@needs_valgrind
@pytest.mark.slow
def test_program_does_not_outlive_a_recording_that_is_killed(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path / 'program'}; while :; do :; done"
    program = [sys.executable, "-m", "archgym", "trace", "record", "-o", str(tmp_path / "a.npz")]
    process = subprocess.Popen([*program, "--", "/bin/sh", "-c", script])
    number = tmp_path / "program"
    wait_until(lambda: number.is_file() and number.read_text().endswith("\n"))

    process.kill()
    process.wait()

    wait_until(lambda: not is_running(int(number.read_text())))


def wait_until(holds: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < 60
        time.sleep(0.05)


def is_running(number: int) -> bool:
    """Whether there is such a process that does not only wait for its parent to ask for it."""
    try:
        status = Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


RECORD_ENV = """
import sys
from archgym.traces.recording import record
record(["/usr/bin/env"], sys.argv[1])
"""


@needs_valgrind
def test_empty_locale_stays_empty_for_the_program(tmp_path: Path) -> None:
    # Python itself sets LC_CTYPE where there is no locale (PEP 538).
    ran = subprocess.run(
        [sys.executable, "-c", RECORD_ENV, str(tmp_path / "env.npz")],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ONLY": "this"},
        capture_output=True,
        text=True,
        check=True,
    )

    names = {line.partition("=")[0] for line in ran.stdout.splitlines()}
    assert "ONLY" in names
    assert "LC_CTYPE" not in names
