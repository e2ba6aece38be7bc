"""Minari datasets, on which offline reinforcement learning trains."""

import importlib.util
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError, MissingExtraError
from archgym.files.storage import make_folder, move_whole, scratch_folder, storage_errors

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.envs.registration import EnvSpec


_ROOT = "MINARI_DATASETS_PATH"
_WORD = "[A-Za-z0-9_-]"
# Minari takes no namespace of one letter.
_ID = re.compile(rf"({_WORD}{{2,}}/|{_WORD}+(/{_WORD}+)+/)?{_WORD}+-v[0-9]{{1,9}}")
# chosen: with 25 parameters and metrics, 2 GB; Minari takes all episodes at once.
_MAX_ROWS = 10_000_000


@final
@dataclass(frozen=True)
class MinariWritten:
    """A Minari dataset: ``minari.load_dataset(id)`` with `root` as MINARI_DATASETS_PATH."""

    id: str
    root: Path
    episodes: int
    steps: int


def record_minari(
    env: "gymnasium.Env[Any, Any]",
    act: Callable[[Any, Any], Any],
    episodes: int,
    out: str | Path | None = None,
    *,
    id: str,
    algorithm: str,
    seed: int = 0,
) -> MinariWritten:
    """Write episodes in which a function acts as a Minari dataset.

    Args:
      env: Environment that `gymnasium.make` made, of designs or of control.
      act: Function of the environment without wrappers and an observation; it returns an action.
      episodes: Number of episodes.
      out: The folder of Minari's datasets; Minari's own if None.
      id: Name of the dataset, such as ``archgym/dram-v0``.
      algorithm: Name of what acts.
      seed: Random seed of the first episode's reset.

    Raises:
      InvalidArgumentError: An argument does not fit.
      MissingExtraError: Minari is not installed.
      StorageError: The folder cannot be written.
    """
    if hasattr(env, "possible_agents") or hasattr(env, "num_envs"):
        raise InvalidArgumentError(f"`env` must be one, of one agent; got {type(env).__name__}.")
    root = _checked_root(id, out)
    n_episodes = check_whole("episodes", episodes, 1, _MAX_ROWS)
    played = []
    for number in range(n_episodes):
        seen, _ = env.reset(seed=seed if number == 0 else None)
        observations, actions, rewards = [seen], [], []
        ended = cut = False
        while not (ended or cut):
            actions.append(act(env.unwrapped, seen))
            seen, reward, ended, cut, _ = env.step(actions[-1])
            observations.append(seen)
            rewards.append(float(reward))
        goes_on = [False] * (len(rewards) - 1)
        ends, cuts = [*goes_on, bool(ended)], [*goes_on, bool(cut)]
        seen_all, taken = np.stack(observations), np.stack(actions)
        played.append(_Episode(seed, seen_all, taken, rewards, ends, cuts))
    about = f"Episodes of {env.spec.id if env.spec else env.unwrapped} under {algorithm}."
    return _create(
        root, id, played, env.spec, env.action_space, env.observation_space, algorithm, about
    )


def _checked_root(name: str, out: str | Path | None) -> Path:
    """Return the folder of Minari's datasets, in which there must be none of this name."""
    if not all(importlib.util.find_spec(needed) for needed in ("minari", "h5py")):
        raise MissingExtraError("minari", "data")
    if _ID.fullmatch(name) is None:
        raise InvalidArgumentError(
            "`id` must read namespace/name-vN, in letters, digits, - and _, the namespace with two "
            f"or more; got {name!r}."
        )
    root = Path(out or os.environ.get(_ROOT) or Path.home() / ".minari" / "datasets")
    if (root / name).exists():
        raise InvalidArgumentError(
            f"{root / name} must not exist yet; it does. Choose another `id`, or remove it first."
        )
    return root


class _Episode(NamedTuple):
    """Episode with the names of Minari's buffers."""

    seed: int | None
    observations: np.ndarray
    actions: np.ndarray
    rewards: list[float]
    terminations: list[bool]
    truncations: list[bool]


def _create(
    root: Path,
    name: str,
    episodes: Sequence[_Episode],
    spec: "EnvSpec | None",
    action_space: Any,
    observation_space: Any,
    algorithm: str,
    description: str,
) -> MinariWritten:
    """Write a dataset of episodes whole, or not at all."""
    import minari
    from minari.data_collector.episode_buffer import EpisodeBuffer

    buffers = [EpisodeBuffer(id=number, **each._asdict()) for number, each in enumerate(episodes)]
    make_folder(root)
    with (
        storage_errors(root / name, "written"),
        _scratch_root(root) as scratch,
        warnings.catch_warnings(),
    ):
        # It misses an author's address and the like.
        warnings.simplefilter("ignore", UserWarning)
        minari.create_dataset_from_buffers(
            name,
            buffers,
            env=spec,
            action_space=action_space,
            observation_space=observation_space,
            algorithm_name=algorithm,
            description=description,
        )
        make_folder((root / name).parent)
        _keep_namespaces(scratch, root, name)
        move_whole(scratch / name, root / name)
    return MinariWritten(name, root, len(episodes), sum(len(each.rewards) for each in episodes))


@contextmanager
def _scratch_root(root: Path) -> Iterator[Path]:
    """Create a folder in which Minari builds datasets, so that no partial one is left."""
    before = os.environ.get(_ROOT)
    # Minari finds its own files just where the path is absolute.
    with scratch_folder(root.absolute()) as scratch:
        os.environ[_ROOT] = str(scratch)
        try:
            yield scratch
        finally:
            if before is None:
                del os.environ[_ROOT]
            else:
                os.environ[_ROOT] = before


def _keep_namespaces(scratch: Path, root: Path, name: str) -> None:
    """Move the metadata that Minari keeps in the folders above the dataset."""
    for folder in Path(name).parents:
        for path in (scratch / folder).iterdir():
            if path.is_file() and not (root / folder / path.name).exists():
                move_whole(path, root / folder / path.name)
