"""Libraries that work with the environments and datasets; each test needs its library.

SB3, its contributed algorithms and RLlib have tests of their own: `test_sb3.py`, and
those of the agents `ppo`, `maskable_ppo` and `multi_agent_ppo`.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import archgym as ag
from tests.datasets.making import mixture

ID = "archgym/Dram-v1"


def test_torch_wrapper_takes_and_gives_tensors() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("array_api_compat")  # which Gymnasium's wrapper needs
    env: Any = gymnasium.wrappers.NumpyToTorch(gymnasium.make(ID))
    seen, _ = env.reset(seed=0)

    seen, reward, terminated, _, info = env.step(torch.as_tensor(env.action_space.sample()))

    assert isinstance(seen, torch.Tensor)
    assert isinstance(reward, float)
    assert terminated
    # The wrapper rebuilds mappings from their items.
    assert set(info["design"]) == set(env.unwrapped.task.space.names)


@pytest.mark.parametrize("formulation", ["whole", "sequential"])
def test_torch_wrapper_of_vectors_takes_and_gives_tensors(formulation: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("array_api_compat")  # which Gymnasium's wrapper needs
    from gymnasium.wrappers.vector import NumpyToTorch

    made = gymnasium.make_vec(
        ID, num_envs=3, formulation=formulation, autoreset_mode="NextStep", texts=False
    )
    envs: Any = NumpyToTorch(made)
    seen, _ = envs.reset(seed=0)
    rewards = []
    for _ in range(2 * made.unwrapped.task.space.n_parameters + 2):
        action = torch.as_tensor(envs.action_space.sample())
        seen, reward, over, _, infos = envs.step(action)
        rewards.append(reward)
        if over.any():
            reasons = infos["reason"]

    assert isinstance(seen, torch.Tensor)
    assert torch.stack(rewards).abs().sum() > 0
    assert (reasons.dtype, tuple(reasons.shape)) == (torch.int64, (3,))


def test_torchrl_steps_through_an_episode() -> None:
    libs = pytest.importorskip("torchrl.envs.libs.gym")
    env = libs.GymEnv(ID, categorical_action_encoding=True)

    rolled = env.rollout(3)

    assert rolled["next", "reward"].shape[0] >= 1
    assert bool(rolled["next", "done"].any())


@pytest.mark.slow
def test_sb3_makes_environments_in_processes_by_the_id_with_the_module() -> None:
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import SubprocVecEnv

    env = make_vec_env(f"archgym:{ID}", 2, vec_env_cls=SubprocVecEnv)
    try:
        env.reset()
        _, rewards, *_ = env.step(np.array([env.action_space.sample() for _ in range(2)]))
    finally:
        env.close()

    assert np.isfinite(rewards).all()


def test_policy_gradient_in_the_style_of_cleanrl_learns() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    envs: Any = gymnasium.make_vec(ID, 64, vectorization_mode="vector_entry_point")
    sizes = envs.single_action_space.nvec.tolist()
    logits = torch.nn.Parameter(torch.zeros(sum(sizes)))
    optimiser = torch.optim.Adam([logits], lr=0.1)
    envs.reset(seed=0)
    means = []
    for _ in range(30):
        heads = [torch.distributions.Categorical(logits=part) for part in logits.split(sizes)]
        action = torch.stack([head.sample((64,)) for head in heads], dim=1)
        _, reward, *_ = envs.step(action.numpy())
        log_probability = torch.stack(
            [head.log_prob(action[:, k]) for k, head in enumerate(heads)]
        ).sum(dim=0)
        reward = torch.as_tensor(reward)
        advantage = (reward - reward.mean()) / (reward.std() + 1e-8)
        loss = -(advantage * log_probability).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        means.append(float(reward.mean()))

    assert np.mean(means[-5:]) > np.mean(means[:5])


def test_skrl_wraps_the_environment() -> None:
    wrappers = pytest.importorskip("skrl.envs.wrappers.torch")
    torch = pytest.importorskip("torch")
    env = wrappers.wrap_env(gymnasium.make(ID), wrapper="gymnasium", verbose=False)
    env.reset()

    _, reward, terminated, *_ = env.step(torch.as_tensor(env.action_space.sample()[None, :]))

    assert np.isfinite(float(reward))
    assert bool(terminated)


def test_tianshou_collects_from_a_vector() -> None:
    tianshou = pytest.importorskip("tianshou.env")
    envs = tianshou.DummyVectorEnv([lambda: gymnasium.make(ID) for _ in range(2)])
    envs.reset()

    _, rewards, terminated, *_ = envs.step([envs.action_space[0].sample() for _ in range(2)])

    assert np.isfinite(rewards).all()
    assert terminated.all()


def test_rl_zoo3_makes_the_environment(tmp_path: Path) -> None:
    pytest.importorskip("rl_zoo3.utils")
    from rl_zoo3.utils import create_test_env

    # rl_zoo3 takes no id with a module; its commands have `--gym-packages archgym`.
    env = create_test_env(ID, n_envs=1, log_dir=str(tmp_path), should_render=False, hyperparams={})
    env.reset()
    _, rewards, *_ = env.step(env.action_space.sample()[None, :])

    assert np.isfinite(rewards).all()


@pytest.mark.nightly
@pytest.mark.xdist_group("ray")
def test_ray_tune_searches_an_evaluator(tmp_path: Path) -> None:
    tune = pytest.importorskip("ray.tune")
    import ray

    # Without an address, Ray joins any cluster that runs on this machine and refuses `num_cpus`.
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)

    def objective(config: dict[str, int]) -> dict[str, float]:
        task = ag.Task.make("dram")
        design = dict(task.space.design_at(task.space.default_indices))
        indices = task.space.indices_of(design)
        indices[0] = config["first"]
        return {"reward": float(task.evaluate(indices[None, :]).reward[0])}

    tuner = tune.Tuner(
        objective,
        param_space={"first": tune.grid_search([0, 1])},
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    )
    try:
        found = tuner.fit()
    finally:
        ray.shutdown()

    assert np.isfinite(found.get_best_result("reward", "max").metrics["reward"])


def test_optuna_study_of_the_users_own_is_logged(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = ag.Task.make("dram")

    with ag.Study.log(tmp_path / "log", task) as log:

        def objective(trial: Any) -> float:
            indices = [
                trial.suggest_int(name, 0, size - 1)
                for name, size in zip(task.space.names, task.space.sizes, strict=True)
            ]
            return float(log.evaluate(np.array([indices])).reward[0])

        optuna.create_study(direction="maximize").optimize(objective, n_trials=5)

    assert ag.read_study(tmp_path / "log").evaluations == 5


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of a dataset."""
    made = mixture(tmp_path_factory.mktemp("dataset"))
    return next((made / "data").glob("*.parquet"))


