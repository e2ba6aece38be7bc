"""Files that somebody changed: one-line errors, no code run, bounded time and memory."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError
from archgym.proxy import Proxy, TrainOptions, train
from tests.proxy.toydata import toy_dataset

QUICK = {"n_trees": 2, "n_randomised": 1, "min_samples_leaf": 2}
N_FLIPS = 130
N_TRUNCATIONS = 60

# Loads every file of a folder under a hook that ends the process where anything is run, fetched or
# written; what compiles (a `.npy` header is a Python literal) is only parsed.
LOOK = """
import sys, resource, time
from pathlib import Path
from archgym.errors import ArchGymError
from archgym.proxy import Proxy
import numpy as np
paths = sorted(Path(sys.argv[1]).glob("*.npz"))
def use(proxy):
    for part in proxy.parts:
        design = proxy.declaration.space.default_indices[None, :].copy()
        facts = np.zeros(len(part.encoding.facts.names))
        part.predict(design, facts)
        part.builds(design, facts)
use(Proxy.load(paths[0]))  # What is imported or compiled late is so now.
limit = 3 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
FORBIDDEN = (
    "exec", "import", "os.system", "subprocess.Popen", "socket.connect", "pickle.find_class",
    "os.exec", "os.posix_spawn", "ctypes.dlopen", "marshal.loads", "code.__new__",
)
def hook(event, arguments):
    if event in FORBIDDEN and not (event == "import" and arguments[0] in sys.modules):
        sys.stderr.write(f"FORBIDDEN {event} {arguments!r} by {path.name}")
        import os
        os._exit(7)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        sys.stderr.write(f"WRITES {arguments!r}")
        import os
        os._exit(8)
sys.addaudithook(hook)
refused = loaded = 0
slowest = 0.0
for path in paths:
    begun = time.perf_counter()
    try:
        proxy = Proxy.load(path)
    except ArchGymError as error:
        assert "\\n" not in str(error), path
        refused += 1
    else:
        loaded += 1
        use(proxy)
    slowest = max(slowest, time.perf_counter() - begun)
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(len(paths), refused, loaded, peak_mb, round(1000 * slowest))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "proxy.npz"
    train(toy_dataset(120), TrainOptions("forest", setting=QUICK)).save(path)
    return path.read_bytes()


def entries_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(entries: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def array_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=array.dtype.hasobject)
    return stream.getvalue()


def crafted(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Files that are whole but lie."""
    entries = entries_of(content)
    prefix = "part0.group0."
    left = np.load(io.BytesIO(entries[f"{prefix}left.npy"]))
    feature = np.load(io.BytesIO(entries[f"{prefix}feature.npy"]))
    inner = np.flatnonzero(feature >= 0)
    cyclic, selfish, far = left.copy(), left.copy(), left.copy()
    cyclic[inner[-1]] = 0
    selfish[inner[0]] = inner[0]
    far[inner[0]] = 2**31 - 1
    arrays = {
        "cyclic": ("left", cyclic),
        "selfish": ("left", selfish),
        "far": ("left", far),
        "negative": ("left", np.full_like(left, -5)),
        "no-leaves": ("feature", np.zeros_like(feature)),
        "no-feature": ("feature", np.full_like(feature, 10**6)),
        "nan": ("threshold", np.full(len(left), np.nan)),
        "infinite": ("threshold", np.full(len(left), np.inf)),
        "rows": ("row", np.full(len(left), 10**6, dtype=np.int32)),
        "empty": ("values", np.zeros((0, 1))),
        "flat": ("values", np.zeros(5)),
        "text": ("values", np.array([["a"]])),
        "pickled": ("values", np.array([[{}]], dtype=object)),
        "roots": ("roots", np.zeros(10, dtype=np.int32)),
        "outputs": ("output", np.full(3, 99, dtype=np.int32)),
        "complex": ("base", np.zeros(1, dtype=complex)),
    }
    for name, (target, array) in arrays.items():
        yield name, archive_of(entries | {f"{prefix}{target}.npy": array_bytes(array)})
    huge = entries[f"{prefix}left.npy"].replace(f"({len(left)},)".encode(), b"(99999999999999,)")
    yield "huge", archive_of(entries | {f"{prefix}left.npy": huge})
    swapped = {f"{prefix}left.npy": entries[f"{prefix}row.npy"]}
    yield "swapped", archive_of(entries | swapped)
    yield "missing", archive_of({n: c for n, c in entries.items() if "roots" not in n})
    for name, header in headers(entries["proxy.json"]):
        yield name, archive_of(entries | {"proxy.json": header})


def headers(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Headers that are JSON but lie."""
    header = json.loads(content)
    for key in header:
        lies: tuple[Any, ...] = (None, [], {}, "x", 10**400, [[[]]])
        for number, lie in enumerate(lies):
            yield f"{key}-{number}", json.dumps({**header, key: lie}).encode()
    for name in (
        "scaling",
        "groups",
        "floor",
        "quantiles",
        "beyond",
        "facts",
        "encoding",
        "workloads",
    ):
        for number, value in enumerate((None, [1e999], {"a": 1}, "x", [["f", 0.0, 1.0]] * 9)):
            parts = [{**header["parts"][0], name: value}, *header["parts"][1:]]
            yield f"{name}-{number}", json.dumps({**header, "parts": parts}).encode()
    yield "deep", b"[" * 100_000
    wide = json.loads(content)
    wide["declaration"]["space"]["parameters"][2]["high"] = 10**13
    yield "wide", json.dumps(wide).encode()
    model = {**header["about"], "model": "os.system"}
    yield "model", json.dumps({**header, "about": model}).encode()


def test_no_changed_file_runs_code_or_takes_the_memory(saved: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "0.npz").write_bytes(saved)
    for number in range(N_FLIPS):
        changed = bytearray(saved)
        # Half of them in the headers at both ends, where the structure is.
        span = len(saved) if number % 2 else 8192
        place = int(rng.integers(min(span, len(saved))))
        changed[-place - 1 if number % 4 == 0 else place] ^= 1 << int(rng.integers(8))
        (tmp_path / f"flip{number}.npz").write_bytes(changed)
    for number, length in enumerate(np.linspace(0, len(saved) - 1, N_TRUNCATIONS).astype(int)):
        (tmp_path / f"torn{number}.npz").write_bytes(saved[:length])
    for name, content in crafted(saved):
        (tmp_path / f"made-{name}.npz").write_bytes(content)

    ran = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path)], capture_output=True, text=True, timeout=120
    )

    assert ran.returncode == 0, ran.stderr[-800:]
    n, refused, loaded, peak_mb, slowest_ms = map(int, ran.stdout.split())
    # `pytest -s` shows it.
    sys.stdout.write(
        f"{n} hostile proxies: {refused} refused, {loaded} read and used, code executed 0 times, "
        f"peak memory {peak_mb} MB, slowest {slowest_ms} ms\n"
    )
    assert n >= 250
    assert refused + loaded == n
    assert refused > 0.8 * n


@pytest.mark.parametrize(
    "name", ["cyclic", "selfish", "far", "negative", "nan", "rows", "pickled", "huge", "missing"]
)
def test_crafted_file_is_refused(saved: bytes, tmp_path: Path, name: str) -> None:
    (tmp_path / "p.npz").write_bytes(dict(crafted(saved))[name])

    with pytest.raises(FileFormatError, match="must be what ArchGym wrote"):
        Proxy.load(tmp_path / "p.npz")
