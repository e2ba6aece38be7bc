"""Compiled functions of simulators and where their machine code is cached.

Numba's own cache looks only at the file of the cached function, so a changed callee in another
file would go unnoticed. Here the cache folder's name carries a hash of every source file of the
function's folder and of the modules of simulators that these import; folders of other hashes are
pruned once they are old.
"""

import atexit
import fcntl
import functools
import grp
import hashlib
import logging
import operator
import os
import pwd
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.datamodel.models import PointerModel
from numba.core.runtime.nrt import rtsys
from numba.extending import intrinsic, lower_builtin, register_model

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])
Announce = Callable[[str, float], None]

# Kernels borrow all their memory from the caller, so they need no reference counts (`_nrt`), which
# would cost a third of the time; a kernel that allocates an array fails to compile.
_OPTIONS: Final[dict[str, Any]] = {"error_model": "numpy", "nogil": True, "_nrt": False}
_PRUNE_AFTER_S: Final = 14 * 24 * 3600.0  # chosen: two weeks, longer than a branch is left alone
_TURNS: Final = 10.0  # chosen: a machine so much slower than ours, or so loaded, compiles by itself
_SIMULATORS: Final = Path(__file__).parent.parent / "simulators"
# The kit has no kernels: it is the way to what compiles them.
_IMPORTED: Final = re.compile(
    rb"^[ \t]*(?:from|import) (archgym\.simulators\.(?!kit\b)[\w.]+)"
    rb"(?: import (\([^)]*\)|[^\n]*))?",
    re.MULTILINE,
)
_announcers: list[Announce] = []


def compiled(function: Function) -> Function:
    """Compile a helper of kernels; LLVM decides whether its calls are inlined."""
    dispatcher: Any = numba.njit(**_OPTIONS)(function)
    return cast(Function, dispatcher)


def helper(function: Function) -> Function:
    """Compile a helper that kernels alone call, in less time: Python has no way to call it."""
    options = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher: Any = numba.njit(**options)(function)
    return cast(Function, dispatcher)


def inlined(function: Function) -> Function:
    """Compile a helper of kernels that every caller takes in whole."""
    dispatcher: Any = numba.njit(**_OPTIONS, forceinline=True)(function)
    return cast(Function, dispatcher)


def entry_point(seconds: float, allocates: bool = False) -> Callable[[Function], Function]:
    """Compile a kernel that Python calls, and cache its machine code on disk.

    Args:
      seconds: About how long compiling takes on one core, for the notice that precedes it [s].
      allocates: True if what it calls allocates arrays.
    """

    def decorate(function: Function) -> Function:
        dispatcher: Any = numba.njit(**{**_OPTIONS, "_nrt": allocates})(function)
        dispatcher._cache = _FolderCache(function, seconds, allocates)
        return cast(Function, dispatcher)

    return decorate


def on_compile(announce: Announce) -> Callable[[], None]:
    """Register who is told before a kernel is compiled.

    Args:
      announce: Called with the kernel's name and the expected seconds, before compiling.

    Returns:
      A function that takes the registration back.
    """
    _announcers.append(announce)

    def withdraw() -> None:
        if announce in _announcers:
            _announcers.remove(announce)

    return withdraw


class _Records(types.CPointer):
    """Type of a pointer to the first of several records; an entry is a record in its place."""


register_model(_Records)(PointerModel)