def n_rows(parquet: Path) -> int:
    """Return the rows of a part by the library that wrote it."""
    import pyarrow.parquet

    return int(pyarrow.parquet.read_metadata(parquet).num_rows)


def test_huggingface_datasets_load_the_folder(parquet: Path, tmp_path: Path) -> None:
    # From elsewhere, since a checkout has a link of the same name as the library.
    code = (
        "import importlib.util, sys\n"
        "if not importlib.util.find_spec('datasets'): sys.exit(77)\n"
        "import datasets\n"
        "loaded = datasets.load_dataset('parquet', data_files=sys.argv[1], cache_dir=sys.argv[2])\n"
        "print(len(loaded['train']))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    ran = subprocess.run(
        [sys.executable, "-c", code, str(parquet), str(tmp_path / "cache")],
        cwd=tmp_path,
        env={**environment, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    if ran.returncode == 77:
        pytest.skip("could not import 'datasets'")
    assert ran.stdout.split()[-1:] == [str(n_rows(parquet))], ran.stderr


def test_duckdb_queries_the_file(parquet: Path) -> None:
    duckdb = pytest.importorskip("duckdb")

    (count,) = duckdb.sql(f"SELECT count(*) FROM '{parquet}'").fetchall()[0]

    assert count == n_rows(parquet)


def test_polars_reads_the_file(parquet: Path) -> None:
    polars = pytest.importorskip("polars")

    assert polars.read_parquet(parquet).height == n_rows(parquet)
