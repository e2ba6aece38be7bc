"""Tests of stand-ins, with one that answers half of what the toy does."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, StorageError, UnknownNameError
from archgym.evaluation import stand_in as standin
from archgym.evaluation.simulator import BatchResult, Workload
from archgym.evaluation.specification import Declaration
from archgym.evaluation.stand_in import (
    StandIn,
    StandInKind,
    check_agreement,
    open_stand_in,
    stand_in_kind,
)
from archgym.simulators.moe import MoeSimulator
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.toys import ToySimulator


class HalfToy(StandIn):
    """The toy's metrics times what its file says."""

    kind: ClassVar[StandInKind] = "proxy"

    def __init__(self, path: Path) -> None:
        data = json.loads(path.read_text())
        self._factor = data["factor"]
        options = {"proxy": str(self._factor)} if self._factor != 1.0 else {}
        super().__init__(Declaration.from_json(data["declaration"]), path, "00", options)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        toy = ToySimulator()
        result = toy.simulate(indices, toy.workload(workload.name))
        return BatchResult(result.values * self._factor, result.reason)


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of a stand-in that differs from the toy."""
    monkeypatch.setitem(standin._HOMES, "proxy", (__name__, "HalfToy"))
    return written(tmp_path / "half.json", 0.5)


@pytest.fixture
def whole(tmp_path: Path, half: Path) -> Path:
    """A file of a stand-in whose numbers are the toy's."""
    return written(tmp_path / "whole.json", 1.0)


def written(path: Path, factor: float) -> Path:
    toy = ToySimulator()
    declaration = Declaration.of(toy, "toy", {n: toy.workload(n) for n in ("heavy", "light")})
    path.write_text(json.dumps({"factor": factor, "declaration": declaration.to_json()}))
    return path


def test_task_on_a_stand_in_of_equal_numbers_is_the_simulators(whole: Path) -> None:
    task, own = Task.make(stand_in=whole), Task.make(ToySimulator())

    assert (task.id, task.digest) == (own.id, own.digest)
    assert task.to_json()["stand_in"] == {"kind": "proxy", "path": str(whole), "digest": "00"}


def test_task_on_a_stand_in_with_options_is_another(half: Path) -> None:
    task = Task.make("toy", "heavy", "balanced", "toy", "standard", stand_in=half, proxy="0.5")

    assert task.id == "toy[proxy=0.5]/toy/heavy/balanced-v0"
    assert task.digest != Task.make(ToySimulator(), "heavy", "balanced").digest


@pytest.mark.parametrize(
    "choice",
    [
        {"simulator": "dram"},
        {"space": "default"},
        {"fidelity": "fast"},
        {"device": "ddr3"},
        {"proxy": "0.25"},
    ],
)
def test_what_the_file_was_not_made_with_is_refused(half: Path, choice: dict[str, str]) -> None:
    given: dict[str, Any] = choice
    with pytest.raises(InvalidArgumentError, match="must be what"):
        Task.make(stand_in=half, **given)


def test_stand_in_of_another_version_does_not_answer_for_an_instance(whole: Path) -> None:
    newer = ToySimulator()
    newer.spec = replace(newer.spec, version=1)

    assert Task.make(ToySimulator(), stand_in=whole).simulator.name == "toy"
    with pytest.raises(InvalidArgumentError, match="another `version`"):
        Task.make(newer, stand_in=whole)


@pytest.mark.parametrize("is_instance", [False, True])
def test_stand_in_made_with_another_file_of_an_option_is_refused(
    half: Path, tmp_path: Path, is_instance: bool
) -> None:
    server = tmp_path / "server.yaml"
    server.write_text("hardware: {preset: l40s, ssd: {gb_per_s: 7}}\n")
    moe = MoeSimulator("edge-offload", hardware=str(server))
    declaration = Declaration.of(moe, "edge-offload", {"chat": moe.workload("chat")})
    half.write_text(json.dumps({"factor": 1.0, "declaration": declaration.to_json()}))
    stand_in = open_stand_in(half)

    def asked() -> tuple[str | MoeSimulator, dict[str, str]]:
        options = {"hardware": str(server)}
        return (MoeSimulator("edge-offload", **options), {}) if is_instance else ("moe", options)

    simulator, options = asked()
    check_agreement(stand_in, simulator, None, None, options)
    server.write_text("hardware: {preset: l40s, ssd: {gb_per_s: 3}}\n")
    simulator, options = asked()

    with pytest.raises(InvalidArgumentError, match="workload 'chat' is another now"):
        check_agreement(stand_in, simulator, None, None, options)


def test_workload_that_the_file_has_not_is_refused(whole: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown workload 'medium' of whole.json"):
        Task.make(stand_in=whole, workload="medium")


def test_stand_in_pickles_as_its_path(half: Path) -> None:
    stand_in = open_stand_in(half)

    copy = pickle.loads(pickle.dumps(stand_in))

    assert copy.path == stand_in.path
    assert len(pickle.dumps(stand_in)) < 500


def test_recipe_opens_its_stand_in_again(half: Path) -> None:
    task = Task.make(stand_in=half)

    assert Task.from_json(task.to_json()).digest == task.digest
    written(half, 0.25)
    with pytest.raises(
        InvalidArgumentError,
        match=r"option `proxy` differs now: it was '0\.5' and is '0\.25'",
    ):
        Task.from_json(task.to_json())


def test_study_goes_on_with_the_simulator_and_back(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    with Study.create(folder, Task.make(stand_in=whole), "random", budget=5) as study:
        study.run()

    with Study.open(folder, Task.make(ToySimulator())) as study:
        study.run(budget=10)
    with Study.open(folder) as study:
        assert study.run(budget=12).evaluations == 12


def test_recipe_whose_stand_in_is_gone_says_what_to_do(whole: Path) -> None:
    recipe = Task.make(stand_in=whole).to_json()
    moved = whole.rename(whole.with_name("moved.json"))

    with pytest.raises(StorageError, match="archgym resume STUDY --from-proxy FILE"):
        Task.from_json(recipe)
    assert Task.from_json(recipe, stand_in=moved).digest == recipe["digest"]
    assert Task.from_json(recipe, ToySimulator()).digest == recipe["digest"]


def test_environments_take_a_stand_in(tmp_path: Path, half: Path) -> None:
    from archgym.envs import DesignEnv, DesignVectorEnv

    env = DesignEnv("toy", stand_in=half)
    assert isinstance(env, gymnasium.Env)
    assert env.task.id.startswith("toy[proxy=0.5]")
    assert DesignVectorEnv("toy", 2, stand_in=half, workload="heavy").num_envs == 2


def test_kind_of_a_file_shows_in_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"PAR1 and more")

    assert stand_in_kind(path) == "table"
    with pytest.raises(StorageError, match="no such file"):
        stand_in_kind(tmp_path / "absent")