def _record_at(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Generate the code of an entry of `_Records`, which is not copied."""
    return builder.gep(arguments[0], [arguments[1]])


lower_builtin(operator.getitem, _Records, types.Integer)(_record_at)  # type: ignore[no-untyped-call]


def _pointer(typing_context: Any, array: Any) -> Any:
    """Return the place of an array's first entry: indexed like the array, but only from 0 up.

    It goes to a helper in one register where an array takes seven words, and no index is looked at
    for being negative. It must not outlive the array.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    kind: Any = _Records if isinstance(array.dtype, types.Record) else types.CPointer
    element = kind(array.dtype)
    return element(array), generate


def _lowest_bit(typing_context: Any, word: Any) -> Any:
    """Return the index of a word's lowest set bit."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


def _kept_apart(typing_context: Any) -> Any:
    """Keep LLVM from copying the helper that calls this into each of its callers.

    For large helpers with several callers: copies of copies can make compiling take minutes.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # Numba inlines what it first meets in a helper that is inlined.
        builder.function.attributes.discard("alwaysinline")
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


# What compiled code calls has other arguments than what says how to compile the call.
pointer: Callable[[Any], Any] = cast(Callable[[Any], Any], intrinsic(_pointer))
kept_apart: Callable[[], None] = cast(Callable[[], None], intrinsic(_kept_apart))
lowest_bit: Callable[[int], int] = cast(Callable[[int], int], intrinsic(_lowest_bit))
if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # set at run time
    # For debugging, kernels run as Python, which knows no pointers.
    pointer, kept_apart = (lambda array: array.reshape(-1)), (lambda: None)
    # Kernels shift its result, which must have 64 bits.
    lowest_bit = cast(
        Callable[[int], int], lambda word: np.int64((int(word) & -int(word)).bit_length() - 1)
    )


@functools.cache
def cache_folder(sources: Path) -> Path:
    """Return the folder that holds the machine code of the kernels in one source folder.

    It lies in `$ARCHGYM_CACHE_DIR`, else in `$XDG_CACHE_HOME/archgym` or `~/.cache/archgym`, and
    where none can be written, in the temporary folder. A folder that another user could change or
    replace is not used, since code would be loaded from it. Equal sources share a folder, so that a
    second checkout or environment compiles nothing again.

    Args:
      sources: Folder of the kernels' Python files.
    """
    name = cache_name(sources)
    stem = name.rpartition("-")[0]
    for root in _cache_roots():
        folder = root / name
        if _is_usable(folder):
            folder = folder.resolve()
            _prune(root, stem, keep=name)
            return folder
    logger.warning(
        "No folder for compiled kernels is safe from other users; they are compiled again in each "
        "process. Set ARCHGYM_CACHE_DIR to a folder that only you can write."
    )
    private = Path(tempfile.mkdtemp(prefix="archgym-kernels-"))
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return private / name


def cache_name(sources: Path) -> str:
    """Return the name of the folder of a source folder's machine code; see `cache_folder`."""
    # Several simulators have a folder `kernel`; old ones of one are pruned, not of another.
    is_ours = sources.is_relative_to(_SIMULATORS)
    stem = ".".join(sources.relative_to(_SIMULATORS).parts) if is_ours else sources.name
    return f"{stem}-{_sources_hash(sources)}"


def _sources_hash(sources: Path) -> str:
    """Return a hash of all sources that kernels of a folder may call.

    These are the folder's own, in whatever subfolder, and the modules of simulators that any of
    them imports, and those that these import: a metric or a space has no machine code.
    """
    digest = hashlib.sha256()
    pending = sorted(sources.rglob("*.py"))
    known = set(pending)
    # The list grows by the modules that each file imports.
    for path in pending:
        content = path.read_bytes()
        base = sources if path.is_relative_to(sources) else _SIMULATORS
        digest.update(f"{base.name}/{path.relative_to(base).as_posix()}".encode())
        digest.update(content)
        imported = sorted(
            {
                module
                for name, names in _IMPORTED.findall(content)
                for module in _modules(name.decode(), names.decode())
            }
            - known
        )
        known.update(imported)
        pending += imported
    return digest.hexdigest()[:16]


def _modules(name: str, names: str) -> list[Path]:
    """Return the files of an import from a simulator: a module, or a package and its parts."""
    place = _SIMULATORS.joinpath(*name.split(".")[2:])
    parts = (part.split(" as ")[0] for part in re.split(r"[(),\s]*[,(\n)][(),\s]*", names))
    files = [place.with_suffix(".py"), place / "__init__.py"]
    files += [place / f"{part.strip()}.py" for part in parts if part.strip().isidentifier()]
    return [path for path in files if path.is_file()]


def _cache_roots() -> list[Path]:
    roots = []
    if configured := os.environ.get("ARCHGYM_CACHE_DIR"):
        roots.append(Path(configured) / "kernels")
    if configured := os.environ.get("XDG_CACHE_HOME"):
        roots.append(Path(configured) / "archgym" / "kernels")
    try:
        roots.append(Path.home() / ".cache" / "archgym" / "kernels")
    except RuntimeError:
        logger.debug("This machine names no home folder; kernels are cached in a temporary one.")
    owner = str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    roots.append(Path(tempfile.gettempdir()) / f"archgym-{owner}" / "kernels")
    return roots


def _is_usable(folder: Path) -> bool:
    """Return True if the folder can be made and written, and no other user can change it."""
    try:
        for place in (*reversed(folder.parents), folder):
            if not place.exists():
                place.mkdir(mode=0o700, exist_ok=True)
        # Without links, so that nobody can point elsewhere what was checked.
        resolved = folder.resolve(strict=True)
        if hasattr(os, "getuid") and not _is_safe(resolved):
            return False
        tempfile.TemporaryFile(dir=resolved).close()
    except OSError:
        return False
    return True


def _is_safe(folder: Path) -> bool:
    """Return True if only this user and root can change a folder or replace one above it.

    Cached code is unpickled, so any user who can write there can run code as this user.
    """
    if folder.stat().st_uid != os.getuid():
        return False
    for place in (folder, *folder.parents):
        status = place.stat()
        if status.st_uid not in (0, os.getuid()):
            return False
        # In a sticky folder such as /tmp, nobody can rename what belongs to another.
        is_sticky = place != folder and status.st_mode & stat.S_ISVTX
        if status.st_mode & stat.S_IWOTH and not is_sticky:
            return False
        if status.st_mode & stat.S_IWGRP and not (is_sticky or _is_own_group(status.st_gid)):
            return False
    return True


def _is_own_group(group: int) -> bool:
    """Return True for root's group, and for the group that has this user as its only member."""
    if group == 0:
        return True
    try:
        user, entry = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return entry.gr_name == user.pw_name and set(entry.gr_mem) <= {user.pw_name}


def _prune(root: Path, stem: str, keep: str) -> None:
    """Remove folders of other source states that nobody has used for two weeks."""
    os.utime(root / keep)
    oldest = time.time() - _PRUNE_AFTER_S
    for folder in root.glob(f"{stem}-*"):
        try:
            if folder.name != keep and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)
        except OSError:
            logger.debug("The old kernel cache %s stays: it cannot be removed.", folder)


