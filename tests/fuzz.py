"""Mutated files for the readers of all formats: read, or refused in one line; never else.

python -m tests.fuzz --seconds 60 --out build/fuzz
python -m tests.fuzz --make          # writes good files of each format into tests/corpus

A folder of `tests/corpus` has files for one reader: good ones, and those that once broke it.
Hypothesis mutates them and makes what breaks a reader small; that goes to `--out`, and after the
reader is mended, into the corpus.
"""

import argparse
import functools
import hashlib
import json
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from archgym.errors import ArchGymError

CORPUS = Path(__file__).parent / "corpus"
DATA = Path(__file__).parents[1] / "archgym" / "simulators"
# A reader that takes longer for a file of some kilobytes hangs.
MAX_S = 10.0
MAX_BYTES = 6 * 2**30
NUMBERS = (b"0", b"-1", b"1", b"255", b"99999999999", b"18446744073709551616", b"1e999", b"null")
MARKS = (
    b"\0",
    b"\n",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\xff\xfe",
    b"- ",
    b"&a *a",
    b"..",
)

Reader = Callable[[Path], Any]


def _alone(path: Path, name: str) -> Path:
    """Return a folder that holds the file under the name that its reader knows."""
    folder = path.parent / "alone"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / name)
    return folder


def _in_study(path: Path) -> None:
    """Read a study of the corpus with one of its files replaced."""
    from archgym.studies.snapshot import read_study
    from archgym.studies.timing import read_times

    folder = path.parent / "study"
    shutil.copytree(CORPUS / "_study", folder, dirs_exist_ok=True)
    shutil.copy(path, folder / path.name.partition("@")[2])
    read_study(folder)
    read_times(folder, 8)


def _in_rules(path: Path) -> None:
    from archgym.rules.log import _read_attempts, read_rule_header

    if path.suffix == ".json":
        read_rule_header(_alone(path, "policies.json"))
    else:
        _read_attempts(path, 0)


def _recorded_plan(path: Path) -> None:
    from archgym.sweep.reading import read_recorded_plan

    read_recorded_plan(_alone(path, "sweep.json"))


def _failures(path: Path) -> None:
    from archgym.sweep.driver import read_failures

    read_failures(_alone(path, "failures.json"))


def _dataset(path: Path) -> None:
    from archgym.datasets import read_dataset

    read_dataset(path)


def _claims(path: Path) -> None:
    from archgym.bench.verification import _Checker

    _Checker(False).claims_of(path)


def _lock(path: Path) -> None:
    from archgym.files.lease import LOCK_NAME, last_writer

    last_writer(_alone(path, LOCK_NAME))


def _instructions(path: Path) -> None:
    from archgym.traces.instructions.records import read_records

    for _ in read_records(path):
        pass


def _named(place: str, name: str) -> Reader:
    """Return a function of a module, which is imported as it is used."""

    def read(path: Path) -> Any:
        import importlib

        return getattr(importlib.import_module(f"archgym.{place}"), name)(path)

    return read


def _trace(path: Path) -> None:
    from archgym.traces import read_memory_trace, read_trace_info

    read_trace_info(path)
    read_memory_trace(path)


def _table(path: Path) -> None:
    from archgym.tables.file import TableFile

    TableFile(path)


READERS: dict[str, Reader] = {
    "study": _in_study,
    "rules": _in_rules,
    "rule-text": _named("rules.language", "read_rule"),
    "recorded-plan": _recorded_plan,
    "plan": _named("sweep.reading", "read_plan"),
    "failures": _failures,
    "tuned": _named("sweep.tuned_settings", "read_tuned"),
    "dataset": _dataset,
    "table": _table,
    "claims": _claims,
    "lock": _lock,
    "instructions": _instructions,
    "trace": _trace,
    "dram-trace": _named("simulators.dram.formats.trace", "read_trace"),
    "dram-device": _named("simulators.dram.formats.dramsys", "read_memspec"),
    "network": _named("simulators.accelerator.workloads", "read_network"),
    "architecture": _named("simulators.accelerator.formats.files", "read_architecture"),
    "graph": _named("simulators.soc.workloads", "read_graph"),
    "document": _named("files.yaml_document", "read_document"),
}


