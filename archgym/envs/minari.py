"""Minari datasets, on which offline reinforcement learning trains.

`record_minari` plays episodes of an environment. `write_minari` takes one of our datasets. There an
episode is a session: all evaluations of one study, in their order. Each step is a whole design, as
in `DesignEnv`: its action the design, its reward the task's, its end a termination. (An episode for
each design would take 17 kB of HDF5 each.)
"""

import importlib.util
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

from archgym.checks import check_whole
from archgym.datasets.columns import SPLIT, coded, decoded_indices, numbers, whole_numbers
from archgym.datasets.dataset import chosen_declaration
from archgym.datasets.metadata import task_workloads
from archgym.datasets.stored import StoredDataset, open_stored
from archgym.envs.design import DesignEnv
from archgym.envs.formulation import make_formulation
from archgym.envs.observation import Observation
from archgym.envs.registration import environment_id
from archgym.errors import (
    ArchGymError,
    FileFormatError,
    InvalidArgumentError,
    MissingExtraError,
    unknown_name,
)
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.simulator import recorded_options
from archgym.evaluation.specification import Declaration
from archgym.evaluation.task_choices import recorded_objective
from archgym.files.storage import make_folder, move_whole, scratch_folder, storage_errors
from archgym.spaces.choices import Choices
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    import gymnasium
    import pyarrow as pa
    from gymnasium.envs.registration import EnvSpec


logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class RecordedTask:
    """Part of a task that observations need, with or without its simulator or proxy."""

    id: str
    space: DesignSpace
    metrics: tuple[MetricSpec, ...]
    labels: tuple[str, ...]
    """Names by which rows cite the workloads."""
    weights: np.ndarray
    """(w,), of the workloads; they sum to 1."""
    reference: np.ndarray
    """(w, n_metrics), the default design's metrics on each workload."""

    @classmethod
    def of(cls, path: Path, recipe: Mapping[str, Any], declaration: Declaration) -> "RecordedTask":
        """Return the task of a recipe in a dataset.

        Args:
          path: The dataset, for errors.
          recipe: Result of `Task.to_json`, as in the dataset's metadata.
          declaration: Declaration of its simulator.

        Raises:
          FileFormatError: The recipe is damaged.
        """
        shape = (len(recipe["workloads"]), len(declaration.metrics))
        try:
            weights = np.array([w["weight"] for w in recipe["workloads"]], dtype=np.float64)
            reference = np.array(recipe["reference"], dtype=np.float64)
            if not (weights > 0).all() or not np.isfinite(weights.sum()):
                raise ValueError("weights must be above 0")
            if reference.shape != shape or not np.isfinite(reference).all():
                raise ValueError(f"`reference` must be {shape[0]} x {shape[1]} finite numbers")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            problem = " ".join(str(error).split())[:200].removesuffix(".")
            raise FileFormatError(
                path,
                None,
                f"task {recipe['id']!r} must be what `archgym dataset build` wrote; {problem}",
                "Restore it from a copy, or build the dataset again",
            ) from None
        labels = tuple(label for label, _ in task_workloads(recipe))
        weights = weights / weights.sum()
        return cls(recipe["id"], declaration.space, declaration.metrics, labels, weights, reference)

    def average(self, values: np.ndarray) -> np.ndarray:
        """Return weighted means over the workloads, (n, n_metrics) from (n, w, n_metrics)."""
        return np.asarray(np.einsum("nwm,w->nm", values, self.weights))


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


