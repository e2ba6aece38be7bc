"""Journals of agents, byte for byte as they were recorded: see `tests/fixtures/journals`."""

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import archgym as ag
from archgym.testing import ProvingSimulator

FIXTURES = Path(__file__).parents[1] / "fixtures" / "journals"
AGENTS = (
    "random",
    "grid",
    "quasi_random",
    "hill_climbing",
    "simulated_annealing",
    "genetic",
    "ant_colony",
    "bottleneck",
    "nsga2",
    "extra_trees",
)


def has_same_logarithm() -> bool:
    rounded = np.log(np.linspace(0.01, 40.0, 4001)).tobytes()
    expected = (FIXTURES / "logarithm.sha256").read_text().strip()
    return hashlib.sha256(rounded).hexdigest() == expected


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("kind", ["proving", "dram"])
def test_agent_writes_the_journal_that_it_wrote(kind: str, agent: str, tmp_path: Path) -> None:
    if kind == "proving":
        task = ag.Task.make(ProvingSimulator("mixed"), {"near": 2.0, "far": 1.0}, "balanced")
    else:
        task = ag.Task.make("dram", "cloud-1", "balanced")

    budget = 40 if kind == "proving" else 32
    ag.Study.create(tmp_path / "study", task, agent, seed=5, budget=budget).run()

    made = (tmp_path / "study" / "journal.jsonl").read_bytes()
    written = gzip.decompress((FIXTURES / kind / f"{agent}.jsonl.gz").read_bytes())
    if has_same_logarithm():
        assert made == written
        return
    pairs = (map(json.loads, text.splitlines()) for text in (made, written))
    for ours, theirs in zip(*pairs, strict=True):
        del ours["crc"], theirs["crc"]
        assert ours.pop("reward") == pytest.approx(theirs.pop("reward"), rel=1e-12, abs=1e-15)
        assert ours == theirs