class _FolderLocator(_CacheLocator):
    """Locator that places a function's cache in `cache_folder` of its source folder."""

    def __init__(self, function: Callable[..., Any], path: str) -> None:
        self._folder = cache_folder(Path(path).parent)
        self._py_file = path  # numba's warnings name it
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> Any:
        return str(self._folder)

    def get_source_stamp(self) -> Any:
        return self._folder.name

    def get_disambiguator(self) -> Any:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_FolderLocator":
        locator = cls(py_func, py_file)
        locator.ensure_cache_path()  # type: ignore[no-untyped-call]  # numba has no types
        return locator


class _FolderCacheImpl(CompileResultCacheImpl):
    def __init__(self, function: Callable[..., Any]) -> None:
        self._locator_classes = [_FolderLocator]
        super().__init__(function)  # type: ignore[no-untyped-call]  # as above


class _FolderCache(FunctionCache):
    """A function cache that lies in `cache_folder` and announces a compilation."""

    _impl_class = _FolderCacheImpl

    def __init__(self, function: Callable[..., Any], seconds: float, allocates: bool) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]  # numba has no types
        self._allocates = allocates
        self._kernel = f"{function.__module__}.{function.__name__}"
        self._seconds = seconds
        self._turn = -1

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        # Numba's own first prepares to compile, for which it imports SciPy and takes most of a
        # second. Loading needs none of that but an allocator, and what compiles prepares by itself.
        if self._allocates:
            rtsys.initialize(target_context)
        found = self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # as above
        if found is None and self._wait_for_turn():
            found = self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        if found is None:
            logger.info("Compiling %s (about %.0f s, once).", self._kernel, self._seconds)
            for announce in tuple(_announcers):
                announce(self._kernel, self._seconds)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]  # as above
        except OSError as error:
            # A full disk must not stop a simulation, only make the next process compile again.
            logger.warning("%s is not cached: %s.", self._kernel, error.strerror or error)
        finally:
            if self._turn >= 0:
                os.close(self._turn)
                self._turn = -1

    def _wait_for_turn(self) -> bool:
        """Take the turn to compile, until it is saved; of many processes, one is to compile.

        Returns:
          Whether it was taken now, so that another process may have compiled before.
        """
        if self._turn >= 0:
            return False
        path = Path(self._cache_path) / f"{self._kernel}.compiling"
        deadline = time.monotonic() + _TURNS * self._seconds
        try:
            self._turn = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(0.05)
                else:
                    return True
        except OSError:
            # A file system without locks: each compiles for itself.
            logger.debug("%s cannot be locked.", path)
        return False