def corpus(reader: str) -> list[Path]:
    """Return the files for a reader."""
    return sorted(path for path in (CORPUS / reader).iterdir() if path.is_file())


def problem(reader: str, path: Path, is_again: bool = False) -> str | None:
    """Return what is wrong with how a reader takes a file, or None."""
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            READERS[reader](path)
    except ArchGymError as error:
        lines = str(error).splitlines()
        # A plan's refusal lists all that is wrong, one a line.
        if (len(lines) != 1 and "errors:" not in lines[0]) or "Traceback" in str(error):
            return f"refused in {len(lines)} lines: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    seconds = time.process_time() - began
    if seconds < MAX_S:
        return None
    # The first time, kernels may have been compiled.
    return f"took {seconds:.1f} s" if is_again else problem(reader, path, True)


@st.composite
def mutations(draw: st.DrawFn, reader: str) -> tuple[str, bytes]:
    """Draw a file's name and a content with one to four changes."""
    path = draw(st.sampled_from(corpus(reader)))
    data = bytearray(path.read_bytes())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        how = draw(st.sampled_from(("flip", "cut", "drop", "repeat", "number", "mark", "bytes")))
        if how == "flip" and start < len(data):
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del data[start:]
        elif how == "drop":
            del data[start:end]
        elif how == "repeat":
            data[start:start] = data[start:end] * draw(st.integers(1, 60))
        elif how == "number":
            data[start:end] = draw(st.sampled_from(NUMBERS))
        elif how == "mark":
            data[start:end] = draw(st.sampled_from(MARKS))
        else:
            data[start:end] = draw(st.binary(max_size=20))
    return path.name, bytes(data)


