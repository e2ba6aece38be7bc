"""Files at a URL, such as `s3://bucket/evaluations`: fetched whole, and written whole.

Readers of files of unknown origin need a local file, so a URL is copied to a temporary folder
first. Writers write there, and the result is uploaded. `fsspec` speaks to the stores; credentials
come from where each store's own tools look for them, and never from a URL.
"""

import atexit
import filecmp
import hashlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, final
from urllib.parse import unquote

from archgym.checks import check_path
from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    MissingExtraError,
    StorageError,
    error_text,
)
from archgym.files.storage import require_free

# A path from the command line has lost one of the two slashes.
_PATTERN: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(.*)", re.DOTALL)
_READ_ONLY: Final = ("http", "https")
_SCHEMES: Final = ("abfs", "az", "file", "gs", "hf", "memory", "s3", *_READ_ONLY)
# Packages that fsspec imports for a scheme, where they are not part of it.
_PACKAGES: Final = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
# Their folders are names only, but a bucket that is absent would be made with them.
_BUCKETS: Final = tuple(_PACKAGES)
_PACKAGES_HTTP: Final = {"http": "aiohttp", "https": "aiohttp", "hf": "huggingface_hub"}
# chosen: a dataset has six files, and a sweep of a thousand runs some five thousand.
_MAX_FILES: Final = 20_000
_MAX_PROBLEM: Final = 200
_SECRET: Final = re.compile(r"key|secret|token|password|credential|connection_string|sas", re.I)


@final
@dataclass(frozen=True)
class Url:
    """Place in a store."""

    scheme: str
    place: str
    """Bucket or host and the path in it, without the slashes before; with the query, if any."""

    def __str__(self) -> str:
        """Return the URL without its query, which may hold a signature."""
        host = "/" * (self.scheme == "file")
        return f"{self.scheme}://{host}{self.place.partition('?')[0]}"

    @property
    def name(self) -> str:
        """Last part of the path."""
        return PurePosixPath(self.place.partition("?")[0]).name


def url_of(path: str | os.PathLike[str]) -> Url | None:
    """Return the URL that a path is, or None for a path on this machine.

    >>> str(url_of(Path("s3://bucket/evaluations")))
    's3://bucket/evaluations'
    >>> url_of("runs/evaluations") is None
    True

    Args:
      path: Path or URL; a `Path` made of a URL is understood too.

    Raises:
      InvalidArgumentError: The URL has an unknown scheme, names no place, or holds credentials.
    """
    text = os.fspath(path)
    found = _PATTERN.fullmatch(text)
    if os.path.lexists(text):
        return None
    if found is None:
        if text.lower().startswith("file:"):
            raise InvalidArgumentError(
                f"A `file:` URL must have three slashes, as in file:///home/me/runs; got {text!r}."
            )
        return None
    scheme, place = found[1].lower(), found[2].lstrip("/")
    if scheme not in _SCHEMES:
        raise InvalidArgumentError(
            f"A URL must begin with one of {', '.join(f'{name}://' for name in _SCHEMES)}; got "
            f"{scheme[:20]}://."
        )
    host = place.partition("/")[0]
    # The text is not repeated: it may hold a password.
    if "@" in host:
        raise InvalidArgumentError(
            f"A URL must not hold credentials; this one of {scheme}:// has some before '@'. "
            "Set them where the tools of the store look for them."
        )
    if not place or not place.isprintable() or "::" in place or ".." in place.split("/"):
        raise InvalidArgumentError(
            f"A URL must name a place, in printable letters, without '..' and '::'; "
            f"got {text[:80]!r}."
        )
    return Url(scheme, place.rstrip("/"))


def placed(path: str | os.PathLike[str]) -> tuple[Path, Url | None]:
    """Return a path on this machine, also that of a `file:` URL, or a path and the URL that it is.

    >>> placed("file:///tmp/my%20rows.parquet")
    (PosixPath('/tmp/my rows.parquet'), None)

    Raises:
      InvalidArgumentError: It is no path.
    """
    check_path("path", path)
    url = url_of(path)
    if url is not None and url.scheme == "file":
        return Path(f"/{unquote(url.place)}"), None
    return Path(path), url


def shown(path: str | Path) -> str:
    """Return a path as people write it; a URL has its two slashes and no query.

    >>> shown(Path("s3://bucket/rows.parquet"))
    's3://bucket/rows.parquet'
    >>> shown("file:///tmp/rows.parquet")
    'file:///tmp/rows.parquet'
    """
    url = url_of(path)
    return str(path) if url is None else str(url)


