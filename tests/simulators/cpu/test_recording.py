"""A program's instructions are recorded as they ran."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, StorageError
from archgym.simulators.cpu.workloads.programs import kinds_of, read_trace

pytest.importorskip("capstone")
if shutil.which("gcc") is None:
    pytest.skip("needs gcc", allow_module_level=True)

from archgym.traces.instructions.recorder import record_instructions
from archgym.traces.instructions.records import read_records

PROGRAM = r"""
long table[4096];
__attribute__((noinline)) long work(long n) {
    long sum = 0;
    for (long i = 0; i < n; i++) { table[i & 4095] = i; sum += table[(i * 7) & 4095]; }
    return sum;
}
int main(void) { return work(2000) == 12345; }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    (folder / "p.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-O1", "-o", folder / "p", folder / "p.c"], check=True)
    return folder / "p"


def test_loop_is_recorded_from_its_function(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.champsimtrace.xz"

    done = record_instructions([str(program)], path, n=5000, function="work")

    trace = read_trace(path)
    assert done.n == trace.n == 5000
    info = trace.records[: trace.n, 1]
    loop = kinds_of(trace) == 2
    # A loop has a load, a store and a conditional branch that is taken.
    assert loop.sum() == pytest.approx(((info >> 9) & 7).sum(), rel=0.05)
    assert loop.sum() == pytest.approx(((info >> 12) & 3).sum(), rel=0.05)
    assert ((info[loop] >> 3) & 1).mean() > 0.95
    stores = trace.records[: trace.n, 2]
    steps = np.diff(stores[stores != 0])
    assert (steps == 8).mean() > 0.9


def test_function_that_is_absent_is_told(program: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="must define the function 'wrk'"):
        record_instructions([str(program)], tmp_path / "x.champsimtrace", n=10, function="wrk")


def test_function_of_a_library_is_found(program: Path, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int answer(int); int main(void) { return answer(41); }")
    (tmp_path / "lib.c").write_text("int answer(int x) { return x + 1; }")
    library = tmp_path / "libanswer.so"
    subprocess.run(["gcc", "-O1", "-shared", "-o", library, tmp_path / "lib.c"], check=True)
    main = tmp_path / "main"
    linked = [main, tmp_path / "main.c", library, f"-Wl,-rpath,{tmp_path}"]
    subprocess.run(["gcc", "-O1", "-o", *map(str, linked)], check=True)
    path = tmp_path / "p.champsimtrace"

    record_instructions([str(main)], path, n=3, function="answer")

    first = read_records(path)[:3]
    # `answer` adds and returns: its return is the first branch, within three instructions.
    assert first["is_branch"].any()
    returned = first[first["is_branch"] == 1][0]
    assert set(returned["destinations"]) == {6, 26}


def test_program_that_is_absent_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be run"):
        record_instructions([str(tmp_path / "no")], tmp_path / "x.champsimtrace", n=10)


def test_file_is_not_overwritten(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.champsimtrace"
    path.write_bytes(b"")

    with pytest.raises(StorageError, match="exists already"):
        record_instructions([str(program)], path, n=10)
