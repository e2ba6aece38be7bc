"""Programs that end before the limit are recorded to their last instruction."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from archgym.errors import InvalidArgumentError
from archgym.runtime.reductions import collected_reductions

pytest.importorskip("capstone")
if shutil.which("gcc") is None:
    pytest.skip("needs gcc", allow_module_level=True)

from typer.testing import CliRunner

from archgym.cli.app import app
from archgym.traces.instructions.decoding import Decoder
from archgym.traces.instructions.recorder import Recorded, record_instructions
from archgym.traces.instructions.records import read_records
from archgym.traces.instructions.stepping import REGISTERS

LOOP = r"""
volatile long table[64];
static long work(void) {
    long sum = 0;
    for (long i = 0; i < LIMIT; i++) { table[i & 63] = i; sum += table[(i * 7) & 63]; }
    return sum;
}
"""
# Without a C library a program has few instructions of its own.
START = r"""
#define CALL(n, a, b, c) asm volatile("syscall" :: "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11")
"""
ENDS = "int main(void) { return work() == 1; }"
FAULTS = "int main(void) { work(); *(volatile int *)8 = 1; return 0; }"
THREAD = r"""
#include <pthread.h>
#include <stdlib.h>
volatile int go;
static void *end(void *x) { while (!go); exit(3); }
int main(void) { pthread_t t; pthread_create(&t, 0, end, 0); work(); go = 1; for (;;) go++; }
"""
BARE = "void _start(void) { work(); CALL(60, 7, 0, 0); }"
EXECUTES = r"""
void _start(void) {
    static const char *arguments[] = {PROGRAM, 0};
    work();
    CALL(59, PROGRAM, arguments, 0);
    CALL(60, 9, 0, 0);
}
"""
MARKED = r"""
#include <signal.h>
#include <unistd.h>
#define ARCHGYM_BEGIN() kill(getpid(), SIGURG)
#define ARCHGYM_END() kill(getpid(), SIGWINCH)
static volatile long far;
int main(void) {
    /* Single-stepped, this start would take hours. */
    for (long i = 0; i < 300000000; i++) far += i;
    raise(SIGWINCH);
    ARCHGYM_BEGIN();
    long sum = work();
    ARCHGYM_END();
    for (;;) far += sum;
}
"""
SHORT = "void _start(void) { CALL(60, 0, 0, 0); }"


def build(folder: Path, source: str, *options: str) -> str:
    (folder / "p.c").write_text(source)
    program = folder / "p"
    limit = "-DLIMIT=300" if "-nostdlib" in options else "-DLIMIT=3000"
    subprocess.run(["gcc", "-O1", limit, "-o", program, folder / "p.c", *options], check=True)
    return str(program)


def bare(folder: Path, source: str, *options: str) -> str:
    fixed = ("-nostdlib", "-static", "-fno-stack-protector", "-fcf-protection=none")
    return build(folder, START + LOOP + source, *fixed, *options)


def recorded(
    program: str, path: Path, n: int = 10**6, function: str | None = None
) -> tuple[Recorded, npt.NDArray[np.void]]:
    with collected_reductions() as notes:
        done = record_instructions([program], path, n=n, function=function)
    assert not [note for note in notes if "capstone" in note or "could not be read" in note]
    return done, read_records(path)


def test_program_that_ends_keeps_its_last_instructions(tmp_path: Path) -> None:
    program = bare(tmp_path, BARE)

    done, records = recorded(program, tmp_path / "all.champsimtrace")
    _, before = recorded(program, tmp_path / "part.champsimtrace", n=done.n - 1)

    assert done.has_ended
    assert done.exit_code == 7
    assert done.ended_by == ""
    assert (records[:-1] == before).all()
    assert (records["is_branch"] == 1).sum() >= 300
    assert np.count_nonzero(records["reads"]) >= 300
    assert np.count_nonzero(records["writes"]) >= 300


@pytest.mark.slow
def test_program_that_ends_keeps_them_from_a_function(tmp_path: Path) -> None:
    program = build(tmp_path, LOOP + ENDS)

    done, records = recorded(program, tmp_path / "all.champsimtrace", function="main")
    n = done.n - 1
    _, before = recorded(program, tmp_path / "part.champsimtrace", n=n, function="main")

    assert (records[:-1] == before).all()
    assert np.count_nonzero(records["writes"]) >= 3000
    assert np.count_nonzero(records["reads"]) >= 3000
    assert (records["is_branch"] == 1).sum() >= 3000


@pytest.mark.slow
def test_program_that_another_thread_ends_keeps_them(tmp_path: Path) -> None:
    program = build(tmp_path, LOOP + THREAD, "-pthread")

    done, records = recorded(program, tmp_path / "all.champsimtrace", function="main")

    assert done.has_ended
    assert done.exit_code == 3
    assert np.count_nonzero(records["writes"]) >= 3000


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("true", 0), ("false", 1)])
def test_programs_of_the_system_keep_them(name: str, code: int, tmp_path: Path) -> None:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"needs {name}")

    done, records = recorded(program, tmp_path / "all.champsimtrace")

    assert done.has_ended
    assert done.exit_code == code
    last = records[-1000:]
    assert last["is_branch"].any()
    assert last["reads"].any()
    assert last["writes"].any()


@pytest.mark.slow
def test_program_that_faults_is_kept_and_the_signal_named(tmp_path: Path) -> None:
    program = build(tmp_path, LOOP + FAULTS)
    path = tmp_path / "x.champsimtrace"
    command = ["trace", "record", "--instructions", "--from-function", "main"]

    ran = CliRunner().invoke(app, [*command, "--out", str(path), "--", program])

    assert ran.exit_code == 128 + 11
    assert "ended by SIGSEGV" in ran.stderr
    assert np.count_nonzero(read_records(path)["writes"]) >= 3000


def test_program_that_executes_another_keeps_both(tmp_path: Path) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    second = bare(folder, BARE)
    # The same addresses hold other code.
    first = bare(tmp_path, EXECUTES, f'-DPROGRAM="{second}"')

    done, records = recorded(first, tmp_path / "all.champsimtrace")
    alone, expected = recorded(second, tmp_path / "second.champsimtrace")

    assert done.exit_code == 7
    own = records[: done.n - alone.n]
    assert (records[len(own) :]["ip"] == expected["ip"]).all()
    assert (records[len(own) :]["is_branch"] == expected["is_branch"]).all()
    assert np.count_nonzero(own["writes"]) >= 300
    assert np.count_nonzero(own["reads"]) >= 300


def test_short_trace_is_warned_about(tmp_path: Path) -> None:
    program = bare(tmp_path, SHORT)
    path = tmp_path / "x.champsimtrace"

    ran = CliRunner().invoke(
        app, ["trace", "record", "--instructions", "--out", str(path), "--", program]
    )

    assert ran.exit_code == 0
    assert "at least 1,000 instructions" in ran.stderr


def test_code_that_cannot_be_read_is_not_blamed_on_capstone() -> None:
    decoder = Decoder(lambda address, size: b"")
    rows = np.zeros((1, len(REGISTERS)), dtype=np.int64)

    decoder.records(rows, np.array([1]))
    with collected_reductions() as notes:
        decoder.report_losses()

    assert "1 of 1 different instructions could not be read" in notes[0]
    assert "capstone" not in notes[0]


def test_marked_part_is_reached_at_full_speed_and_recorded_alone(tmp_path: Path) -> None:
    program = build(tmp_path, LOOP + MARKED)

    done = record_instructions([program], tmp_path / "p.champsimtrace", n=10**6, is_marked=True)

    assert done.is_marked
    assert not done.has_ended
    # 3,000 iterations of some ten instructions, and two calls of the C library.
    assert 20_000 < done.n < 50_000


def test_program_without_a_mark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"ended before it called `archgym.traces.begin"):
        record_instructions(["true"], tmp_path / "p.champsimtrace", n=100, is_marked=True)
    assert not (tmp_path / "p.champsimtrace").exists()


def test_marks_of_a_python_program_do_nothing_where_nobody_records(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(
        "from archgym.traces.markers import begin, end\n"
        "begin()\nprint(sum(i * i for i in range(200)))\nend()\n"
    )
    plain = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)

    done = record_instructions(
        [sys.executable, str(script)], tmp_path / "p.champsimtrace", n=10**6, is_marked=True
    )

    assert plain.stdout == "2646700\n"
    assert done.is_marked
    assert 5_000 < done.n < 500_000
