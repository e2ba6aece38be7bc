"""Mutated files for the readers of all formats: read, or refused in one line; never else.

python -m tests.fuzz --seconds 60 --out build/fuzz
python -m tests.fuzz --make          # writes good files of each format into tests/corpus

A folder of `tests/corpus` has files for one reader: good ones, and those that once broke it.
Hypothesis mutates them and makes what breaks a reader small; that goes to `--out`, and after the
reader is mended, into the corpus.
"""

import argparse
import contextlib
import functools
import hashlib
import itertools
import json
import resource
import shutil
import sys
import tempfile
import time
import warnings
import zlib
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
    from archgym.sweep.study_run import read_times

    folder = path.parent / "study"
    shutil.copytree(CORPUS / "_study", folder, dirs_exist_ok=True)
    shutil.copy(path, folder / path.name.partition("@")[2])
    read_study(folder)
    read_times(folder, 8)


def _signed_study(path: Path) -> None:
    """Read a study whose journal or heading has right checksums, whatever else it holds."""
    from archgym.studies.metadata import _checksum, read_header
    from archgym.studies.snapshot import read_study

    folder = path.parent / "signed"
    shutil.copytree(CORPUS / "_study", folder, dirs_exist_ok=True)
    name = path.name.partition("@")[2]
    content = path.read_bytes()
    if name == "study.json":
        with contextlib.suppress(ValueError, RecursionError):
            data = json.loads(content)
            if isinstance(data, dict):
                data.pop("crc", None)
                content = json.dumps({**data, "crc": _checksum(data)}).encode()
    else:
        key, lines = read_header(folder).key, []
        for line in content.split(b"\n"):
            body = line.rpartition(b',"crc":"')[0]
            lines.append(b'%s,"crc":"%08x"}' % (body, zlib.crc32(body, key)) if body else line)
        content = b"\n".join(lines)
    (folder / name).write_bytes(content)
    read_study(folder).best()


def _signed_measurements(path: Path) -> None:
    """Read measurements whose lines have right checksums."""
    from archgym.measurements.file import _CHAIN, _next, read_measurements

    chain, lines = "", []
    for line in path.read_bytes().split(b"\n"):
        text = line.rpartition(_CHAIN)[0]
        if text:
            chain = _next(chain, text + b"}")
            line = text + _CHAIN + chain.encode() + b'"}'
        lines.append(line)
    path.write_bytes(b"\n".join(lines))
    read_measurements(path)


def _spreadsheet(path: Path) -> None:
    from archgym.studies.spreadsheet import read_spreadsheet
    from tests.toys import toy_task

    read_spreadsheet(path, toy_task())


def _design(path: Path) -> None:
    from archgym.cli.options.values import read_designs, read_task
    from tests.toys import toy_task

    read_designs(path, toy_task().space)
    read_task(path)


def _device(path: Path) -> None:
    from archgym.simulators.dram.formats.devices import load_device

    load_device(str(path))


def _in_rules(path: Path) -> None:
    from archgym.files.lines import read_lines
    from archgym.rules.log import _attempt, read_rule_header

    if path.suffix == ".json":
        read_rule_header(_alone(path, "policies.json"))
    else:
        for seq, data in enumerate(read_lines(path, 0)):
            _attempt(path, data, seq)


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
    "dataset": _dataset,
    "table": _table,
    "claims": _claims,
    "lock": _lock,
    "instructions": _instructions,
    "trace": _trace,
    "dram-trace": _named("simulators.dram.workloads.trace", "read_trace"),
    "dram-device": _named("simulators.dram.formats.dramsys", "read_memspec"),
    "network": _named("simulators.accelerator.workloads", "read_network"),
    "architecture": _named("simulators.accelerator.formats.files", "read_architecture"),
    "graph": _named("simulators.soc.workloads", "read_graph"),
    "signed-study": _signed_study,
    "measurements": _signed_measurements,
    "spreadsheet": _spreadsheet,
    "design": _design,
    "requests": _named("simulators.moe.workloads.requests", "read_requests"),
    "routing": _named("simulators.moe.rules.case", "read_events"),
    "model-config": _named("simulators.moe.workloads.huggingface", "read_huggingface"),
    "moe-model": _named("simulators.moe.workloads.presets", "read_model"),
    "server": _named("simulators.moe.machine.hardware", "_read_node"),
    "engine": _named("simulators.moe.machine.engines", "_read_engine"),
    "kv-requests": _named("simulators.kv.workloads.traces", "read_trace"),
    "training-model": _named("simulators.cluster.workloads", "read_model"),
    "cluster": _named("simulators.cluster.machine.clusters", "_read_cluster"),
    "device": _device,
    "standard": _named("simulators.dram.formats.families", "load_standard"),
    "problem": _named("simulators.accelerator.formats.timeloop_yaml", "read_timeloop_problem"),
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
    rules = Path(__file__).parent / "fixtures" / "rule-log"
    for path in sorted(rules.iterdir()):
        if path.suffix in (".json", ".jsonl"):
            yield "rules", path.name, path.read_bytes()
    from archgym.simulators.translation.rules.domain import TLB

    yield "rule-text", "lru.py", TLB.templates["lru"].encode()
    sweeps = Path(__file__).parents[1] / "sweeps"
    for path in sorted(sweeps.glob("*.yaml"))[:2]:
        yield "plan", path.name, path.read_bytes()
        yield "document", path.name, path.read_bytes()
    for reader, place in (
        ("dram-device", "dram/data/devices/ddr3-1600.json"),
        ("network", "accelerator/data/networks/alexnet.csv"),
        ("architecture", "accelerator/data/architectures/eyeriss-like.yaml"),
        ("graph", "soc/data/workloads/cava.json"),
    ):
        yield reader, Path(place).name, (DATA / place).read_bytes()


