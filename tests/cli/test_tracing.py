"""`archgym trace`: recording, filtering and looking at traces."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from archgym.simulators.dram.workloads.shipped import RECORDED, recorded_trace
from archgym.simulators.dram.workloads.trace import read_trace
from archgym.traces import (
    AccessKind,
    MemoryTrace,
    read_trace_info,
    shipped_info,
    shipped_names,
    write_memory_trace,
)
from archgym.traces.instructions.generators import generate
from archgym.traces.instructions.records import write_records
from tests.cli.conftest import Archgym

needs_valgrind = pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")


def test_traces_that_ship_are_listed(archgym: Archgym) -> None:
    ran = archgym("trace", "list", "--json")

    assert ran.code == 0
    names = [row["name"] for row in ran.json]
    assert set(shipped_names()) < set(names)
    assert "random-4gb" in names


@needs_valgrind
def test_programs_output_is_its_own(archgym: Archgym) -> None:
    ran = archgym("trace", "record", "-o", "a.npz", "--", "/bin/echo", "--debug", "-o")

    assert (ran.code, ran.out) == (0, "--debug -o\n")
    info = read_trace_info("a.npz")
    assert info.command == "/bin/echo --debug -o"
    assert info.exit_code == 0
    accesses = info.loads + info.stores + info.modifies
    assert f"{accesses:,} accesses" in ran.err
    # Records of code are no accesses.
    assert f"{Path('a.npz').stat().st_size / accesses:.2f} per access" in ran.err


def test_recording_is_not_overwritten(archgym: Archgym) -> None:
    Path("a.npz").write_bytes(b"hours of work")

    ran = archgym("trace", "record", "-o", "a.npz", "--", "/bin/echo")

    assert (ran.code, Path("a.npz").read_bytes()) == (1, b"hours of work")
    assert "a.npz must not exist yet; it does." in ran.err


@needs_valgrind
def test_programs_exit_code_is_said_and_kept(archgym: Archgym) -> None:
    ran = archgym("trace", "record", "--", "/bin/false")

    assert ran.code == 0
    assert "ended with exit code 1" in ran.err
    assert read_trace_info("false.npz").exit_code == 1


@needs_valgrind
@pytest.mark.slow
def test_recorded_program_is_filtered_and_evaluated(archgym: Archgym) -> None:
    command = ("sort", "words.txt")
    Path("words.txt").write_text("".join(f"{i * 7919 % 10007}\n" for i in range(20_000)))

    for arguments in (
        ("trace", "record", "--max-accesses", "400000", "--", *command),
        ("trace", "filter", "sort.npz", "--l1", "8K:4", "--llc", "64K:8"),
    ):
        ran = archgym(*arguments)
        assert ran.code == 0, ran.err
    ran = archgym("evaluate", "dram", "-w", "sort.stl.gz", "--json")

    assert ran.code == 0, ran.err
    assert "sort.stl.gz" in str(ran.json) or "sort@" in str(ran.json)


def test_programs_absence_is_one_line(archgym: Archgym) -> None:
    ran = archgym("trace", "record", "--", "nosuchprogram")

    assert ran.code == 1
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("name", RECORDED)
def test_shipped_workload_is_what_the_command_makes_of_the_shipped_trace(
    archgym: Archgym, name: str
) -> None:
    options = "--l1 32K:8 --llc 512K:8 --ipc 0.5 --clock-mhz 2000 --seed 1 --skip 20000"

    ran = archgym(
        "trace",
        "filter",
        name.removeprefix("recorded-"),
        *options.split(),
        "--max-requests", "10000", "-o", "a.stl",
    )  # fmt: skip

    assert ran.code == 0, ran.err
    assert "10,000 requests of 64 bytes" in ran.out
    assert read_trace("a.stl").digest == recorded_trace(name).digest


@pytest.mark.parametrize(
    ("options", "placed_bytes", "words"),
    [
        (("--device", "ddr5-4800bn"), 16 * 2**30, "in 16 GiB of ddr5-4800bn"),
        (("--capacity", "512MiB"), 2**29, "in 0.5 GiB"),
    ],
)
def test_pages_are_placed_in_the_memory_that_is_named(
    archgym: Archgym, options: tuple[str, str], placed_bytes: int, words: str
) -> None:
    ran = archgym("trace", "filter", "sort", *options, "--max-requests", "1000", "-o", "a.stl")

    assert ran.code == 0, ran.err
    assert words in ran.out
    assert read_trace("a.stl").placed_bytes == placed_bytes
    again = archgym("trace", "filter", "sort", *options, "-o", "a.stl")
    assert "a.stl must not exist yet; it does" in again.err


def test_instructions_are_filtered_into_requests_that_wait(archgym: Archgym) -> None:
    write_records("walk.champsimtrace.xz", generate("pointer-chase", 20_000))

    for source, options in (("walk.champsimtrace.xz", ()), ("pointer-chase", (20_000,))):
        more = ("--instructions", str(options[0])) if options else ()
        ran = archgym("trace", "filter", source, *more, "-o", f"{len(options)}.stl")
        assert ran.code == 0, ran.err
        assert "requests wait for an earlier answer" in ran.out
    found = archgym("trace", "requests", "0.stl", "--json")

    assert read_trace("0.stl").digest == read_trace("1.stl").digest
    assert found.json["waiting_requests"] == found.json["requests"] - 1
    unknown = archgym("trace", "filter", "pointer-chas", "--instructions", "9", "-o", "a.stl")
    assert "Did you mean 'pointer-chase'" in unknown.err


def test_recipe_has_the_options_of_the_shipped_files() -> None:
    recipe = Path(__file__).parents[2].joinpath("examples/recorded/record.sh").read_text()

    assert "--l1 32K:8 --llc 512K:8 --ipc 0.5" in recipe
    assert "--clock-mhz 2000 --seed 1 --skip 20000 --max-requests 10000" in recipe
    for name in shipped_names():
        info_line = next(line for line in recipe.splitlines() if line.startswith(f"{name} "))
        assert (Path(__file__).parents[2] / f"examples/recorded/{name}.c").is_file()
        _, skip, accesses = info_line.split()
        info = shipped_info(name)
        assert info.skipped == int(skip)
        assert info.loads + info.stores + info.modifies == int(accesses)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("filter", "absent.npz"), "absent.npz cannot be read"),
        (("filter", "kmer"), "Unknown trace 'kmer'. Did you mean"),
        (("filter", "sort", "--l1", "32K"), "`--l1` must be SIZE:WAYS"),
        (("filter", "sort", "--device", "ddr9"), "Unknown device 'ddr9'"),
        (("filter", "sort", "--capacity", "16"), "`--capacity` must be a size such as 512MiB"),
        # Nothing is read first: there is no such file.
        (("filter", "absent.npz", "--ipc", "0"), "`--ipc` must be a number from 0.0001 to 64"),
        (("filter", "sort", "--ipc", "nan"), "`--ipc` must be a number from 0.0001 to 64"),
        (("filter", "sort", "-o", "a.txt"), "`--out` must end in .stl"),
        (("filter", "random-4gb", "-o", "a.stl"), "must fit into the device's memory"),
        (("filter", "empty.npz", "-o", "a.stl"), "it causes 0"),
        (("info", "empty.npz", "--picture", "a.svg"), "`--picture` needs a trace with acc"),
        (("info", "absent.npz"), "absent.npz cannot be read"),
        (("info", "sort", "--picture", "a.gif"), "`--picture` must end in .svg"),
    ],
)
def test_mistake_is_one_line(archgym: Archgym, arguments: tuple[str, ...], words: str) -> None:
    for name, n in (("empty", 0), ("fetches", 5)):
        kinds = np.full(n, AccessKind.FETCH, np.uint8)
        columns = np.ones(n, np.uint32), kinds, np.ones(n, np.uint16), np.ones(n, np.uint64)
        write_memory_trace(MemoryTrace(*columns), f"{name}.npz")

    ran = archgym("trace", *arguments)

    assert ran.code == 1
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert ran.err.splitlines()[-1].startswith("error: ")
    assert not list(Path().glob("a.*"))


@pytest.mark.slow
def test_info_says_counts_and_reuse_and_draws(archgym: Archgym) -> None:
    ran = archgym("trace", "info", "random-access", "--picture", "a.svg", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["accesses"] == 200_000
    assert ran.json["data pages"] == 28_532
    # A third of the accesses are loads, a third stores to streams, a third anywhere.
    assert 32 < ran.json["misses of 1,024 pages (LRU)"] < 34
    assert Path("a.svg").read_text().count("<svg") == 1


def test_facts_of_requests_depend_on_the_device(archgym: Archgym) -> None:
    archgym("trace", "filter", "sort", "--llc", "512K:8", "-o", "a.stl")

    ran = archgym("trace", "requests", "a.stl", "--device", "ddr4-2400", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["requests"] == 36_690


def test_info_of_an_empty_trace_tells_of_no_misses(archgym: Archgym) -> None:
    columns = np.ones(0, np.uint32), np.ones(0, np.uint8), np.ones(0, np.uint16)
    write_memory_trace(MemoryTrace(*columns, np.ones(0, np.uint64)), "a.npz")

    ran = archgym("trace", "info", "a.npz", "--json")

    assert (ran.code, ran.json["accesses"]) == (0, 0)
    assert not [name for name in ran.json if name.startswith("misses")]


def test_long_text_of_a_trace_does_not_widen_the_table(archgym: Archgym) -> None:
    # Eight distances, each as long as they come.
    steps = [2**28 + n * 2**20 for n in range(1, 9)] * 3
    places = np.cumsum([0, *steps]) % 2**30
    Path("a.stl").write_text("".join(f"{n}: read {p:#x}\n" for n, p in enumerate(places)))

    ran = archgym("trace", "requests", "a.stl")

    assert ran.code == 0, ran.err
    *table, strides, _ = ran.out.splitlines()
    assert strides.startswith("strides: ")
    assert len(strides) > 100
    assert max(map(len, table)) < 60


def test_mistyped_option_of_a_recording_is_named(archgym: Archgym) -> None:
    ran = archgym("trace", "record", "--max-acesses", "9", "--", "ls")

    assert ran.code == 2
    assert "No such option: --max-acesses" in ran.err


def test_requests_of_a_trace_are_shown_on_a_memory_as_large_as_the_file_says(
    archgym: Archgym,
) -> None:
    lines = ["# placed_bytes: 17179869184", "0: read 0x1c0000000", "5: read 0x1c0000040"]
    Path("large.stl").write_text("\n".join(lines) + "\n")

    ran = archgym("trace", "requests", "large.stl", "--json")

    assert ran.json["requests"] == 2
