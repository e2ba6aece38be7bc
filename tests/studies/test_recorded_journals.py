"""Journals of agents, byte for byte as they were recorded: see `tests/fixtures/journals`."""

import gzip
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

import archgym as ag
from archgym.testing import ProvingSimulator

FIXTURES = Path(__file__).parents[1] / "fixtures" / "journals"
RECORDED = sorted(path.relative_to(FIXTURES).parts for path in FIXTURES.glob("*/*.gz"))


def has_same_logarithm() -> bool:
    rounded = np.log(np.linspace(0.01, 40.0, 4001)).tobytes()
    expected = (FIXTURES / "logarithm.sha256").read_text().strip()
    return hashlib.sha256(rounded).hexdigest() == expected


@pytest.mark.parametrize(("kind", "name"), RECORDED)
def test_agent_writes_the_journal_that_it_wrote(kind: str, name: str, tmp_path: Path) -> None:
    agent = name.removesuffix(".jsonl.gz")
    if kind == "proving":
        task = ag.Task.make(ProvingSimulator("mixed"), {"near": 2.0, "far": 1.0}, "balanced")
    else:
        task = ag.Task.make("dram", "cloud-1", "balanced")

    budget = 40 if kind == "proving" else 32
    ag.Study.create(tmp_path / "study", task, agent, seed=5, budget=budget).run()

    made = (tmp_path / "study" / "journal.jsonl").read_bytes()
    written = gzip.decompress((FIXTURES / kind / name).read_bytes())
    if kind == "dram":
        # The checksum binds a record to its task, and tasks of DRAM have another fidelity now.
        made, written = (re.sub(rb',"crc":"[0-9a-f]{8}"', b"", text) for text in (made, written))
    if has_same_logarithm():
        assert made == written
        return
    pairs = (map(json.loads, text.splitlines()) for text in (made, written))
    for ours, theirs in zip(*pairs, strict=True):
        ours.pop("crc", None), theirs.pop("crc", None)
        assert ours.pop("reward") == pytest.approx(theirs.pop("reward"), rel=1e-12, abs=1e-15)
        assert ours == theirs