def fuzz(reader: str, number: int, n: int, executed: list[int]) -> tuple[str, bytes, str] | None:
    """Read so many mutated files; return the smallest that breaks the reader, with what it does."""
    found: list[tuple[str, bytes, str]] = []

    @seed(number)
    @settings(
        max_examples=n,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(mutations(reader))
    def run(given_file: tuple[str, bytes]) -> None:
        name, content = given_file
        executed[0] += 1
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            wrong = problem(reader, path)
        if wrong is not None:
            found.append((name, content, wrong))
            raise AssertionError(wrong)

    try:
        run()
    except BaseException:
        if not found:
            raise
    # The last one is the smallest.
    return found[-1] if found else None


# ---- the corpus


def _good_files() -> Iterator[tuple[str, str, bytes]]:
    """Yield small good files: reader, name, content."""
    import numpy as np

    from archgym.bench import bench_plan, bench_task
    from archgym.datasets import build_dataset
    from archgym.studies.study import Study
    from archgym.traces import write_memory_trace
    from tests.traces.test_fuzz import small_trace

    plan = bench_plan(["random"], [bench_task("accelerator-maestro")], 2, 8).decided()
    yield "recorded-plan", "sweep.json", json.dumps(plan.to_json(), indent=1).encode()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task = bench_task("accelerator-maestro").plan.make()
        with Study.create(folder / "study", task, "random", seed=1, budget=8) as study:
            study.run()
        for file in ("study.json", "journal.jsonl", "state.json", "timing.jsonl"):
            content = (folder / "study" / file).read_bytes()
            yield "_study", file, content
            yield "study", f"{file.partition('.')[0]}@{file}", content
        build_dataset(folder / "study", folder / "rows.parquet")
        build_dataset(folder / "study", folder / "rows.csv")
        build_dataset(folder / "study", folder / "rows.jsonl")
        for suffix in ("parquet", "csv", "jsonl"):
            yield "dataset", f"rows.{suffix}", (folder / f"rows.{suffix}").read_bytes()
        write_memory_trace(small_trace()[:40], folder / "a.npz")
        yield "trace", "a.npz", (folder / "a.npz").read_bytes()
        from archgym.tables import build_table
        from tests.toys import toy_task

        small = build_table(toy_task(), folder / "t.parquet", workers=1).read_bytes()
        yield "table", "t.parquet", small
        best = study.best_reward
        design = dict(task.space.design_at(task.space.default_indices))
        line = {"task": "accelerator-maestro", "design": design, "reward": best}
        yield "claims", "claims.jsonl", json.dumps(line).encode() + b"\n"
    from archgym.traces.instructions.records import RECORD

    yield "instructions", "a.champsimtrace", np.zeros(4, RECORD).tobytes()
    yield "failures", "failures.json", b'{"light/random/seed-0": "It broke."}'
    lock = {"token": "0" * 16, "host": "a", "pid": 12, "started": "2026-01-01T00:00:00+00:00"}
    yield "lock", "writer.lock", json.dumps(lock).encode()
    text = b"".join(b"%d:\tread\t0x%X\t64\n" % (i, 64 * i) for i in range(12))
    yield "dram-trace", "a.stl", text
    rules = Path(__file__).parent / "fixtures" / "v0_2" / "rule-log"
    for path in sorted(rules.iterdir()):
        if path.suffix in (".json", ".jsonl"):
            yield "rules", path.name, path.read_bytes()
    from archgym.simulators.translation.rules.domain import TLB

    yield "rule-text", "lru.py", TLB.templates["lru"].encode()
    sweeps = Path(__file__).parents[1] / "sweeps"
    for path in sorted(sweeps.glob("*.yaml"))[:2]:
        yield "plan", path.name, path.read_bytes()
        yield "document", path.name, path.read_bytes()
    tuned = sorted((Path(__file__).parents[1] / "archgym").rglob("tuned/*.yaml"))
    yield "tuned", "tuned.yaml", tuned[0].read_bytes()
    for reader, place in (
        ("dram-device", "dram/data/devices/ddr3-1600.json"),
        ("network", "accelerator/data/networks/alexnet.csv"),
        ("architecture", "accelerator/data/architectures/eyeriss-like.yaml"),
        ("graph", "soc/data/workloads/cava.json"),
    ):
        yield reader, Path(place).name, (DATA / place).read_bytes()


def make() -> None:
    """Write good files into the corpus; others stay."""
    for reader, name, content in _good_files():
        path = CORPUS / reader / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main() -> int:
    """Run as the module's docstring says; 1 if something breaks a reader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--make", action="store_true")
    parser.add_argument("readers", nargs="*", default=list(READERS))
    chosen = parser.parse_args()
    if chosen.make:
        make()
        return 0
    if sys.platform == "linux":
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, most))
    executed, crashes, number = [0], 0, chosen.seed or int(time.time())
    began = time.monotonic()
    broken: set[str] = set()
    print_line = functools.partial(print, flush=True, file=sys.stdout)
    print_line(f"first seed {number}")
    while time.monotonic() - began < chosen.seconds:
        for reader in chosen.readers:
            if reader in broken or time.monotonic() - began > chosen.seconds:
                continue
            found = fuzz(reader, number, 60, executed)
            if found is not None:
                name, content, wrong = found
                broken.add(reader)
                crashes += 1
                digest = hashlib.sha256(content).hexdigest()[:8]
                path = chosen.out / reader / f"{digest}-{name}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                print_line(f"{path}: {wrong[:300]}")
        number += 1
    n_files = sum(len(corpus(reader)) for reader in READERS)
    seconds = time.monotonic() - began
    print_line(
        f"{executed[0]} files in {seconds:.0f} s, {len(chosen.readers)} readers, "
        f"{n_files} files in the corpus, {crashes} readers broken"
    )
    return min(crashes, 1)


if __name__ == "__main__":
    sys.exit(main())
