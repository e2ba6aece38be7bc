"""`archgym dataset`."""

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Archgym


@pytest.fixture
def dataset(archgym: Archgym, study: Path) -> Path:
    """A dataset of two studies on two workloads."""
    ran = archgym(
        "search", "plugin", "-w", "heavy", "-a", "random", "-n", "12", "--seed", "2", "--out", "b"
    )
    assert ran.code == 0, ran.err
    ran = archgym("dataset", "build", study, "b", "--out", "data", "--name", "demo")
    assert ran.code == 0, ran.err
    return Path("data")


def test_build_writes_a_folder_with_card_and_checksums(archgym: Archgym, study: Path) -> None:
    ran = archgym("dataset", "build", study, "--out", "data", "--license", "mit", "--json")

    assert ran.json["rows"] == 12
    assert ran.json["path"] == "data"
    names = sorted(p.name for p in Path("data").iterdir())
    assert names == ["README.md", "SHA256SUMS", "croissant.json", "data"]
    assert 'license: "mit"' in Path("data/README.md").read_text()


def test_build_writes_csv_and_json_lines_without_nan(archgym: Archgym, study: Path) -> None:
    assert archgym("dataset", "build", study, "--out", "rows.csv").code == 0
    assert archgym("dataset", "build", study, "--out", "rows.jsonl").code == 0

    with Path("rows.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    lines = Path("rows.jsonl").read_text().splitlines()
    assert len(rows) == len(lines) == 12
    assert "latency_ns" in rows[0]
    assert all(json.loads(line, parse_constant=pytest.fail) for line in lines)


def test_build_never_writes_over_anything(archgym: Archgym, study: Path, dataset: Path) -> None:
    ran = archgym("dataset", "build", study, "--out", dataset)

    assert ran.code == 1
    assert ran.err == (
        "error: data must not exist yet; it does. Choose another name, or remove it first.\n"
    )


def test_split_says_what_parts_promise(archgym: Archgym, dataset: Path) -> None:
    ran = archgym(
        "dataset", "split", dataset, "--by", "workload", "--hold-out", "heavy", "--out", "parts"
    )

    assert ran.code == 0, ran.err
    assert "train 12, validation 0, test 12. By workload" in ran.out


def test_merge_joins_datasets(archgym: Archgym, study: Path) -> None:
    archgym("search", "plugin", "-a", "random", "-n", "8", "--seed", "7", "--out", "other")
    for name in (study, "other"):
        archgym("dataset", "build", name, "--out", f"data-{Path(name).name}")

    ran = archgym("dataset", "merge", "data-study", "data-other", "--out", "all", "--json")

    assert ran.json["rows"] == 20


def test_info_counts_rows(archgym: Archgym, dataset: Path) -> None:
    told = archgym("dataset", "info", dataset, "--json").json
    ran = archgym("dataset", "info", dataset)

    assert told["rows"] == 24
    assert told["workloads"] == {"light": 12, "heavy": 12}
    assert told["agents"] == {"random": 24}
    assert told["metrics"]["power_mw"]["unit"] == "mW"
    assert "demo: 24 evaluations by simulator 'plugin'" in ran.out


def test_verify_simulates_a_sample_again(archgym: Archgym, dataset: Path) -> None:
    ran = archgym("dataset", "verify", dataset, "--sample", "20")

    assert ran.code == 0, ran.err
    assert ran.out == "24 rows, 20 of them simulated again: no problems found.\n"


def test_verify_ends_with_1_and_says_what_differs(archgym: Archgym, dataset: Path) -> None:
    with (dataset / "README.md").open("a") as card:
        card.write("More.\n")

    ran = archgym("dataset", "verify", dataset)

    assert ran.code == 1
    assert ran.out.splitlines()[0] == (
        "files that differ from SHA256SUMS: 1, the first one README.md."
    )
    assert ran.err == ""
