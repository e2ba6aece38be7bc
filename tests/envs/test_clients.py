"""Libraries that use the environments: each fault that one of them met stays fixed."""

import inspect
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import FlattenObservation, NormalizeObservation

from archgym.envs import DesignEnv, DesignVectorEnv
from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.spaces.design import Design
from tests.toys import toy_task

KINDS = [(f, a) for f in ("whole", "sequential") for a in ("multidiscrete", "box")]


@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec])
def test_unknown_argument_is_the_type_error_that_torchrl_looks_for(make: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'") as error:
        make("archgym/Dram-v1", frameskip=1)

    assert isinstance(error.value, UnknownNameError)


def test_unknown_argument_suggests_the_nearest_one() -> None:
    with pytest.raises(TypeError, match="'workload'"):
        gymnasium.make("archgym/Dram-v1", workloads="cloud-1")


def test_design_can_be_rebuilt_from_keywords() -> None:
    design = Design({"banks": 4, "values": "x"})

    assert Design(**design) == design


@pytest.mark.parametrize(("formulation", "actions"), KINDS)
def test_next_step_autoreset_equals_gymnasiums_own(formulation: str, actions: str) -> None:
    task = toy_task(["light", "heavy"])
    kind: dict[str, Any] = {"formulation": formulation, "actions": actions}
    batch = DesignVectorEnv(task, 5, autoreset_mode=AutoresetMode.NEXT_STEP, **kind)
    single: Any = SyncVectorEnv(
        [lambda: DesignEnv(task, **kind)] * 5, autoreset_mode=AutoresetMode.NEXT_STEP
    )
    batch.action_space.seed(5)
    seen, seen_1 = batch.reset(seed=1)[0], single.reset(seed=1)[0]
    assert np.array_equal(seen, seen_1)
    n_ended = 0

    for _ in range(40):
        action = batch.action_space.sample()
        seen, reward, terminated, truncated, info = batch.step(action)
        seen_1, reward_1, terminated_1, truncated_1, info_1 = single.step(action)

        assert np.array_equal(seen, seen_1)
        assert np.array_equal(reward, reward_1)
        assert np.array_equal(terminated, terminated_1)
        assert np.array_equal(truncated, truncated_1)
        for row in np.flatnonzero(terminated):
            n_ended += 1
            assert np.array_equal(info["indices"][row], info_1["indices"][row])
            assert info["reward"][row] == info_1["reward"][row]
            if info["feasible"][row]:
                for name in info["metrics"]:
                    assert info["metrics"][name][row] == info_1["metrics"][name][row]
        if "parameter" in info:
            has_next = info["_parameter"]
            assert info["parameter"][has_next].tolist() == (info_1["parameter"][has_next].tolist())
    assert n_ended > 20


@pytest.mark.parametrize("wrapper", [FlattenObservation, NormalizeObservation])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, "NextStep"])
def test_vector_wrappers_work_with_next_step_autoreset(wrapper: Any, mode: Any) -> None:
    made = gymnasium.make_vec("archgym/Dram-v1", 3, autoreset_mode=mode)

    envs = wrapper(made)
    seen, _ = envs.reset(seed=0)
    for _ in range(4):
        seen, *_ = envs.step(envs.action_space.sample())

    assert seen.shape[0] == 3
    assert np.isfinite(seen).all()


@pytest.mark.parametrize("mode", [AutoresetMode.DISABLED, "sometimes", None])
def test_other_autoreset_modes_are_refused(mode: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`autoreset_mode` must be"):
        DesignVectorEnv(toy_task(), 2, autoreset_mode=mode)


def test_infos_of_sb3_hold_design_and_metrics() -> None:
    pytest.importorskip("stable_baselines3")
    from archgym.envs import Sb3VecEnv

    task = toy_task()
    env = Sb3VecEnv(task, 3)
    env.reset()
    designs = task.space.sample(3, np.random.default_rng(0))

    *_, infos = env.step(designs)

    for info, indices in zip(infos, designs, strict=True):
        assert info["design"] == task.space.design_at(task.space.canonical(indices[None, :])[0])
        if info["feasible"]:
            assert list(info["metrics"].values()) == info["values"].tolist()
            assert list(info["metrics"]) == [spec.name for spec in task.metrics]
        else:
            assert info["metrics"] == {}


def test_minari_dataset_recovers_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    from archgym.envs import record_minari

    env = gymnasium.make("archgym/Dram-v1", workload="cloud-1", objective="low-power")
    rng = np.random.default_rng(0)

    def act(inner: Any, seen: np.ndarray) -> np.ndarray:
        return rng.integers(inner.action_space.nvec)

    record_minari(env, act, 5, tmp_path / "minari", id="dram-v0", algorithm="random")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))

    loaded = minari.load_dataset("dram-v0")

    assert loaded.env_spec.id == "archgym/Dram-v1"
    again = loaded.recover_environment()
    assert again.unwrapped.task.digest == env.unwrapped.task.digest
    assert len(loaded) == 5
    for row in loaded[4].actions:
        again.reset()
        _, reward, *_ = again.step(row)
    assert reward == loaded[4].rewards[-1]


def test_documentation_names_the_id_that_imports_archgym() -> None:
    guide = Path(inspect.getfile(DesignEnv)).parents[2] / "docs" / "rl.md"
    if not guide.is_file():
        pytest.skip("installed without docs")

    assert "archgym:archgym/Dram-v1" in guide.read_text()
