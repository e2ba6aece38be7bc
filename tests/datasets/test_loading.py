"""Folders of datasets are what the `datasets` library loads; nothing here uses the network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from archgym.datasets import Split
from tests.datasets.making import mixture

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


@pytest.mark.slow
def test_folder_loads_with_datasets(tmp_path: Path) -> None:
    dataset = mixture(tmp_path, Split("design", validation=0.1, test=0.2))

    # In a process of its own: in a checkout the link `datasets` hides the package of that name.
    ran = subprocess.run(
        [sys.executable, "-P", "-c", LOADING, str(dataset), str(tmp_path / "cache")],
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
