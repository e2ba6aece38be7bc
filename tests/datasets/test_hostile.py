"""Damaged and hostile datasets: one line, bounded memory and time, nothing executed."""

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archgym.datasets import Split, read_dataset, summarise_dataset, verify_dataset
from archgym.datasets.columns import METADATA_KEY
from archgym.datasets.stored import write_manifest
from archgym.errors import ArchGymError, FileFormatError
from tests.datasets.making import mixture

TRAIN = Path("data") / "train-00000-of-00001.parquet"
N_FLIPPED = 160
N_CUT = 40
# chosen: the test's own libraries grow by less; a bomb would take gigabytes.
MAX_GROWTH_MB = 300
MAX_SECONDS = 5.0

_watching: list[Path] = []
_FORBIDDEN: tuple[str, ...] = (
    "exec",
    "compile",
    "import",
    "marshal.loads",
    "pickle.find_class",
    "os.system",
)
_FORBIDDEN += ("subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "ctypes.dlopen")
_FORBIDDEN += ("socket.connect", "os.remove", "os.rename", "os.mkdir", "shutil.rmtree")


class ForbiddenError(Exception):
    """Reading a file has done what reading a file must not do."""


_strangers: set[int] = set()
"""Threads that earlier tests left behind, such as Ray's, which read files of their own."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    # Threads that reading starts are watched: they are not among those that were there before.
    if not _watching or threading.get_ident() in _strangers:
        return
    if event in _FORBIDDEN:
        # A module that Python has loaded already is only looked up.
        if event != "import" or arguments[0] not in sys.modules:
            raise ForbiddenError(event, arguments)
    elif event == "open" and isinstance(arguments[0], str | bytes):
        path = Path(os.fsdecode(arguments[0]))
        if _watching[0] not in path.resolve().parents and "/proc" not in path.parts[:2]:
            raise ForbiddenError(event, arguments)


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Forbids code, processes, and files outside the folder; an audit hook cannot be removed."""
    if not getattr(_watch, "is_added", False):
        sys.addaudithook(_watch)
        _watch.is_added = True  # type: ignore[attr-defined]  # a note on the function
    _strangers.update(_other_threads())
    _watching.append(folder.resolve())
    try:
        yield
    finally:
        _watching.clear()
        _strangers.clear()


def _other_threads() -> set[int]:
    """Identifiers of all threads with Python frames but this one."""
    return set(sys._current_frames()) - {threading.get_ident()}


def refused(call: Callable[[], object], folder: Path) -> str | None:
    """The one line that a call is refused with; None where it is not."""
    started = time.process_time()
    with watched(folder):
        try:
            call()
            message = None
        except ArchGymError as error:
            message = str(error)
    assert time.process_time() - started < MAX_SECONDS
    assert message is None or "\n" not in message
    return message


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound dataset, read once so that everything is imported."""
    made = mixture(tmp_path_factory.mktemp("sound"), Split("design", 0.2, 0.2))
    read_dataset(made)
    verify_dataset(made, sample=0)
    return made


def rewritten(dataset: Path, path: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """A changed copy of the dataset's training part."""
    table = change(pq.read_table(dataset / TRAIN))
    plain = ("design", "error")
    words = [f.name for f in table.schema if f.name not in plain and not pa.types.is_list(f.type)]
    pq.write_table(table, path, use_dictionary=words)
    return path


def mutants(content: bytes, plain: bytes, seed: int) -> Iterator[bytes]:
    """Damaged copies: bits flipped in data and footer, compressed or not, and ends cut off."""
    rng = np.random.default_rng(seed)
    for number in range(N_FLIPPED):
        damaged = bytearray(plain if number % 2 else content)
        footer = len(damaged) - 8 - int.from_bytes(damaged[-8:-4], "little")
        low, high = (4, footer) if number % 4 < 2 else (footer, len(damaged))
        for place in rng.integers(low, high, size=1 + number % 3):
            damaged[int(place)] ^= 1 << int(rng.integers(8))
        yield bytes(damaged)
    for _ in range(N_CUT):
        yield content[: int(rng.integers(len(content)))]


def test_mutated_files_are_refused_in_a_line_or_read(dataset: Path, tmp_path: Path) -> None:
    content = (dataset / TRAIN).read_bytes()
    plain = tmp_path / "plain.parquet"
    words = [n for n in pq.read_schema(dataset / TRAIN).names if n not in ("design", "error")]
    pq.write_table(pq.read_table(dataset / TRAIN), plain, compression="none", use_dictionary=words)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = tmp_path / "mutant.parquet"
    messages = []
    for mutant in mutants(content, plain.read_bytes(), seed=5):
        path.write_bytes(mutant)
        messages.append(refused(lambda: read_dataset(path), tmp_path))

    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    said = [message for message in messages if message is not None]
    assert len(messages) == N_FLIPPED + N_CUT
    assert len(said) > 0.7 * len(messages)
    assert all(message.startswith(str(path)) for message in said)
    assert grown_mb < MAX_GROWTH_MB


def test_watch_forbids_what_a_hostile_file_would_do(tmp_path: Path) -> None:
    for call in (
        lambda: exec("1"),
        lambda: open("/etc/passwd"),  # noqa: SIM115, PTH123 - it is not opened
        lambda: os.system("true"),
    ):
        with watched(tmp_path), pytest.raises(ForbiddenError):
            call()


def test_mutants_beside_a_manifest_are_never_opened(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    (folder / "data").mkdir(parents=True)
    for path in dataset.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(dataset)).write_bytes(path.read_bytes())
    content = bytearray((folder / TRAIN).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / TRAIN).write_bytes(content)

    message = refused(lambda: read_dataset(folder), tmp_path)

    assert message is not None
    assert "does not have the digest that stands in SHA256SUMS" in message


def _metadata_mutants(about: dict[str, Any]) -> Iterator[bytes]:
    wrong: list[Any] = [None, -1, 1.5, True, "x", [], {}, [[]], 10**30]
    for key in about:
        yield json.dumps({name: part for name, part in about.items() if name != key}).encode()
        for value in wrong:
            if not (key == "split" and value is None) and not (
                key in ("name", "license") and value == "x"
            ):
                yield json.dumps({**about, key: value}).encode()
    for group in ("tasks", "declarations"):
        for key in about[group][0]:
            if key in ("reference", "weight", "reasons", "id", "default_workload", "fidelity"):
                continue
            for other in (None, -1, [1]):
                changed = {**about[group][0], key: other}
                yield json.dumps({**about, group: [changed, *about[group][1:]]}).encode()
    yield b"[" * 100_000
    yield b""
    yield b"\xff\xfe"
    yield b"null"
    yield b'{"format": "archgym-dataset"}'


def test_mutated_metadata_is_refused_in_a_line(dataset: Path, tmp_path: Path) -> None:
    table = pq.read_table(dataset / TRAIN).slice(0, 3)
    about = json.loads(table.schema.metadata[METADATA_KEY])
    path = tmp_path / "mutant.parquet"
    said = []
    for content in _metadata_mutants(about):
        words = [name for name in table.schema.names if name not in ("design", "error")]
        changed = table.replace_schema_metadata({METADATA_KEY: content})
        pq.write_table(changed, path, use_dictionary=words)
        said.append(refused(lambda: read_dataset(path), tmp_path))

    assert len(said) > 100
    # Some of it, such as what a task was weighted by, reading does not depend on.
    assert sum(message is None for message in said) < 0.15 * len(said)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("absent", lambda t: t.drop_columns(["design"]), "its column 15 must be 'design string'"),
        ("extra", lambda t: t.append_column("x", t["step"]), "must be 'none'"),
        (
            "type",
            lambda t: t.set_column(t.schema.get_field_index("banks"), "banks", t["gain"]),
            "must be 'banks int64'; it is 'banks double'",
        ),
        (
            "no-metadata",
            lambda t: t.replace_schema_metadata({}),
            "metadata must say what the dataset is",
        ),
        (
            "value",
            lambda t: t.set_column(
                t.schema.get_field_index("banks"), "banks", pa.array([3] * len(t))
            ),
            "`banks` must be one of 1, 2, 4, 8, 16; got 3",
        ),
        (
            "id",
            lambda t: t.set_column(
                t.schema.get_field_index("feasible"), "feasible", pa.array([False] * len(t))
            ),
            "feasible rows must have a finite number for each metric, others none",
        ),
    ],
)
def test_wrong_columns_are_named(
    dataset: Path,
    tmp_path: Path,
    name: str,
    change: Callable[[pa.Table], pa.Table],
    problem: str,
) -> None:
    path = rewritten(dataset, tmp_path / f"{name}.parquet", change)

    message = refused(lambda: read_dataset(path), tmp_path)

    assert message is not None
    assert problem in message