def command_line(*words: str | Path) -> str:
    """Return a command that a shell reads as these words.

    A path that begins with a dash is written as no option is.

    >>> command_line("archgym", "show", Path("-my runs"))
    "archgym show './-my runs'"
    """
    texts = [
        f"./{w}" if isinstance(w, Path) and str(w).startswith("-") else shown(w) for w in words
    ]
    return shlex.join(texts)


def local_copy(path: str | Path) -> Path:
    """Return the path itself, or that of a copy of the file or folder at a URL.

    Copies lie in a temporary folder until the process ends. An unchanged URL is copied once.

    Raises:
      InvalidArgumentError: The URL is not one that can be read.
      MissingExtraError: The package for the store is not installed.
      StorageError: There is nothing, access is denied, or it takes more room than there is.
    """
    local, url = placed(path)
    if url is None:
        return local
    with _store_errors(url, "read"):
        store, place = _opened(url)
        files = _listed(url, store, place)
        stamp = repr((url, sorted((name, *facts) for name, facts in files.items())))
        folder = _copies() / hashlib.sha256(stamp.encode()).hexdigest()[:16]
        target = folder / (url.name or "root")
        if folder.exists():
            return target
        _check_room(url, sum(size for size, _, _ in files.values()))
        scratch = Path(tempfile.mkdtemp(dir=_copies()))
        for name, (_, _, remote) in files.items():
            local = scratch / (url.name or "root") / name
            local.parent.mkdir(parents=True, exist_ok=True)
            store.get_file(remote, str(local))
        with suppress(OSError):
            # Another thread may have been faster, with the same copy.
            scratch.rename(folder)
    return target


@contextmanager
def local_output(out: str | Path) -> Iterator[Path]:
    """Return the path itself to write to, or a local one that is uploaded to a URL at the end.

    Raises:
      InvalidArgumentError: There is something at the URL already, or it cannot be written.
      StorageError: The upload failed; what came of it is removed.
    """
    here, url = placed(out)
    if url is None:
        yield here
        return
    require_absent(out)
    with tempfile.TemporaryDirectory(prefix="archgym-") as folder:
        local = Path(folder) / url.name
        yield local
        upload(local, out)


def require_absent(out: str | Path) -> None:
    """Refuse a path or URL at which there is something, and one in a bucket that is absent.

    Raises:
      InvalidArgumentError: There is, or the URL can only be read.
      StorageError: The store does not answer, or has no such bucket.
    """
    here, url = placed(out)
    if url is None:
        require_free(here)
        return
    if url.scheme in _READ_ONLY:
        raise InvalidArgumentError(
            f"{url} can only be read. Write to another store, such as s3://."
        )
    with _store_errors(url, "written"):
        store, place = _opened(url)
        if store.exists(place):
            raise InvalidArgumentError(
                f"{url} must not exist yet; it does. Choose another name, or remove it first."
            )
        if url.scheme in _BUCKETS:
            # Who may write need not be allowed to list.
            with suppress(PermissionError):
                store.info(place.partition("/")[0])


def upload(local: Path, out: str | Path) -> None:
    """Copy a local file or folder to a URL; each file appears whole or not at all.

    Of a folder, the files at its top come last: checksums are there once everything is. Stores that
    write under a condition, such as S3, refuse a file that another process has just written.

    Raises:
      InvalidArgumentError: Another process wrote there meanwhile; its files stay.
      StorageError: It failed; what was copied is removed.
    """
    url = url_of(out)
    assert url is not None
    names = [""]
    if local.is_dir():
        names = [str(p.relative_to(local)) for p in sorted(local.rglob("*")) if p.is_file()]
        names.sort(key=lambda name: (-name.count("/"), name))
    done: list[str] = []
    with _store_errors(url, "written"):
        store, place = _opened(url)
        try:
            for name in names:
                target = f"{place}/{name}" if name else place
                if url.scheme not in _BUCKETS:
                    with suppress(NotImplementedError, FileExistsError):
                        store.makedirs(target.rpartition("/")[0], exist_ok=True)
                try:
                    store.put_file(str(local / name), target, mode="create")
                except BaseException as error:
                    # A request is repeated if its answer was lost, and then finds its own file.
                    if _is_taken(error):
                        if _is_copy(store, target, local / name):
                            continue
                        raise InvalidArgumentError(
                            f"{url} must not exist yet; another process has just written it. "
                            "Choose another name, or remove it first."
                        ) from None
                    # It may have arrived, though the answer was lost.
                    done.append(target)
                    raise
                done.append(target)
        except BaseException:
            for target in done:
                with suppress(Exception):
                    store.rm_file(target)
            raise


def _is_taken(error: BaseException) -> bool:
    """Return True if a store refused to write since there is an object, however it says so."""
    response = getattr(error.__cause__, "response", None) or {}
    code = response.get("Error", {}).get("Code")
    refusals = ("PreconditionFailed", "ConditionalRequestConflict", "412")
    return isinstance(error, FileExistsError) or code in refusals


