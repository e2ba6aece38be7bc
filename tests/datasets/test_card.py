import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from archgym.datasets import Split, build_dataset
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.datasets.making import mixture
from tests.datasets.test_build import OtherSpace
from tests.toys import toy_task


def header(dataset: Path) -> dict[str, object]:
    """The YAML header of a card."""
    _, text, _ = (dataset / "README.md").read_text().split("---\n", 2)
    loaded: dict[str, object] = yaml.safe_load(text)
    return loaded


def test_header_of_the_card_tells_hubs_of_files_and_columns(tmp_path: Path) -> None:
    dataset = mixture(tmp_path, Split("design", 0.2, 0.2), name="Toys: 1", license="cc-by-4.0")

    told = header(dataset)

    assert told["pretty_name"] == "Toys: 1"
    assert told["license"] == "cc-by-4.0"
    assert told["size_categories"] == ["n<1K"]
    assert told["configs"] == [
        {
            "config_name": "default",
            "data_files": [
                {"split": part, "path": f"data/{part}-00000-of-00001.parquet"}
                for part in ("train", "validation", "test")
            ],
        }
    ]
    info = told["dataset_info"]
    assert isinstance(info, dict)
    dtypes = {feature["name"]: feature["dtype"] for feature in info["features"]}
    assert dtypes["mode"] == "string"
    assert dtypes["banks"] == "int64"
    assert dtypes["gain"] == "float64"
    assert dtypes["feasible"] == "bool"
    assert sum(split["num_examples"] for split in info["splits"]) == 120


def test_text_of_the_card_says_what_the_dataset_holds(tmp_path: Path) -> None:
    card = (mixture(tmp_path, Split("design", 0.2, 0.2)) / "README.md").read_text()

    assert "# toy-evaluations\n" in card
    assert "| `power_mw` | float64 | mW | Power |" in card
    assert "- `toy/toy/1*light+2*heavy/balanced-v0`" in card
    assert "| study-1 | toy | 1 | `{}` | toy/toy/light/balanced-v0 | 30 |" in card
    assert "By canonical design (20 % validation, 20 % test of designs, seed 0)" in card


def test_checksums_are_what_sha256sum_reads(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)

    ran = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=dataset, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count(": OK") == 3


def test_croissant_metadata_are_valid_and_their_records_are_the_rows(tmp_path: Path) -> None:
    croissant = pytest.importorskip("mlcroissant")
    with Study.log(tmp_path / "a", toy_task()) as log:
        log.evaluate(toy_task().space.sample(40, np.random.default_rng(0)))
    with Study.log(tmp_path / "b", Task.make(OtherSpace())) as log:
        log.evaluate(OtherSpace().space.default_indices[None, :])
    studies = [tmp_path / "a", tmp_path / "b"]
    build_dataset(studies, tmp_path / "out", license="mit", split=Split("design", 0.0, 0.3))

    loaded = croissant.Dataset(jsonld=str(tmp_path / "out" / "croissant.json"))

    assert not loaded.metadata.issues.errors
    assert loaded.metadata.ctx.is_v1_1()
    assert "simulator toy" in loaded.metadata.data_collection
    assert loaded.metadata.data_biases
    assert loaded.metadata.data_limitations
    for part in ("train", "test"):
        records = list(loaded.records(record_set=part))
        rows = pd.read_parquet(tmp_path / "out" / "data" / f"{part}-00000-of-00001.parquet")
        assert len(records) == len(rows)
        assert [r[f"{part}/reward"] for r in records] == rows["reward"].tolist()
        assert [r[f"{part}/design"].decode() for r in records] == rows["design"].tolist()
    units = json.loads((tmp_path / "out" / "croissant.json").read_text())["recordSet"][0]["field"]
    assert [f["description"] for f in units if f["name"] == "power_mw"] == ["Power. Unit: mW."]
