"""Compiled functions: where their machine code is cached, and when it is made anew."""

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.runtime import kernels
from archgym.runtime.kernels import (
    cache_folder,
    compiled,
    entry_point,
    inlined,
    kept_apart,
    on_compile,
    pointer,
)

ENTRY = """
from archgym.runtime.kernels import entry_point
from tiny.callee import answer

@entry_point(seconds=1.0)
def ask(x):
    return answer(x)
"""
CALLEE = """
from archgym.runtime.kernels import compiled

@compiled
def answer(x):
    return x + {number}
"""
MAIN = """
import sys
from archgym.runtime.kernels import on_compile
on_compile(lambda name, seconds: print("compiling", name))
from tiny.entry import ask
print(ask(1))
if "numba.np.linalg" in sys.modules:
    print("was ready to compile")
"""


def run_tiny(folder: Path, number: int) -> str:
    write_tiny(folder, number)
    return run_written_tiny(folder)


def write_tiny(folder: Path, number: int) -> None:
    package = folder / "tiny"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    (package / "entry.py").write_text(ENTRY)
    (package / "callee.py").write_text(CALLEE.format(number=number))


def run_written_tiny(folder: Path) -> str:
    root = Path(kernels.__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder}{os.pathsep}{root}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ARCHGYM_CACHE_DIR": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", MAIN], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.slow
def test_edited_callee_changes_the_next_process(tmp_path: Path) -> None:
    assert "compiling tiny.entry.ask\n11\n" in run_tiny(tmp_path, 10)
    assert run_tiny(tmp_path, 10) == "11\n"
    assert "compiling tiny.entry.ask\n21\n" in run_tiny(tmp_path, 20)


@pytest.mark.slow
def test_of_processes_that_start_together_one_compiles(tmp_path: Path) -> None:
    write_tiny(tmp_path, 10)
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(run_written_tiny, [tmp_path] * 3))

    assert sum("compiling" in text for text in said) == 1
    assert sum(text == "11\n" for text in said) == 2


@pytest.mark.slow
def test_cached_kernel_starts_without_what_compiling_needs(tmp_path: Path) -> None:
    first = run_tiny(tmp_path, 10)

    second = run_tiny(tmp_path, 10)

    # What the second must not import is what the first did.
    assert first == "compiling tiny.entry.ask\n11\nwas ready to compile\n"
    assert second == "11\n"


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a.py").write_text("x = 1\n")
    cache_folder.cache_clear()
    yield folder
    cache_folder.cache_clear()


