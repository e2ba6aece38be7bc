"""The kernel counts what independent tools counted on the same traces."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.simulators.translation.kernel.counters import COUNTERS
from archgym.simulators.translation.kernel.prepared import prepare
from archgym.simulators.translation.kernel.run import run
from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.machine import Hardware
from archgym.traces import read_memory_trace
from archgym.traces.recording import record
from evidence.translation.independent_tools import (
    _only_data,
    cases,
    exact_rows,
    misses,
    prepared_for,
)
from evidence.translation.planes import read_planes

# Rows of the files whose policies the kernel has; the last are those of 64 bytes once more.
ROWS = {"pycachesim": 320, "srrip": 64, "libcachesim": 32, "cachegrind": 36}
ROWS |= {"cachegrind-caches": 12}


def test_every_row_of_the_results_becomes_a_case(reference: Path) -> None:
    found = [case.results for case in cases(reference)]

    assert {name: found.count(name) for name in ROWS} == ROWS
    assert len(found) == sum(ROWS.values())


@pytest.mark.parametrize("results", ["pycachesim", "srrip", "libcachesim", "cachegrind"])
def test_a_row_of_each_tool_is_met(reference: Path, results: str) -> None:
    trace = read_planes(reference / "traces" / "dlrm.npz")
    case = next(c for c in cases(reference) if c.trace == "dlrm" and c.results == results)

    counted = misses(case, prepared_for(case, trace))

    off = [abs(ours - theirs) for ours, theirs in zip(counted, case.expected, strict=True)]
    assert max(off) <= case.allowed


@pytest.mark.nightly
def test_all_rows_are_met(reference: Path) -> None:
    rows = exact_rows(reference)

    assert sum(row.n_rows for row in rows) == sum(ROWS.values())
    assert [row for row in rows if row.n_met < row.n_rows] == []
    assert {row.worst for row in rows if not row.results.startswith("cachegrind")} == {0}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("gups,x,64,4,100,5", "unit_bytes must be a whole number, 0 or more; got 'x'"),
        ("gups,4096,64,4,100", "a row must have as many cells as the heading"),
        ("../x,4096,64,4,100,5", "trace must be a name of letters and digits; got '../x'"),
    ],
)
def test_damaged_results_are_named_with_their_line(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "srrip.csv"
    path.write_text(f"trace,unit_bytes,entries,ways,stream_len,misses\n{line}\n")

    with pytest.raises(FileFormatError) as error:
        list(cases(tmp_path))

    assert f"{path}:2: {problem}." in str(error.value)


def test_any_results_may_be_missing(tmp_path: Path) -> None:
    assert list(cases(tmp_path)) == []


def test_results_that_are_no_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "srrip.csv").mkdir()

    with pytest.raises(FileFormatError, match=r"srrip.csv: the file must exist"):
        list(cases(tmp_path))


STRADDLING = """
#include <stdint.h>
static unsigned char bytes[1 << 18];
int main(void) {
  uint64_t x = 88172645463325252u, sum = 0;
  for (int i = 0; i < 20000; i++) {
    x ^= x << 13; x ^= x >> 7; x ^= x << 17;
    sum += *(volatile uint64_t *)(bytes + x % (sizeof bytes - 8));
    if (i % 8 == 0) *(volatile uint64_t *)(bytes + (x >> 20) % (sizeof bytes - 8)) = sum;
  }
  return 0;
}
"""


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("valgrind") is None or shutil.which("gcc") is None, reason="needs valgrind and gcc"
)
def test_straddling_accesses_count_as_in_cachegrind(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(STRADDLING)
    program = str(tmp_path / "a")
    subprocess.run(["gcc", "-O1", "-static", "-o", program, f"{program}.c"], check=True)
    options = ["--D1=32768,8,64", "--I1=32768,8,64", "--LL=2097152,16,64"]
    options += ["--cache-sim=yes", f"--cachegrind-out-file={tmp_path / 'out'}"]
    command = ["valgrind", "--tool=cachegrind", *options, program]
    theirs = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    record([program], tmp_path / "a.npz")
    trace = _only_data(read_memory_trace(tmp_path / "a.npz"))
    hardware = Hardware(
        mechanism="perfect", l1_cache_kib=32, l1_cache_ways=8, l2_cache_policy="lru"
    )

    ready = prepare(trace, Memory(huge_share=1.0), joins_lines=True)
    counts = dict(zip(COUNTERS, run(ready, hardware, 0.0)[0].tolist(), strict=True))

    def of(name: str) -> int:
        (found,) = re.findall(rf"{name}: *([0-9,]+)", theirs)
        return int(found.replace(",", ""))

    # The environment of the program may differ by a few accesses.
    assert counts["accesses"] == pytest.approx(of("D +refs"), abs=300)
    assert counts["l1_cache_data_misses"] == pytest.approx(of("D1 +misses"), abs=30)
    assert of("D1 +misses") > 15_000