def write_minari(
    dataset: str | Path,
    out: str | Path | None = None,
    *,
    id: str | None = None,
    part: str | None = None,
    space: str | None = None,
    fidelity: str | None = None,
    options: Mapping[str, str] | None = None,
    version: int | None = None,
) -> MinariWritten:
    """Write a dataset's evaluations as a Minari dataset, one episode a study.

    Observations are those of `DesignEnv` after a design's step, before the first one the default
    design's; so they show what was measured last, in logarithms of its ratio to the default
    design. Actions are whole designs in canonical form. Evaluations on which the simulator broke
    are there with their reward, as an environment gives it.

    Args:
      dataset: Folder or file of `build_dataset`.
      out: The folder of Minari's datasets; Minari's own if None.
      id: Its name there; ``archgym/<name of the dataset>-v0`` if None.
      part: Only the rows of train, validation or test.
      space: Space of the rows, if there are several; the same holds for the next three.
      fidelity: Name of a fidelity.
      options: The simulator's options that are not its defaults; for a proxy its own too.
      version: The simulator's version.

    Raises:
      InvalidArgumentError: There is such a dataset already, too many rows, or rows of several
        spaces, fidelities, options or versions.
      UnknownNameError: No rows are of the space, fidelity, options or version.
      MissingExtraError: Minari is not installed.
      FileFormatError: `dataset` is not a dataset, or is damaged.
      StorageError: It cannot be read, or the folder not be written.
    """
    stored = open_stored(dataset)
    words = re.sub(r"[^A-Za-z0-9]+", "-", stored.about.name).strip("-") or "evaluations"
    name = id or f"archgym/{words}-v0"
    root = _checked_root(name, out)
    if stored.n_rows > _MAX_ROWS:
        raise InvalidArgumentError(
            f"A dataset must have at most {_MAX_ROWS} rows for this; it has {stored.n_rows}."
        )
    wanted = {"space": space, "fidelity": fidelity, "options": options, "version": version}
    declaration = chosen_declaration(stored, wanted)
    sessions = list(_sessions(stored, declaration, part))
    if not sessions:
        raise InvalidArgumentError(
            f"A Minari dataset needs evaluations; {dataset} has none of the wanted ones."
        )
    return _write(root, name, sessions, stored)


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
      out: As of `write_minari`.
      id: Name of the dataset.
      algorithm: Name of what acts.
      seed: Random seed of the first episode's reset.

    Raises:
      InvalidArgumentError: An argument does not fit.
      MissingExtraError: Minari is not installed.
      StorageError: The folder cannot be written.
    """
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


# ---- sessions


class _Episode(NamedTuple):
    """Episode with the names of Minari's buffers."""

    seed: int | None
    observations: np.ndarray
    actions: np.ndarray
    rewards: list[float]
    terminations: list[bool]
    truncations: list[bool]


class _Session(NamedTuple):
    """One study's evaluations, on a task with its recipe."""

    agent: str | None
    task: RecordedTask
    recipe: Mapping[str, Any]
    episode: _Episode


def _sessions(
    stored: StoredDataset,
    declaration: Declaration,
    part: str | None,
) -> Iterator[_Session]:
    of_study = {str(study["id"]): study for study in stored.about.studies}
    for (study, digest), rows in _rows_by_study(stored, declaration, part).items():
        # Of what was recorded, so that nothing has to be simulated, or be installed.
        recipe = stored.about.task_by_digest[digest]
        task = RecordedTask.of(stored.path, recipe, declaration)
        steps = _steps(task, rows)
        if not len(steps["reward"]):
            continue
        choices = Choices(task.space)
        formulation = make_formulation("whole", "multidiscrete", choices)
        picks = choices.split(steps["indices"])
        start, _ = formulation.start()
        n = len(picks) + 1
        nothing = np.full((1, len(task.metrics)), np.nan)
        observations = Observation(task, choices, formulation.shows_position).encode(
            np.concatenate([start[None, :], picks]),
            np.ones((n, choices.n), dtype=bool),
            np.full(n, choices.n),
            np.concatenate([nothing, steps["values"]]),
            np.concatenate([[True], steps["feasible"]]),
        )
        about = of_study.get(study, {})
        agent, seed = about.get("agent"), about.get("seed")
        rewards = steps["reward"].tolist()
        ends, cuts = [True] * len(rewards), [False] * len(rewards)
        episode = _Episode(seed, observations, picks, rewards, ends, cuts)
        yield _Session(agent, task, recipe, episode)