def _is_copy(store: Any, target: str, local: Path) -> bool:
    """Return True if an object has the content of a local file."""
    if store.info(target)["size"] != local.stat().st_size:
        return False
    with tempfile.TemporaryDirectory(prefix="archgym-") as folder:
        store.get_file(target, str(Path(folder) / "copy"))
        return filecmp.cmp(Path(folder) / "copy", local, shallow=False)


def require_local(folder: str | Path, what: str) -> Path:
    """Return a folder that is written step by step under a lock, and refuse a URL of a store.

    Args:
      folder: Path or URL.
      what: Kind of folder in a sentence, such as "A study".

    Raises:
      InvalidArgumentError: It is a URL, or no path.
    """
    here, url = placed(check_path("folder", folder))
    if url is not None:
        raise InvalidArgumentError(
            f"{what} must be written in a folder of a file system; got {url}, and a store has "
            "neither locks nor files that grow. Write it locally, and copy the folder to the "
            "store: it can be read there."
        )
    return here


def _opened(url: Url) -> tuple[Any, str]:
    """Return the store of a URL, which is asked afresh, and the place in its own words."""
    try:
        import fsspec
    except ImportError:
        raise MissingExtraError("fsspec", "remote") from None
    try:
        store = fsspec.filesystem(url.scheme)
    except ImportError:
        package = {**_PACKAGES, **_PACKAGES_HTTP}.get(url.scheme, "fsspec")
        if package in ("gcsfs", "adlfs"):
            raise StorageError(
                f"{url} needs the package {package!r}. Install it with: pip install {package}."
            ) from None
        raise MissingExtraError(package, "remote") from None
    store.invalidate_cache()
    text = f"{url.scheme}://{url.place}"
    return store, str(store._strip_protocol(text))


def _listed(url: Url, store: Any, place: str) -> dict[str, tuple[int, str, str]]:
    """Return size, version and name in the store of each file, by its name below the URL."""
    info = store.info(place)
    found = {place: info} if info["type"] == "file" else store.find(place, detail=True)
    if len(found) > _MAX_FILES:
        raise StorageError(f"{url} must hold at most {_MAX_FILES} files; it has {len(found)}.")
    if not found:
        raise FileNotFoundError(place)
    files = {}
    for remote, facts in found.items():
        name = remote[len(place) :].lstrip("/") if info["type"] != "file" else ""
        parts = PurePosixPath(name).parts
        if not name.isprintable() or ".." in parts or len(name) > 500 or "\\" in name:
            raise StorageError(f"{url} holds a file of an unsafe name, {name[:80]!r}.")
        version = str(facts.get("ETag") or facts.get("created") or facts.get("LastModified") or "")
        # A web server need not say how large a file is.
        files[name] = (int(facts.get("size") or 0), version, remote)
    return files


def _check_room(url: Url, n_bytes: int) -> None:
    free = shutil.disk_usage(_copies()).free
    if n_bytes > free:
        raise StorageError(
            f"{url} takes {n_bytes} bytes, more than the {free} that are free in "
            f"{_copies().parent}. Free some space, or set TMPDIR."
        )


_folders: dict[int, Path] = {}


def _copies() -> Path:
    """Return this process's folder of copies, which is deleted when it ends."""
    process = os.getpid()
    if process not in _folders:
        folder = Path(tempfile.mkdtemp(prefix="archgym-remote-"))
        _folders[process] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _folders[process]


@contextmanager
def _store_errors(url: Url, action: str) -> Iterator[None]:
    """Turn whatever a store's library raises into one line without secrets."""
    try:
        yield
    except ArchGymError:
        raise
    except FileNotFoundError:
        problem = "there is nothing" if action == "read" else "there is no such bucket"
        raise StorageError(f"{url} cannot be {action}: {problem}. Check the URL.") from None
    except PermissionError:
        raise StorageError(
            f"{url} cannot be {action}: access is denied. Set the credentials where the tools of "
            "the store look for them."
        ) from None
    # Each library has errors of its own; none of them has a base that others share.
    except Exception as error:
        raise StorageError(f"{url} cannot be {action}: {_problem(error)}.") from None


def _problem(error: Exception) -> str:
    text = " ".join(error_text(error).split()) or type(error).__name__
    for name, value in os.environ.items():
        if len(value) >= 4 and _SECRET.search(name):
            text = text.replace(value, "***")
    text = re.sub(r"\?\S*", "?…", text)
    return "".join(c if c.isprintable() else "?" for c in text)[:_MAX_PROBLEM].rstrip(".")