def test_bombs_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The limit is lowered, as a file that is worth half a gigabyte takes long to make.
    monkeypatch.setattr("archgym.files.parquet.file._MAX_GROUP_BYTES", 10_000_000)
    schema = pa.schema([("x", pa.int64())], metadata={METADATA_KEY: b"{}"})
    nothing = pa.nulls(3_000_000, pa.int64())
    pq.write_table(pa.table([nothing], schema), tmp_path / "rows.parquet", row_group_size=3_000_000)
    bytes_ = pa.table({"x": ["a" * 8_000_000] * 2})
    pq.write_table(bytes_, tmp_path / "bytes.parquet", compression="zstd", use_dictionary=False)
    del bytes_
    delta = pa.table({"x": ["a" * 1000] * 1000})
    pq.write_table(
        delta,
        tmp_path / "delta.parquet",
        use_dictionary=False,
        column_encoding={"x": "DELTA_BYTE_ARRAY"},
    )
    footer = b"PAR1" + b"\0" * 100 + (2**31 - 1).to_bytes(4, "little") + b"PAR1"
    (tmp_path / "footer.parquet").write_bytes(footer)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert (tmp_path / "bytes.parquet").stat().st_size < 10_000
    for name, problem in (
        ("rows", "at most 1048576 rows in a row group; got 3000000"),
        ("bytes", "at most 10000000 bytes in a row group; got 16"),
        ("delta", "encoding that is not taken"),
        ("footer", "its footer must be at most"),
    ):
        path = tmp_path / f"{name}.parquet"
        message = refused(lambda path=path: read_dataset(path), tmp_path)  # type: ignore[misc]
        assert message is not None
        assert problem in message, message

    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MAX_GROWTH_MB


