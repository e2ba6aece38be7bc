"""Tests of Bayesian optimisation by SMAC3."""

import importlib.util
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from archgym.agents.smac import SmacAgent
from archgym.errors import InvalidArgumentError, MissingExtraError
from archgym.testing import proving_tasks
from tests.agents.recorder import search

MIXED, MAPPING, TINY = proving_tasks()

HAS_SMAC = importlib.util.find_spec("smac") is not None
needs_smac = pytest.mark.skipif(not HAS_SMAC, reason="SMAC3 is not installed.")


def test_absent_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r"'smac'.*archgym\[smac\]") as caught:
        SmacAgent(MIXED.space, seed=0)

    assert "\n" not in str(caught.value)


def test_agent_is_listed_without_importing_smac() -> None:
    code = (
        "import sys, archgym.agent.agent as d; assert 'smac' in d.agent_names(); "
        "d.agent_class('smac'); print({'smac', 'ConfigSpace', 'dask'} & set(sys.modules))"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "hyperparameter",
    [{"startup": 0}, {"trees": 0}, {"challengers": 0}, {"random_share": 1.1}, {"batch_size": 0}],
    ids=str,
)
def test_hyperparameter_that_cannot_be_is_refused(hyperparameter: dict[str, int]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{next(iter(hyperparameter))}`"):
        SmacAgent(MIXED.space, seed=0, **hyperparameter)


@needs_smac
@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 5])
def test_new_designs_that_keep_the_constraints(batch_size: int) -> None:
    found = search(SmacAgent, MIXED, 30, batch_size=batch_size)

    assert found.n_repeated == 0
    assert MIXED.space.feasible(found.designs).all()


@needs_smac
@pytest.mark.slow
def test_search_ends_when_the_space_is_known() -> None:
    assert len(search(SmacAgent, TINY, 100, startup=2).rewards) == 6


@needs_smac
@pytest.mark.slow
def test_nothing_is_said_or_left_behind(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("smac").level

    search(SmacAgent, MAPPING, 20)

    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    assert list(scratch.iterdir()) == []
    assert [record for record in caplog.records if record.name.startswith("smac")] == []
    assert logging.getLogger("smac").level == level
    assert capfd.readouterr().out == ""
