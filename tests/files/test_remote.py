"""Paths by URL, on stores in memory, on disk, and on a local server that speaks S3."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from archgym.datasets import build_dataset, read_dataset, verify_dataset
from archgym.errors import InvalidArgumentError, StorageError
from archgym.evaluation.stand_in import open_stand_in
from archgym.files.remote import local_copy, shown, upload, url_of
from archgym.report.evidence import read_evidence
from archgym.report.export import export_design
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.sweep.driver import run_sweep
from archgym.sweep.reading import read_plan
from archgym.sweep.status import read_status
from archgym.tables import TableSimulator, build_table
from tests.datasets.making import mixture, search
from tests.files.object_store import ObjectStore
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


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A store on this machine that speaks S3, with a bucket `results`."""
    pytest.importorskip("s3fs")
    made = ObjectStore({"results": {}})
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    # s3fs tries again by itself, and waits less between its attempts.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing-key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.filesystem("s3").clear_instance_cache()
    yield made
    made.close()
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture
def s3(store: ObjectStore) -> str:
    """The bucket's URL."""
    return "s3://results"


def test_path_of_a_url_keeps_its_meaning() -> None:
    url = url_of(Path("s3://bucket/a/rows.parquet"))

    assert url is not None
    assert (url.scheme, url.place, url.name) == ("s3", "bucket/a/rows.parquet", "rows.parquet")
    assert shown(Path("https://host/rows.parquet?signature=abc")) == "https://host/rows.parquet"
    assert url_of("runs/a") is None
    assert url_of("/tmp/a:/b") is None


def writers(tmp_path: Path) -> dict[str, Callable[[str], object]]:
    """Whatever is written to a URL, by its name there."""
    search(tmp_path / "made")
    (tmp_path / "plan.yaml").write_text(PLAN)
    plan, task = read_plan(tmp_path / "plan.yaml"), toy_task()
    export = export_design(task, task.space.default_indices, "json")
    return {
        "toy.parquet": lambda url: build_table(task, url),
        "evaluations": lambda url: build_dataset(tmp_path / "made", url),
        "sweep": lambda url: run_sweep(replace(plan, seeds=(0,), budget=5), url),
        "best.json": lambda url: export.write(Path(url)),
    }


def test_file_url_is_a_local_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    folder = tmp_path / "a b"
    assert local_copy(f"file://{tmp_path}/a b/rows.csv") == folder / "rows.csv"
    assert local_copy((folder / "rows.csv").as_uri()) == folder / "rows.csv"

    for name, write in writers(tmp_path).items():
        write(f"file://{tmp_path}/a b/{name}")
    Study.create(f"file://{tmp_path}/a b/study", toy_task(), "random", budget=3).close()

    assert TableSimulator(f"file://{tmp_path}/a b/toy.parquet").rows == 2376
    assert read_status(f"file://{tmp_path}/a b/sweep").evaluations == 5
    assert Study.open(f"file://{tmp_path}/a b/study", toy_task()).budget == 3
    assert len(read_dataset(folder.as_uri() + "/evaluations")) == 30
    found = sorted(path.name for path in folder.iterdir())
    assert found == ["best.json", "evaluations", "study", "sweep", "toy.parquet"]
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://host/x", "must begin with one of"),
        ("s3://user:pass1234@bucket/x", "must not hold credentials"),
        ("s3://bucket/../x", "without '..'"),
        ("s3://zip::s3:/bucket/x", "'::'"),
        ("s3://bucket/a\nb", "printable"),
        ("s3://", "must name a place"),
        ("file:rows.csv", "must have three slashes"),
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


