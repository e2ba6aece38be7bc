"""Folders for the Hugging Face hub; nothing here uses the network."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archgym.datasets import Split, build_dataset, push_dataset, verify_dataset
from archgym.errors import FileFormatError, InvalidArgumentError, StorageError
from tests.datasets.making import mixture, search

pytest.importorskip("huggingface_hub")

LOADING = """
import json, sys
from datasets import load_dataset

loaded = load_dataset(sys.argv[1], cache_dir=sys.argv[2])
print(json.dumps({
    "rows": {name: len(part) for name, part in loaded.items()},
    "workloads": loaded["train"].unique("workload"),
    "latency": loaded["train"].features["latency_ns"].dtype,
}))
"""


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


class Client:
    """Records what it is asked to upload."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.files: dict[str, bytes] = {}
        self.error = error

    def create_repo(self, repository: str, **options: Any) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append((repository, options))

    def upload_folder(self, *, folder_path: str, **options: Any) -> None:
        self.calls.append((options["repo_id"], options))
        root = Path(folder_path)
        self.files = {
            str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()
        }


def test_dry_run_writes_the_checked_folder(tmp_path: Path) -> None:
    dataset = mixture(tmp_path, Split("design", validation=0.1, test=0.2), license="cc-by-4.0")

    pushed = push_dataset(dataset, "someone/toy", dry_run=True, out=tmp_path / "hub")

    assert not pushed.is_uploaded
    assert pushed.rows == 120
    assert sorted(pushed.files) == [
        "README.md",
        "SHA256SUMS",
        "croissant.json",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
        "data/validation-00000-of-00001.parquet",
    ]
    assert all((tmp_path / "hub" / n).stat().st_size == size for n, size in pushed.files.items())
    assert 'load_dataset("someone/toy")' in (tmp_path / "hub" / "README.md").read_text()
    croissant = json.loads((tmp_path / "hub" / "croissant.json").read_text())
    assert croissant["url"] == "https://huggingface.co/datasets/someone/toy"
    assert verify_dataset(tmp_path / "hub", sample=0).problems == ()


@pytest.mark.slow
def test_folder_loads_with_datasets(tmp_path: Path) -> None:
    dataset = mixture(tmp_path, Split("design", validation=0.1, test=0.2))
    push_dataset(dataset, "someone/toy", dry_run=True, out=tmp_path / "hub")

    # In a process of its own: in a checkout the link `datasets` hides the package of that name.
    ran = subprocess.run(
        [sys.executable, "-P", "-c", LOADING, str(tmp_path / "hub"), str(tmp_path / "cache")],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    if "No module named 'datasets'" in ran.stderr:
        pytest.skip("needs datasets")
    assert ran.returncode == 0, ran.stderr
    loaded = json.loads(ran.stdout)
    assert loaded["rows"].keys() == {"train", "validation", "test"}
    assert sum(loaded["rows"].values()) == 120
    assert set(loaded["workloads"]) <= {"light", "heavy"}
    assert loaded["latency"] == "float64"


def test_upload_is_one_commit_of_the_same_files(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)
    client = Client()

    pushed = push_dataset(dataset, "someone/toy", private=True, api=client)

    assert pushed.is_uploaded
    assert [options["repo_type"] for _, options in client.calls] == ["dataset", "dataset"]
    assert client.calls[0][1]["private"] is True
    assert {name: len(data) for name, data in client.files.items()} == pushed.files


@pytest.mark.parametrize("repository", ["toy", "a/b/c", "some one/toy", "", "x/--"])
def test_name_that_the_hub_refuses_is_refused_here(tmp_path: Path, repository: str) -> None:
    with pytest.raises(InvalidArgumentError, match="must be an owner and a name"):
        push_dataset(tmp_path, repository, dry_run=True)


def test_damaged_dataset_is_not_pushed(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)
    (dataset / "croissant.json").write_text("{}")

    with pytest.raises(FileFormatError, match=r"does not verify: .*SHA256SUMS"):
        push_dataset(dataset, "someone/toy", dry_run=True, out=tmp_path / "hub")

    assert not (tmp_path / "hub").exists()


def test_table_alone_is_no_dataset_for_the_hub(tmp_path: Path) -> None:
    search(tmp_path / "a")
    build_dataset(tmp_path / "a", tmp_path / "rows.parquet")

    with pytest.raises(InvalidArgumentError, match="must be a folder with a card"):
        push_dataset(tmp_path / "rows.parquet", "someone/toy", dry_run=True, out=tmp_path / "hub")


def test_refusal_of_the_hub_is_one_line(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)
    error = OSError("401 Client Error\nsee the manual")
    error.response = type("Response", (), {"status_code": 401})()  # type: ignore[attr-defined]

    with pytest.raises(StorageError, match=r"cannot be written to the hub: access is denied"):
        push_dataset(dataset, "someone/toy", api=Client(error))
