"""The study of learned policies: its space, its workloads and its page."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.simulators.dram.simulator import DramSimulator
from archgym.simulators.dram.workloads.shipped import SHIPPED

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "experiments"))
    yield import_module("learned_policies")
    sys.path.remove(str(ROOT / "experiments"))


def test_small_space_has_the_designs_that_the_page_states(study: Any) -> None:
    assert import_module("learned_workloads").space().count().value == 2304


def test_default_design_of_the_small_space_is_that_of_the_full_one(study: Any) -> None:
    small, full = (
        import_module("learned_workloads").SmallController(),
        DramSimulator(),
    )

    ours, theirs = (
        simulator.evaluate_batch(
            simulator.space.default_indices[None], simulator.workload("expert-load")
        ).values
        for simulator in (small, full)
    )

    assert np.array_equal(ours, theirs)


def test_each_shipped_workload_has_one_family(study: Any) -> None:
    families = import_module("learned_workloads").FAMILIES

    assert sorted(name for names in families.values() for name in names) == sorted(SHIPPED)


def test_page_and_data_of_learned_policies_agree(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(study.PAGE.read_text())
    monkeypatch.setattr(study, "PAGE", page)
    monkeypatch.setattr(study, "draw", lambda by_split: None)

    study.page(ROOT / "experiments" / "data" / "learned-policies.csv")

    written = (ROOT / "experiments" / "learned-policies.md").read_text()
    assert written.count(": begin -->") == 9
    assert page.read_text() == written


def test_page_and_data_of_systems_agree(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    systems: Any = import_module("learned_systems")
    page = tmp_path / "page.md"
    page.write_text(study.PAGE.read_text())
    monkeypatch.setattr(systems, "PAGE", page)

    systems.page(ROOT / "experiments" / "data" / "learned-systems.csv")

    assert page.read_text() == (ROOT / "experiments" / "learned-policies.md").read_text()