@pytest.mark.slow
def test_store_that_is_busy_for_a_moment_gets_everything(
    tmp_path: Path, store: ObjectStore, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    search(tmp_path / "a")
    local = build_table(toy_task(), tmp_path / "local.parquet").read_bytes()
    store.write_faults.extend(["busy", "none", "lost", "none", "busy", "none"])

    build_table(toy_task(), f"{s3}/toy.parquet")
    build_dataset(tmp_path / "a", f"{s3}/evaluations")

    assert not store.write_faults
    assert local_copy(f"{s3}/toy.parquet").read_bytes() == local
    assert verify_dataset(f"{s3}/evaluations", sample=0).problems == ()


@pytest.mark.slow
def test_store_that_fails_keeps_nothing_and_the_same_call_ends_it(
    tmp_path: Path, store: ObjectStore, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    search(tmp_path / "a")
    store.write_faults.extend(["none", *["busy"] * 30])

    with pytest.raises(StorageError, match=r"^s3://results/evaluations cannot be written: "):
        build_dataset(tmp_path / "a", f"{s3}/evaluations")
    store.write_faults.clear()

    assert store.names("results") == []
    build_dataset(tmp_path / "a", f"{s3}/evaluations")
    assert verify_dataset(f"{s3}/evaluations", sample=0).problems == ()


@pytest.mark.slow
def test_place_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store.buckets["closed"] = {}
    store.forbidden.add("closed")
    before = sorted(tmp_path.iterdir())

    for name, write in writers(tmp_path / "w").items():
        for bucket, problem in (("absent", "no such bucket"), ("closed", "access is denied")):
            with pytest.raises(StorageError, match=f"^s3://{bucket}/{name} .*{problem}") as refused:
                write(f"s3://{bucket}/{name}")
            assert "\n" not in str(refused.value)

    assert list(store.buckets) == ["results", "closed"]
    assert [path for path in tmp_path.iterdir() if path.name != "w"] == before


@pytest.mark.slow
def test_names_with_spaces_and_a_slash_at_the_end(
    tmp_path: Path, store: ObjectStore, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    for name, write in writers(tmp_path / "w").items():
        write(f"{s3}/my results/{name}/")
    store.page = 2

    assert TableSimulator(f"{s3}/my results/toy.parquet").rows == 2376
    assert len(read_dataset(f"{s3}/my results/evaluations/")) == 30
    assert read_status(f"{s3}/my results/sweep/").evaluations == 5
    assert "my results/best.json" in store.names("results")


@pytest.mark.slow
def test_connection_that_is_cut_leaves_the_right_bytes(
    tmp_path: Path, store: ObjectStore, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    local = build_table(toy_task(), tmp_path / "local.parquet").read_bytes()
    store.write_faults.extend(["cut", "lost", "none"])
    store.read_faults.extend(["cut", "busy", "none"])

    build_table(toy_task(), f"{s3}/toy.parquet")

    assert not store.write_faults
    assert local_copy(f"{s3}/toy.parquet").read_bytes() == local
    assert not store.read_faults


@pytest.mark.nightly
def test_large_object_is_sent_in_parts_and_written_once(
    tmp_path: Path, store: ObjectStore, s3: str
) -> None:
    with (tmp_path / "large").open("wb") as handle:
        handle.truncate(101 * 2**20)
        handle.write(b"end")
    store.write_faults.extend(["none", "busy", "cut", "lost"])

    upload(tmp_path / "large", f"{s3}/large")

    assert not store.write_faults
    assert not store.uploads
    assert (tmp_path / "large").read_bytes() == store.buckets["results"]["large"].content
    (tmp_path / "large").write_bytes(b"other")
    with pytest.raises(InvalidArgumentError, match="another process has just written it"):
        upload(tmp_path / "large", f"{s3}/large")


@pytest.mark.slow
@pytest.mark.parametrize("names_conditions", [True, False])
def test_two_processes_that_write_one_object_do_not_overwrite_each_other(
    tmp_path: Path,
    store: ObjectStore,
    s3: str,
    monkeypatch: pytest.MonkeyPatch,
    names_conditions: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    store.names_conditions = names_conditions
    (tmp_path / "other").write_text("other")

    def written_meanwhile(what: str, done: float, total: float) -> None:
        upload(tmp_path / "other", f"{s3}/toy.parquet")

    with pytest.raises(InvalidArgumentError, match="another process has just written it"):
        build_table(toy_task(), f"{s3}/toy.parquet", assembling=written_meanwhile)

    assert local_copy(f"{s3}/toy.parquet").read_text() == "other"


@pytest.mark.slow
def test_sweep_is_kept_in_a_store_and_read_there(
    tmp_path: Path, store: ObjectStore, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN)
    plan = read_plan("plan.yaml")
    store.write_faults.extend(["none", "none", "none", *["busy"] * 30])

    with pytest.raises(StorageError, match=r"^s3://results/sweep cannot be written: "):
        run_sweep(plan, f"{s3}/sweep")
    store.write_faults.clear()
    assert store.names("results") == []
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