def test_place_outside_a_dictionary_is_refused(dataset: Path, tmp_path: Path) -> None:
    table = pq.read_table(dataset / TRAIN)
    sound = table.column("mode").combine_chunks()
    beyond = pa.DictionaryArray.from_arrays(
        pa.array([2**30] * len(sound), pa.int32()), sound.dictionary, safe=False
    )
    with pytest.raises(pa.ArrowInvalid):
        beyond.validate(full=True)
    # No writer makes such a file: the width of the places is raised in the pages of one.
    path = rewritten(dataset, tmp_path / "places.parquet", lambda t: t)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(2)
    for _ in range(30):
        damaged = bytearray(content)
        damaged[int(rng.integers(4, len(content) // 2))] = 0xFF
        path.write_bytes(damaged)
        refused(lambda: read_dataset(path), tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "data/../../x",
        "data//x",
        "",
        "\\x",
        "a\rb\n",
    ],
    ids=repr,
)
def test_manifest_names_only_files_inside(dataset: Path, tmp_path: Path, line: str) -> None:
    folder = _copied(dataset, tmp_path)
    with (folder / "SHA256SUMS").open("a") as manifest:
        manifest.write(f"{'0' * 64}  {line}\n")

    for call in (read_dataset, verify_dataset, summarise_dataset):
        message = refused(lambda call=call: call(folder), tmp_path)  # type: ignore[misc]
        assert message is not None
        assert "each line must hold a SHA-256" in message


@pytest.mark.parametrize("content", [b"\xff" * 100, b"0" * 3_000_000, b"x\n" * 10], ids=len)
def test_manifest_of_another_form_is_refused(dataset: Path, tmp_path: Path, content: bytes) -> None:
    folder = _copied(dataset, tmp_path)
    (folder / "SHA256SUMS").write_bytes(content)

    assert refused(lambda: read_dataset(folder), tmp_path) is not None


def test_links_and_pipes_are_refused(dataset: Path, tmp_path: Path) -> None:
    folder = _copied(dataset, tmp_path)
    content = (folder / TRAIN).read_bytes()
    (folder / TRAIN).unlink()
    (folder / TRAIN).symlink_to(dataset / TRAIN)
    assert "this is a link" in str(refused(lambda: read_dataset(folder), tmp_path))

    (folder / TRAIN).unlink()
    os.mkfifo(folder / TRAIN)
    assert "must consist of files" in str(refused(lambda: read_dataset(folder), tmp_path))

    (folder / TRAIN).unlink()
    (folder / TRAIN).write_bytes(content)
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("/etc/passwd")
    problems = verify_dataset(folder, sample=0).problems
    assert any("this is a link" in problem for problem in problems)

    (folder / "data").rename(tmp_path / "elsewhere")
    (folder / "data").symlink_to(tmp_path / "elsewhere")
    assert "must have a folder 'data'" in str(refused(lambda: read_dataset(folder), tmp_path))


def test_file_beside_the_listed_ones_is_refused(dataset: Path, tmp_path: Path) -> None:
    folder = _copied(dataset, tmp_path)
    (folder / "data" / "more.parquet").write_bytes((folder / TRAIN).read_bytes())

    assert "must stand in SHA256SUMS" in str(refused(lambda: read_dataset(folder), tmp_path))


def test_files_of_several_datasets_are_refused(dataset: Path, tmp_path: Path) -> None:
    folder = _copied(dataset, tmp_path)
    other = mixture(tmp_path / "other")
    (folder / "data" / "zzz.parquet").write_bytes((other / TRAIN).read_bytes())
    names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    write_manifest(folder, [name for name in names if name != "SHA256SUMS"])

    with pytest.raises(FileFormatError, match=r"must be those of test-00000"):
        read_dataset(folder)


def _copied(dataset: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    (folder / "data").mkdir(parents=True)
    for path in dataset.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(dataset)).write_bytes(path.read_bytes())
    return folder
