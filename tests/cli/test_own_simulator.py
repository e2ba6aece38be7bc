"""A simulator of somebody else's, from a search to a dataset, a table and a proxy."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from archgym.runtime import plugins
from tests.cli.conftest import Archgym

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers the example's simulator, a program's wrapper without a constructor, as `cache`."""
    info = tmp_path / "theirs" / "cache_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cache-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[archgym.simulators]\ncache = search:CacheSimulator\n")
    monkeypatch.syspath_prepend(tmp_path / "theirs")
    monkeypatch.syspath_prepend(ROOT / "examples" / "own_simulator")
    plugins.registered.cache_clear()
    yield
    sys.modules.pop("search", None)


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_example_works_under_its_name(archgym: Archgym) -> None:
    listed = archgym("list", "workloads", "--simulator", "cache", "--json")
    found = archgym("search", "cache", "-a", "random", "-n", "4", "--out", "study")
    built = archgym("dataset", "build", "study", "--out", "data")
    checked = archgym("dataset", "verify", "data", "--sample", "2")

    assert listed.json == {"workloads": {"cache": ["dense", "sparse"]}}
    assert found.code == 0, found.err
    assert built.code == 0, built.err
    assert (checked.code, checked.err) == (0, "")
    assert "4 rows, 2 of them simulated again: no problems found." in checked.out


@pytest.mark.slow
def test_searches_become_a_dataset_a_proxy_and_are_compared_with_a_table(archgym: Archgym) -> None:
    for n, agent in enumerate(("random", "genetic")):
        ran = archgym("search", "plugin", "-a", agent, "-n", "60", "--seed", str(n), "--out", agent)
        assert ran.code == 0, ran.err
    ran = archgym("dataset", "build", "random", "genetic", "--out", "data", "--split", "design")
    assert ran.code == 0, ran.err
    assert archgym("dataset", "verify", "data", "--sample", "120").code == 0

    quick = ("--model", "forest", "--setting", "n_trees=3")
    trained = archgym("proxy", "train", "data", *quick, "--out", "p.npz", "--json")
    searched = archgym("proxy", "search", "p.npz", "-n", "200", "--verify", "4", "--json")
    tabled = archgym("table", "build", "plugin", "--workers", "1", "--out", "t.parquet", "--json")
    on_table = archgym("search", "plugin", "--from-table", "t.parquet", "-n", "60", "--out", "tab")

    assert trained.code == 0, trained.err
    assert (trained.json["simulator"], trained.json["workloads"]) == ("plugin", ["light"])
    assert (searched.code, tabled.code, on_table.code) == (0, 0, 0)
    assert (searched.json["simulated"], searched.json["simulations_saved"]) == (4, 196)
    best = max(row["simulated"] for row in searched.json["designs"])
    # The proxy's best is simulated, so that it cannot be above what is proven.
    proven = {o["objective"]["name"]: o["reward"] for o in tabled.json["optima"]}["low-latency"]
    assert 0.5 * proven < best <= proven + 1e-12


def test_interval_that_cannot_be_told_is_said_to_be_infinite(archgym: Archgym) -> None:
    ran = archgym("search", "plugin", "-a", "random", "-n", "50", "--out", "few")
    assert ran.code == 0, ran.err
    archgym("dataset", "build", "few", "--out", "data")
    quick = ("--model", "linear", "--setting", "degree=1", "--setting", "alpha=0.01")
    assert archgym("proxy", "train", "data", *quick, "--out", "p.npz").code == 0

    ran = archgym("proxy", "predict", "p.npz", "--level", "0.99")
    as_json = archgym("proxy", "predict", "p.npz", "--level", "0.99", "--json").json

    assert ran.code == 0, ran.err
    assert "inf" in ran.out
    assert "too few designs for calibration" in ran.out
    assert as_json["metrics"]["latency_ns"]["low"] == 0
    assert as_json["metrics"]["latency_ns"]["high"] is None


def test_options_of_a_mixture_are_named_as_they_are_given(archgym: Archgym) -> None:
    for name in ("small", "large"):
        device = ("-o", f"device={name}") if name == "large" else ()
        assert archgym("search", "plugin", *device, "-n", "5", "--out", name).code == 0
    archgym("dataset", "build", "small", "large", "--out", "data")

    mixed = archgym("proxy", "train", "data", "--out", "p.npz")
    absent = archgym("proxy", "train", "data", "--out", "p.npz", "--option", "device=huge")

    assert (mixed.code, absent.code) == (1, 1)
    assert "data has the defaults, device=large. Choose one with `options`" in mixed.err
    assert "on the command line with --option." in mixed.err
    assert "Unknown options 'device=huge'. Did you mean 'device=large'?" in absent.err