def test_folder_carries_a_hash_of_all_sources(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHGYM_CACHE_DIR", str(tmp_path / "cache"))
    before = cache_folder(sources)
    (sources / "b.py").write_text("y = 2\n")
    cache_folder.cache_clear()

    after = cache_folder(sources)

    assert before.parent == after.parent == tmp_path / "cache" / "kernels"
    assert before.name.startswith("model-")
    assert before != after


def test_checkouts_with_equal_sources_share_machine_code(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHGYM_CACHE_DIR", str(tmp_path / "cache"))
    other = tmp_path / "checkout" / "model"
    other.mkdir(parents=True)
    (other / "a.py").write_text("x = 1\n")

    assert cache_folder(other) == cache_folder(sources)


def test_folder_carries_a_hash_of_the_modules_that_sources_import(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHGYM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("archgym.runtime.kernels._SIMULATORS", tmp_path)
    (sources / "a.py").write_text("from archgym.simulators.other.b import f\n")
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.py").write_text("f = 1\n")
    before = cache_folder(sources)
    (other / "b.py").write_text("f = 2\n")
    cache_folder.cache_clear()

    assert cache_folder(sources) != before


@pytest.mark.parametrize(
    ("imports", "changed"),
    [
        ("from archgym.simulators.other.part.b import f", "other/part/b.py"),
        ("from archgym.simulators.other.part import b as c", "other/part/b.py"),
        (
            "from archgym.simulators.other.part import (\n    a,\n    b,  # both\n)",
            "other/part/b.py",
        ),
        ("def f():\n    from archgym.simulators.other.part import b", "other/part/b.py"),
        ("import archgym.simulators.other.part.b", "other/part/b.py"),
        ("from archgym.simulators.other.part import f", "other/part/__init__.py"),
        # What is imported may itself import from another folder of its simulator.
        ("from archgym.simulators.link import f", "other/part/b.py"),
        # A kernel in a sub-folder may import from its own simulator.
        ("from archgym.simulators.model.layout import f", "model/layout.py"),
        ("from archgym.simulators.model.tables import c", "model/tables/c.py"),
    ],
)
def test_folder_carries_a_hash_of_modules_that_sources_import_in_any_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imports: str, changed: str
) -> None:
    monkeypatch.setenv("ARCHGYM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("archgym.runtime.kernels._SIMULATORS", tmp_path)
    sources = tmp_path / "model" / "kernel"
    for path in (sources / "a.py", tmp_path / changed):
        path.parent.mkdir(parents=True, exist_ok=True)
    (sources / "a.py").write_text(f"{imports}\n")
    (tmp_path / "link.py").write_text("from archgym.simulators.other.part.b import f\n")
    (tmp_path / changed).write_text("f = 1\n")
    before = cache_folder(sources)
    (tmp_path / changed).write_text("f = 2\n")
    cache_folder.cache_clear()

    assert cache_folder(sources) != before
    assert before.name.startswith("model.kernel-")


def test_change_beside_the_kernels_compiles_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHGYM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("archgym.runtime.kernels._SIMULATORS", tmp_path)
    sources = tmp_path / "model" / "kernel"
    sources.mkdir(parents=True)
    (sources / "a.py").write_text("from archgym.simulators.model.layout import f\n")
    for name in ("layout", "metrics"):
        (tmp_path / "model" / f"{name}.py").write_text("f = 1\n")
    before = cache_folder(sources)
    (tmp_path / "model" / "metrics.py").write_text("f = 2\n")
    cache_folder.cache_clear()

    assert cache_folder(sources) == before


def test_changed_callee_in_a_subfolder_changes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHGYM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("archgym.runtime.kernels._SIMULATORS", tmp_path)
    callee = tmp_path / "model" / "kernel" / "parts" / "b.py"
    callee.parent.mkdir(parents=True)
    callee.write_text("f = 1\n")
    imported = tmp_path / "other" / "kernel" / "c.py"
    imported.parent.mkdir(parents=True)
    imported.write_text("g = 1\n")
    (callee.parent / "a.py").write_text("from archgym.simulators.other.kernel.c import g\n")
    folders = [tmp_path / "model", tmp_path / "model" / "kernel"]
    names = {tuple(cache_folder(folder).name for folder in folders)}
    for changed in (callee, imported):
        changed.write_text("f = g = 2\n")
        cache_folder.cache_clear()

        names.add(tuple(cache_folder(folder).name for folder in folders))

    assert len(names) == len({name for pair in names for name in pair}) / 2 == 3
    assert {name.split("-")[0] for pair in names for name in pair} == {"model", "model.kernel"}


def test_old_folders_of_other_sources_are_pruned(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "cache" / "kernels"
    old, recent, other = root / "model-old", root / "model-recent", root / "another-old"
    for folder in (old, recent, other):
        folder.mkdir(parents=True)
    month_ago = time.time() - 30 * 24 * 3600
    for folder in (old, other):
        os.utime(folder, (month_ago, month_ago))
    monkeypatch.setenv("ARCHGYM_CACHE_DIR", str(tmp_path / "cache"))

    cache_folder(sources)

    assert not old.exists()
    assert recent.exists()
    assert other.exists()


def test_machine_without_a_writable_home_falls_back(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("ARCHGYM_CACHE_DIR", str(blocked))
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setenv("HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    found = cache_folder(sources)

    assert found.is_relative_to(tmp_path / f"archgym-{os.getuid()}")


def only_root(configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves two places for the cache: the one given and the temporary folder."""
    monkeypatch.setenv("ARCHGYM_CACHE_DIR", str(configured))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))


@pytest.mark.parametrize("mode", [0o777, 0o707])
def test_cache_below_a_folder_that_others_can_write_is_not_used(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    shared = tmp_path / "shared"
    (shared / "mine" / "kernels").mkdir(parents=True, mode=0o700)
    shared.chmod(mode)
    only_root(shared / "mine", tmp_path, monkeypatch)

    assert cache_folder(sources).is_relative_to(tmp_path / "temporary")


def test_cache_that_others_can_write_is_not_used(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_root(tmp_path / "cache", tmp_path, monkeypatch)
    cache_folder(sources).chmod(0o1777)
    cache_folder.cache_clear()

    assert cache_folder(sources).is_relative_to(tmp_path / "temporary")


def test_cache_below_a_sticky_folder_is_used(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    only_root(tmp_path / "shared" / "mine", tmp_path, monkeypatch)

    assert cache_folder(sources).is_relative_to(tmp_path / "shared")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_cache_below_the_folder_of_another_user_is_not_used(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    only_root(tmp_path / "theirs" / "mine", tmp_path, monkeypatch)

    assert cache_folder(sources).is_relative_to(tmp_path / "temporary")


def test_cache_folders_are_made_for_their_user_alone(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_root(tmp_path / "cache", tmp_path, monkeypatch)

    found = cache_folder(sources)

    assert [place.stat().st_mode & 0o777 for place in (found, *found.parents[:2])] == [0o700] * 3


def test_machine_without_a_safe_folder_uses_a_private_one(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_root(tmp_path / "file", tmp_path, monkeypatch)
    planted = tmp_path / "temporary" / f"archgym-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)

    found = cache_folder(sources)

    assert not found.is_relative_to(planted)
    assert found.parent.stat().st_mode & 0o777 == 0o700


def test_compilation_is_announced_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[str, float]] = []
    withdraw = on_compile(lambda name, seconds: heard.append((name, seconds)))

    @entry_point(seconds=3.0)
    def double(x: float) -> float:
        return x + x

    double._cache.disable()  # type: ignore[attr-defined]  # a dispatcher, which numba leaves untyped
    with caplog.at_level(logging.INFO, logger="archgym.runtime.kernels"):
        assert double(2.0) == 4.0
    withdraw()
    assert double(2) == 4

    assert len(heard) == 1
    assert heard[0][0].endswith("double")
    assert heard[0][1] == 3.0
    assert "about 3 s, once" in caplog.text


def test_full_disk_does_not_stop_a_kernel(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @entry_point(seconds=1.0)
    def treble(x: float) -> float:
        return 3 * x

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(treble._cache._cache_file, "save", refuse)  # type: ignore[attr-defined]
    monkeypatch.setattr(treble._cache._cache_file, "load", lambda _: None)  # type: ignore[attr-defined]
    assert treble(2.0) == 6.0
    assert "No space left on device" in caplog.text


def test_pointer_reads_and_writes_the_array() -> None:
    @inlined
    def add(place: Any, index: Any) -> None:
        place[index] += 5

    @entry_point(seconds=1.0)
    def add_to_second(values: Any) -> None:
        add(pointer(values), 1)

    add_to_second._cache.disable()  # type: ignore[attr-defined]  # as above
    for dtype in (np.int32, np.uint8, np.int64):
        values = np.array([1, 2, 3], dtype=dtype)
        add_to_second(values)
        assert values.tolist() == [1, 7, 3]


def test_pointer_to_records_gives_records_in_their_place() -> None:
    @inlined
    def add(records: Any, index: Any) -> None:
        record = records[index]
        record.count += 5
        records[index].small = record.count

    @entry_point(seconds=1.0)
    def add_to_second(values: Any) -> None:
        add(pointer(values), 1)

    add_to_second._cache.disable()  # type: ignore[attr-defined]  # as above
    values = np.zeros(3, dtype=np.dtype([("small", np.uint8), ("count", np.int64)], align=True))
    values["count"] = [1, 2, 3]
    add_to_second(values)
    assert values["count"].tolist() == [1, 7, 3]
    assert values["small"].tolist() == [0, 7, 0]


def test_what_is_kept_apart_is_called_even_from_what_is_inlined() -> None:
    @compiled
    def square(x: Any) -> Any:
        kept_apart()
        return x * x

    @inlined
    def between(x: Any) -> Any:
        return square(x) + 1

    @entry_point(seconds=1.0)
    def ask(x: Any) -> Any:
        return between(x)

    ask._cache.disable()  # type: ignore[attr-defined]  # as above

    assert ask(3) == 10
    code = next(iter(ask.inspect_llvm().values()))  # type: ignore[attr-defined]  # as above
    assert re.search(r"call i32 @\S*square", code)
    assert not re.search(r"call i32 @\S*between", code)


def test_a_helper_is_compiled_into_what_calls_it() -> None:
    @kernels.helper
    def twice(number: int) -> int:
        return 2 * number

    @kernels.compiled
    def one_more(number: int) -> int:
        return twice(number) + 1

    assert one_more(3) == 7


def test_pointers_work_without_compilation() -> None:
    code = (
        "import numpy as np; from archgym.runtime.kernels import kept_apart, pointer; "
        "kept_apart(); print(pointer(np.arange(6).reshape(2, 3))[4])"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout == "4\n"