_SERVER = """model:
  preset: olmoe-1b-7b
  experts: 32
hardware:
  preset: a100
  gpu: t4
  host_to_gpu: {gb_per_s: 12, latency_ns: 10000}
  host: {memory_gb: 64}
routing:
  preset: olmoe
  n_experts: 32
  topic: 0.9
"""
_CLUSTER = """name: my-cluster
npu: {peak_tflops: 300, memory_gb_per_s: 2000, memory_gb: 80, dollars: 9000, watts: 400}
dimensions:
  - {topology: Switch, npus: 8, gb_per_s: 450, latency_ns: 500, tier: node}
  - {topology: Ring, npus: 4, gb_per_s: 50, latency_ns: 2000, tier: pod}
"""
_ENGINE = """engine:
  name: mine
  like: vllm
  memory_percent: 85
  max_tokens: 4096
  block_tokens: 32
  chunks: true
"""
_DEVICE = """format: 1
extends: ddr3-1600
source: data sheet of my part
clock_mhz: 933
organisation: {n_ranks: 2}
timing: {RCD: 13, RP: 13}
current: {IDD0: 60}
"""
_STANDARD = """format: 1
extends: ddr5
source: data sheet
organisations:
  half:
    density_mbit: 4096
    dq: 8
    channel_width: 32
    burst_beats: 16
    sizes: {Rank: 1, BankGroup: 4, Bank: 2, Row: 65536, Column: 1024}
bins:
  mine:
    base: DDR5_4800BN
    tCK_ps: 416
    by_organisation: {nRFC: {half: 400}, nFAW: {half: 48}}
"""
_PROBLEM = """problem:
  shape:
    name: CNN-Layer
    dimensions: [C, M, R, S, N, P, Q]
    data_spaces:
      - {name: Weights, projection: [[[C]], [[M]], [[R]], [[S]]]}
      - {name: Inputs, projection: [[[N]], [[C]], [[R], [P]], [[S], [Q]]]}
      - {name: Outputs, projection: [[[N]], [[M]], [[Q]], [[P]]], read_write: true}
  instance: {C: 4, M: 8, R: 3, S: 3, N: 1, P: 6, Q: 6}
"""
_CONFIG = {
    "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": 4096,
    "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
    "num_hidden_layers": 32, "num_local_experts": 8, "num_experts_per_tok": 2,
    "vocab_size": 32000, "tie_word_embeddings": False,
}  # fmt: skip


def _simulators_files() -> Iterator[tuple[str, str, bytes]]:
    """Yield small good files of users' own models, servers, devices and requests."""
    from archgym.measurements.file import append_measurements
    from tests.measurements.test_file import row

    yield "moe-model", "own.yaml", _SERVER.encode()
    yield "server", "own.yaml", _SERVER.encode()
    yield "engine", "own.yaml", _ENGINE.encode()
    yield "cluster", "own.yaml", _CLUSTER.encode()
    yield "device", "own.yaml", _DEVICE.encode()
    yield "standard", "own.yaml", _STANDARD.encode()
    yield "problem", "own.yaml", _PROBLEM.encode()
    yield "model-config", "config.json", json.dumps(_CONFIG, indent=1).encode()
    model = b'{"blocks": 4, "hidden": 512, "heads": 8, "ffn": 2048, "sequence": 128}'
    yield "training-model", "own.json", model
    yield (
        "requests",
        "azure.csv",
        (
            b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
            b"2023-11-16 18:15:50.9951690,396,109\n"
        ),
    )
    mooncake = b"".join(
        b'{"timestamp": %d, "input_length": %d, "output_length": 9, "hash_ids": [%s]}\n'
        % (1000 * n, 512 * n, b", ".join(b"%d" % each for each in range(n)))
        for n in range(1, 5)
    )
    yield "requests", "mooncake.jsonl", mooncake
    yield "kv-requests", "mooncake.jsonl", mooncake
    asked = {"in": 128, "out": 2, "api": 100, "think": 0, "keep": 0, "new": [[1, 2]]}
    sub = {"sub": [{**asked, "api": 70}], "tool": 0, "system": 0}
    session = {"id": 0, "tool": 64, "system": 64, "requests": [asked, sub]}
    yield "kv-requests", "sessions.jsonl", json.dumps(session).encode()
    event = {"type": "BlockStored", "block_hashes": [7, "a"], "parent_block_hash": None}
    batch = {"ts": 1.5, "events": [{**event, "token_ids": [], "block_size": 16}]}
    yield "kv-requests", "events.jsonl", json.dumps(batch).encode()
    yield "routing", "own.csv", b"layer,expert\n0,1\n0,3\n1,2\n0,1\n"
    design = {"task": "dram/x/y", "design": {"a": 1, "b": [1, 2]}, "sources": {"x.csv": 1.0}}
    yield "design", "best.json", json.dumps(design).encode()
    yield "spreadsheet", "measured.csv", b"mode,depth,latency_ns,date\nslow,2,30.5,2026-01-02\n"
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "measured.jsonl"
        append_measurements(path, [row(1.5), row(2.5, 2)])
        yield "measurements", "measured.jsonl", path.read_bytes()
    for file in ("study.json", "journal.jsonl"):
        content = (CORPUS / "_study" / file).read_bytes()
        yield "signed-study", f"{file.partition('.')[0]}@{file}", content


def make() -> None:
    """Write good files into the corpus; others stay."""
    for reader, name, content in itertools.chain(_good_files(), _simulators_files()):
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
            found = fuzz(reader, number, 20, executed)
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
