"""Paths by URL, on stores in memory, on disk, and on a local server that speaks S3."""

import json
import os
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archgym.datasets import build_dataset, read_dataset, verify_dataset
from archgym.errors import InvalidArgumentError, StorageError
from archgym.evaluation.stand_in import open_stand_in
from archgym.files.remote import local_copy, local_output, shown, upload, url_of
from archgym.report.evidence import read_evidence
from archgym.report.export import export_design
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.sweep.driver import run_sweep
from archgym.sweep.reading import read_plan
from archgym.sweep.status import read_status
from archgym.tables import TableSimulator, build_table
from tests.datasets.making import mixture, search
from tests.toys import toy_task

fsspec = pytest.importorskip("fsspec")

PLAN = """\
budget: 20
seeds: [0, 1]
tasks:
  cava: {simulator: soc, space: table}
agents:
  random:
"""


@pytest.fixture
def memory() -> Iterator[str]:
    store = fsspec.filesystem("memory")
    yield "memory://archgym-tests"
    if store.exists("/archgym-tests"):
        store.rm("/archgym-tests", recursive=True)


FAULTS: list[str] = []
"""Faults of the next requests that write: "busy", "lost" after it was written, or "none"."""


class FaultyStore:
    """A store that speaks S3, and fails as `FAULTS` says."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        writes = environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].count("/") > 1
        fault = FAULTS.pop(0) if writes and FAULTS else "none"
        if fault == "busy":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Slow Down", [("Content-Type", "text/plain")])
            return [b"busy"]
        answer = self._application(environ, start_response)
        if fault == "lost":
            list(answer)
            raise ConnectionResetError
        return answer


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a server on this machine that speaks S3."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    serving = pytest.importorskip("werkzeug.serving")
    FAULTS.clear()
    application = moto.DomainDispatcherApplication(moto.create_backend_app)
    server = serving.make_server("127.0.0.1", 0, FaultyStore(application), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing-key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # Servers of one process share their content.
    reset = urllib.request.Request(
        f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST"
    )
    urllib.request.urlopen(reset).close()
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("results")
    fsspec.filesystem("s3").clear_instance_cache()
    yield "s3://results"
    server.shutdown()


def test_path_of_a_url_keeps_its_meaning() -> None:
    url = url_of(Path("s3://bucket/a/rows.parquet"))

    assert url is not None
    assert (url.scheme, url.place, url.name) == ("s3", "bucket/a/rows.parquet", "rows.parquet")
    assert shown(Path("https://host/rows.parquet?signature=abc")) == "https://host/rows.parquet"
    assert url_of("runs/a") is None
    assert url_of("/tmp/a:/b") is None


def test_file_url_is_a_local_path(tmp_path: Path) -> None:
    assert local_copy(f"file://{tmp_path}/rows.csv") == tmp_path / "rows.csv"
    with local_output(f"file://{tmp_path}/out.txt") as path:
        path.write_text("here")

    assert (tmp_path / "out.txt").read_text() == "here"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://host/x", "must begin with one of"),
        ("s3://user:pass1234@bucket/x", "must not hold credentials"),
        ("s3://bucket/../x", "without '..'"),
        ("s3://zip::s3:/bucket/x", "'::'"),
        ("s3://bucket/a\nb", "printable"),
        ("s3://", "must name a place"),
    ],
)
def test_hostile_url_is_refused_in_one_line(url: str, problem: str) -> None:
    with pytest.raises((InvalidArgumentError, StorageError), match=problem) as refused:
        local_copy(url)

    assert "\n" not in str(refused.value)
    assert "pass1234" not in str(refused.value)


def test_dataset_is_built_read_and_verified_in_memory(tmp_path: Path, memory: str) -> None:
    search(tmp_path / "a")

    build_dataset(tmp_path / "a", f"{memory}/evaluations")
    build_dataset(tmp_path / "a", Path(f"{memory}/rows.parquet"))
    there = read_dataset(f"{memory}/evaluations")

    assert len(there) == len(read_dataset(Path(f"{memory}/rows.parquet"))) == 30
    assert verify_dataset(f"{memory}/evaluations", sample=0).problems == ()
    with pytest.raises(InvalidArgumentError, match="must not exist yet"):
        build_dataset(tmp_path / "a", f"{memory}/evaluations")


def test_changed_object_is_read_afresh(tmp_path: Path, memory: str) -> None:
    (tmp_path / "a").write_text("one")
    upload(tmp_path / "a", f"{memory}/a")
    first = local_copy(f"{memory}/a").read_text()
    (tmp_path / "a").write_text("twice")
    fsspec.filesystem("memory").rm("/archgym-tests/a")
    upload(tmp_path / "a", f"{memory}/a")

    assert (first, local_copy(f"{memory}/a").read_text()) == ("one", "twice")


def test_missing_object_is_one_line(memory: str) -> None:
    with pytest.raises(StorageError, match=r"^memory://archgym-tests/no cannot be read: there is"):
        read_dataset(f"{memory}/no")


def test_failed_upload_leaves_nothing(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out" / "data").mkdir(parents=True)
    for name in ("data/a", "b", "c"):
        (tmp_path / "out" / name).write_text(name)
    store = fsspec.filesystem("memory")
    put = type(store).put_file

    def failing(self: object, local: str, remote: str, **options: object) -> None:
        if remote.endswith("/c"):
            raise OSError("secret-token-1 was refused")
        put(self, local, remote, **options)

    monkeypatch.setattr(type(store), "put_file", failing)
    monkeypatch.setenv("STORE_TOKEN", "secret-token-1")

    with pytest.raises(StorageError, match=r"cannot be written: \*\*\* was refused\.$"):
        upload(tmp_path / "out", f"{memory}/out")

    assert store.find("/archgym-tests/out") == []


def test_table_and_export_of_a_url(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = toy_task()

    build_table(task, f"{memory}/toy.parquet")
    table = TableSimulator(f"{memory}/toy.parquet")
    export = export_design(task, task.space.default_indices, "json")
    export.write(Path(f"{memory}/best.json"))

    assert table.rows == task.space.count().value
    assert (
        str(open_stand_in(Path(f"{memory}/toy.parquet")).path)
        == "memory:/archgym-tests/toy.parquet"
    )
    assert list(tmp_path.iterdir()) == []
    best = fsspec.filesystem("memory").cat("/archgym-tests/best.json")
    assert json.loads(best)["format"]


@pytest.mark.slow
def test_object_store_holds_datasets_and_tables(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = mixture(tmp_path / "made")

    build_dataset(tmp_path / "made" / "study-1", f"{s3}/evaluations")
    upload(folder, f"{s3}/mixture")
    build_table(toy_task(), f"{s3}/toy.parquet")

    assert verify_dataset(f"{s3}/evaluations", sample=0).problems == ()
    assert len(read_dataset(f"{s3}/mixture")) == len(read_dataset(folder))
    assert TableSimulator(f"{s3}/toy.parquet").rows == toy_task().space.count().value
    with pytest.raises(StorageError, match=r"^s3://results/none cannot be read: there is nothing"):
        read_dataset(f"{s3}/none")
    with pytest.raises(InvalidArgumentError, match="must not exist yet"):
        build_dataset(tmp_path / "made" / "study-1", f"{s3}/evaluations")


def test_store_that_does_not_answer_is_one_line_without_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing-key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    with pytest.raises(
        StorageError, match=r"^s3://other/rows\.parquet cannot be read: "
    ) as refused:
        local_copy("s3://other/rows.parquet")

    assert "testing-secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def store_files() -> list[str]:
    store = fsspec.filesystem("s3")
    store.invalidate_cache()
    return sorted(store.find("results"))


@pytest.mark.slow
def test_store_that_is_busy_for_a_moment_gets_everything(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    search(tmp_path / "a")
    local = build_table(toy_task(), tmp_path / "local.parquet").read_bytes()
    FAULTS.extend(["busy", "none", "lost", "none", "busy", "none"])

    build_table(toy_task(), f"{s3}/toy.parquet")
    build_dataset(tmp_path / "a", f"{s3}/evaluations")

    assert not FAULTS
    assert local_copy(f"{s3}/toy.parquet").read_bytes() == local
    assert verify_dataset(f"{s3}/evaluations", sample=0).problems == ()


@pytest.mark.slow
def test_store_that_fails_keeps_nothing_and_the_same_call_ends_it(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    search(tmp_path / "a")
    FAULTS.extend(["none", *["busy"] * 30])

    with pytest.raises(StorageError, match=r"^s3://results/evaluations cannot be written: "):
        build_dataset(tmp_path / "a", f"{s3}/evaluations")
    FAULTS.clear()

    assert store_files() == []
    build_dataset(tmp_path / "a", f"{s3}/evaluations")
    assert verify_dataset(f"{s3}/evaluations", sample=0).problems == ()


@pytest.mark.slow
def test_two_processes_that_write_one_object_do_not_overwrite_each_other(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").write_text("other")

    def written_meanwhile(what: str, done: float, total: float) -> None:
        upload(tmp_path / "other", f"{s3}/toy.parquet")

    with pytest.raises(InvalidArgumentError, match="another process has just written it"):
        build_table(toy_task(), f"{s3}/toy.parquet", assembling=written_meanwhile)

    assert local_copy(f"{s3}/toy.parquet").read_text() == "other"


@pytest.mark.slow
def test_sweep_is_kept_in_a_store_and_read_there(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN)
    plan = read_plan("plan.yaml")
    FAULTS.extend(["none", "none", "none", *["busy"] * 30])

    with pytest.raises(StorageError, match=r"^s3://results/sweep cannot be written: "):
        run_sweep(plan, f"{s3}/sweep")
    FAULTS.clear()
    assert store_files() == []
    outcome = run_sweep(plan, f"{s3}/sweep")

    assert (outcome.runs, outcome.repeated, outcome.failures) == (2, 2, {})
    assert read_status(f"{s3}/sweep").counts()["finished"] == 2
    (run, _) = plan.runs()
    assert read_study(f"{s3}/sweep/{run.id}").evaluations == 20
    assert read_evidence([Path(f"{s3}/sweep")]).evaluations == 40
    with pytest.raises(InvalidArgumentError, match="must not exist yet"):
        run_sweep(plan, f"{s3}/sweep")


def test_study_in_a_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        InvalidArgumentError, match=r"memory://bucket/study, and a store has neither"
    ):
        Study.create("memory://bucket/study", toy_task(), "random", budget=3)

    assert list(tmp_path.iterdir()) == []