def _rows_by_study(
    stored: StoredDataset, declaration: Declaration, part: str | None
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Return rows by study and task, in the order of the files."""
    if part is not None and stored.about.split is None:
        raise InvalidArgumentError(
            f"`part` must be left out of a dataset without parts; got {part!r}. Split it first."
        )
    parts: dict[tuple[str, str], list[dict[str, np.ndarray]]] = {}
    for file in stored.files:
        for batch in file.batches():
            studies, study_names = coded(batch, "study_id")
            tasks, digests = coded(batch, "task_digest")
            for study, task in sorted(set(zip(studies.tolist(), tasks.tolist(), strict=True))):
                recipe = stored.about.task_by_digest.get(digests[task]) if task >= 0 else None
                if recipe is None or stored.about.declaration_of(recipe) is not declaration:
                    continue
                mask = (studies == study) & (tasks == task) & _in_part(batch, part)
                if mask.any():
                    key = study_names[study] if study >= 0 else "", digests[task]
                    rows = _decoded(file.path, batch.filter(mask), declaration, stored)
                    parts.setdefault(key, []).append(rows)
    return {
        key: {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
        for key, pieces in parts.items()
    }


def _in_part(batch: "pa.RecordBatch", part: str | None) -> np.ndarray:
    if part is None:
        return np.ones(batch.num_rows, dtype=bool)
    codes, names = coded(batch, SPLIT)
    if part not in ("train", "validation", "test"):
        raise unknown_name("part", part, ("train", "validation", "test"))
    return np.asarray(np.array([*(name == part for name in names), False])[codes])


def _decoded(
    path: Path, batch: "pa.RecordBatch", declaration: Declaration, stored: StoredDataset
) -> dict[str, np.ndarray]:
    labels, names = coded(batch, "workload")
    return {
        "step": whole_numbers(path, batch, "step"),
        "workload": np.array([*names, ""], dtype=object)[labels],
        "indices": decoded_indices(path, batch, declaration.space, stored.columns),
        "values": np.stack([numbers(batch, s.name) for s in declaration.metrics], axis=1),
        "feasible": whole_numbers(path, batch, "feasible"),
        "reward": numbers(batch, "reward"),
    }


def _steps(task: RecordedTask, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One entry for each evaluation that has a row for every workload, in the study's order."""
    w = len(task.labels)
    places = {label: place for place, label in enumerate(task.labels)}
    place = np.array([places.get(label, -1) for label in rows["workload"]], dtype=np.int64)
    order = np.lexsort((place, rows["step"]))
    step, place = rows["step"][order], place[order]
    _, first, count = np.unique(step, return_index=True, return_counts=True)
    # After a split by workload some rows of an evaluation lie in other parts.
    whole = first[count == w]
    whole = whole[(place[whole[:, None] + np.arange(w)] == np.arange(w)).all(axis=1)]
    block = whole[:, None] + np.arange(w)
    values = rows["values"][order][block]
    feasible = rows["feasible"][order][block].all(axis=1)
    return {
        "indices": rows["indices"][order][whole],
        "values": np.where(feasible[:, None], task.average(values), np.nan),
        "feasible": feasible,
        "reward": rows["reward"][order][whole],
    }


# ---- writing


def _write(root: Path, name: str, sessions: list[_Session], stored: StoredDataset) -> MinariWritten:
    task = sessions[0].task
    choices = Choices(task.space)
    formulation = make_formulation("whole", "multidiscrete", choices)
    observation = Observation(task, choices, formulation.shows_position)
    tasks = ", ".join(dict.fromkeys(session.task.id for session in sessions))
    return _create(
        root,
        name,
        [session.episode for session in sessions],
        _env_spec([session.recipe for session in sessions]),
        formulation.action_space,
        observation.space,
        ", ".join(dict.fromkeys(s.agent or "none" for s in sessions)),
        f"Evaluations of {tasks}, from the ArchGym dataset {stored.about.name!r} "
        f"({stored.digest[:12]}). An episode is a study, a step a design. An observation is, "
        f"in this order: {', '.join(observation.names)}.",
    )


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


def _env_spec(recipes: Sequence[Mapping[str, Any]]) -> "EnvSpec | None":
    """Return the specification of the environment that gives such episodes.

    Of studies on several tasks it has the arguments that all of them share, and the defaults for
    the rest. None if it cannot be made here, such as without the simulator; Minari makes it.
    """
    from gymnasium.envs.registration import EnvSpec

    chosen = [_arguments(recipe) for recipe in recipes]
    shared = {
        name: value
        for name, value in chosen[0].items()
        if all(each.get(name) == value for each in chosen)
    }
    first = recipes[0]
    spec = EnvSpec(
        environment_id(str(first["simulator"]), int(first["version"])),
        entry_point="archgym.envs.design:DesignEnv",
        kwargs={"task": str(first["simulator"]), **shared},
    )
    try:
        DesignEnv(**spec.kwargs).close()
    except ArchGymError as error:
        logger.warning("The Minari dataset has no `env_spec`: %s", error)
        return None
    return spec


def _arguments(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `gymnasium.make` for a recorded task, as JSON types."""
    return {
        "space": str(recipe["space_name"]),
        "fidelity": str(recipe["fidelity"]),
        "workload": {str(w["source"]): float(w["weight"]) for w in recipe["workloads"]},
        "objective": recorded_objective(recipe),
        **recorded_options(
            str(recipe["simulator"]),
            int(recipe["version"]),
            {str(name): str(value) for name, value in recipe["options"].items()},
        ),
    }


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
