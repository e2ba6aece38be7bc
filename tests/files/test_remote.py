"""Paths by URL, on stores in memory, on disk, and on a local server that speaks S3."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from archgym.datasets import build_dataset, read_dataset, verify_dataset
from archgym.errors import InvalidArgumentError, StorageError
from archgym.evaluation.stand_in import open_stand_in
from archgym.files.remote import local_copy, local_output, shown, upload, url_of
from archgym.report.export import export_design
from archgym.tables import TableSimulator, build_table
from tests.datasets.making import mixture, search
from tests.toys import toy_task

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory() -> Iterator[str]:
    store = fsspec.filesystem("memory")
    yield "memory://archgym-tests"
    if store.exists("/archgym-tests"):
        store.rm("/archgym-tests", recursive=True)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a server on this machine that speaks S3."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing-key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("results")
    fsspec.filesystem("s3").clear_instance_cache()
    yield "s3://results"
    server.stop()


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
