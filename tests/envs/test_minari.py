from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.datasets import Split, build_dataset
from archgym.datasets.stored import open_stored
from archgym.envs import DesignEnv, write_minari
from archgym.envs.minari import RecordedTask
from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.evaluation.task import Task
from archgym.proxy import TrainOptions, train
from archgym.studies.study import Study
from tests.datasets.making import mixture, search
from tests.proxy.toydata import toy_dataset
from tests.toys import ToySimulator, toy_task

minari = pytest.importorskip("minari")
pytest.importorskip("h5py")


def test_episodes_are_studies_as_the_environment_gives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = mixture(tmp_path)

    written = write_minari(dataset, tmp_path / "minari")

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    loaded = minari.load_dataset("archgym/toy-evaluations-v0")
    assert (written.id, written.episodes, written.steps) == (loaded.id, 3, 90)
    assert (loaded.total_episodes, loaded.total_steps) == (3, 90)
    # The third is of two workloads.
    episode = list(loaded.iterate_episodes())[2]
    env = DesignEnv(toy_task({"light": 1.0, "heavy": 2.0}))
    assert loaded.action_space == env.action_space
    assert loaded.observation_space == env.observation_space
    first, _ = env.reset()
    np.testing.assert_array_equal(episode.observations[0], first)
    for step in (0, 17, 29):
        env.reset()
        observation, reward, *_ = env.step(episode.actions[step])
        np.testing.assert_array_equal(episode.observations[step + 1], observation)
        assert episode.rewards[step] == reward
    assert episode.terminations.all()
    assert sorted(p.name for p in (tmp_path / "minari").iterdir()) == ["archgym"]


def test_policy_trained_on_it_beats_random_designs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    task = toy_task()
    random = task.space.sample(400, np.random.default_rng(0))
    for place, name in enumerate(("a", "b")):
        with Study.log(tmp_path / name, task) as log:
            log.evaluate(random[place * 200 : place * 200 + 200])
    build_dataset([tmp_path / "a", tmp_path / "b"], tmp_path / "dataset")
    write_minari(tmp_path / "dataset", tmp_path, id="toy-v0")

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    episodes = list(minari.load_dataset("toy-v0").iterate_episodes())
    # Behaviour cloning in which a better design weighs more.
    seen = torch.tensor(np.concatenate([e.observations[:-1] for e in episodes]))
    actions = torch.tensor(np.concatenate([e.actions for e in episodes]))
    rewards = torch.tensor(np.concatenate([e.rewards for e in episodes]), dtype=torch.float32)
    weight = torch.softmax(10.0 * rewards, dim=0)
    torch.manual_seed(0)
    sizes = task.space.sizes.tolist()
    policy = torch.nn.Linear(seen.shape[1], sum(sizes))
    optimiser = torch.optim.Adam(policy.parameters(), lr=0.05)
    for _ in range(100):
        logits = policy(seen).split(sizes, dim=1)
        loss = sum(
            (
                weight * torch.nn.functional.cross_entropy(part, actions[:, i], reduction="none")
            ).sum()
            for i, part in enumerate(logits)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    env = DesignEnv(task)
    observation, _ = env.reset()
    parts = policy(torch.tensor(observation)).split(sizes)
    _, reward, *_ = env.step(np.array([int(part.argmax()) for part in parts]))

    rewards_of_random = task.evaluate(random).reward
    built = rewards_of_random[rewards_of_random > -25.0]
    assert reward > np.quantile(built, 0.75) > built.mean()


def test_part_of_a_split_dataset_can_be_taken(tmp_path: Path) -> None:
    dataset = mixture(tmp_path, Split("workload", 0.0, 0.5, hold_out=("heavy",)))

    written = write_minari(dataset, tmp_path / "minari", id="toy-v1", part="train")

    # Of the study on both workloads half of each evaluation lies in the test part.
    assert (written.episodes, written.steps) == (1, 30)


def test_wrong_arguments_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)
    write_minari(dataset, tmp_path / "minari", id="toy-v0")

    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"id": "toy-v0"}, "must not exist yet"),
        ({"id": "../toy-v0"}, "must read namespace/name-vN"),
        ({"id": "toy"}, "must read namespace/name-vN"),
        ({"id": "x/toy-v0"}, "the namespace with two or more; got 'x/toy-v0'"),
        ({"id": "toy-v1", "part": "train"}, "without parts"),
    )
    for arguments, problem in cases:
        with pytest.raises(InvalidArgumentError, match=problem):
            write_minari(dataset, tmp_path / "minari", **arguments)

    assert [p.name for p in (tmp_path / "minari").iterdir()] == ["toy-v0"]


class RoughSimulator(ToySimulator):
    """The toy, less exact."""

    def __init__(self) -> None:
        super().__init__()
        self.fidelity = "rough"


def test_fidelity_is_chosen_where_there_are_several(tmp_path: Path) -> None:
    search(tmp_path / "a", toy_task())
    search(tmp_path / "b", Task.make(RoughSimulator(), "light"), seed=2)
    dataset = build_dataset([tmp_path / "a", tmp_path / "b"], tmp_path / "dataset").path

    with pytest.raises(InvalidArgumentError, match="Choose one with `fidelity`"):
        write_minari(dataset, tmp_path / "minari")
    written = write_minari(dataset, tmp_path / "minari", fidelity="rough")

    assert (written.episodes, written.steps) == (1, 30)


def test_study_on_a_proxy_needs_neither_simulator_nor_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {"n_trees": 3, "n_randomised": 2, "min_samples_leaf": 1}
    train(toy_dataset(), TrainOptions("forest", setting=quick)).save(tmp_path / "toy.npz")
    search(tmp_path / "study", Task.make(stand_in=tmp_path / "toy.npz", workload="light"))
    dataset = build_dataset(tmp_path / "study", tmp_path / "dataset").path
    (tmp_path / "toy.npz").unlink()

    write_minari(dataset, tmp_path, id="toy-v0")

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert minari.load_dataset("toy-v0").total_steps == 30


def test_task_that_was_forged_is_refused_in_one_line(tmp_path: Path) -> None:
    stored = open_stored(mixture(tmp_path))
    (task, *_), (declaration, *_) = stored.about.tasks, stored.about.declarations

    for changes in (
        {"reference": [[1.0]]},
        {"reference": None},
        {"reference": [["x"] * 4]},
        {"reference": [[float("nan")] * 4]},
        {"workloads": [{**task["workloads"][0], "weight": -1}]},
        {"workloads": [{**task["workloads"][0], "weight": 10**400}]},
    ):
        with pytest.raises(FileFormatError, match="must be what `archgym dataset build`") as caught:
            RecordedTask.of(stored.path, {**task, **changes}, declaration)
        assert "\n" not in str(caught.value)
