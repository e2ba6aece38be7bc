"""Designs that a learned policy proposes for unseen workloads, against what needs no policy.

    python experiments/learned_policies.py tables TABLES.npz
    python experiments/learned_policies.py tune TABLES.npz
    python experiments/learned_policies.py run TABLES.npz experiments/data/learned-policies.csv
    python experiments/learned_policies.py page experiments/data/learned-policies.csv

`tables` simulates every design of a small DRAM space on shipped and generated workloads, so that
optima are exact. `tune` compares settings on generated workloads alone, which are never tested on.
`run` appends a row for each method, seed and unseen workload that the file lacks. `page` writes the
tables of experiments/learned-policies.md and the picture.

Unseen workloads are the shipped ones, in two splits: `families` leaves out all workloads of a
family, shipped and generated; `shipped` trains on all generated workloads.
"""

import argparse
import csv
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from contextual_env import Contexts, ContextualDesignEnv
from learned_workloads import FAMILIES, SmallController, Tables, family_of, features
from scipy.stats import wilcoxon

from archgym.analysis.random_search import random_curve
from archgym.evaluation.task import Task
from archgym.simulators.dram.simulator import DramSimulator
from archgym.simulators.dram.workloads.shipped import SHIPPED
from archgym.studies.study import Study

if TYPE_CHECKING:
    from stable_baselines3 import PPO

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "experiments" / "learned-policies.md"
PICTURE = ROOT / "experiments" / "pictures" / "learned-policies.png"
OBJECTIVE = "balanced"
BUDGET = 20
LOOKED_AT = (1, 5, 20)
SEEDS = {
    "policy": 3,
    "continuing": 3,
    "team": 3,
    "team-central": 3,
    "proxy": 3,
    "auto": 3,
    "auto-warm": 3,
}
"""Seeds of methods; others have one."""
SPLITS = ("families", "shipped")
FLOOR = -2.0
"""Least reward that policies and the proxy learn from."""
CONTINUING = {"entropy": 0.01}
"""Settings of the policy that observes results: what `tune` found better for it than defaults."""
COLUMNS = ("split", "method", "seed", "workload", "gaps")
PROXY_ROWS, PROXY_TREES = 40_000, 40
EARLIER_AGENT, EARLIER_SEED, EARLIER = "auto", 900, 60
"""Studies that a warm search learns from."""
# chosen: seed of the bootstrap over workloads.
RESAMPLES, BOOTSTRAP_SEED = 10_000, 0
METHODS = {
    "policy": ("policy, proposals in order", "#D55E00"),
    "continuing": ("policy that observes results", "#CC79A7"),
    "team": ("team, own critics", "#8C510A"),
    "team-central": ("team, central critics", "#DFC27D"),
    "mean": ("best on average", "#0072B2"),
    "portfolio": ("portfolio", "#56B4E9"),
    "nearest": ("nearest workloads' best", "#009E73"),
    "proxy": ("proxy", "#E69F00"),
    "matching": ("matching", "#000000"),
    "auto-warm": ("`auto`, warm", "#888888"),
    "auto": ("`auto`, cold", "#BBBBBB"),
    "random": ("random", "#DDDDDD"),
}
"""Methods with their names on the page and their colours in the picture."""
TEAMS = {"team": False, "team-central": True}
"""Teams, and True for those with central critics."""
POLICIES = ("policy", "continuing", *TEAMS)
SEEN = "policy-seen"
"""Rows with the mean gap of a policy's first designs for the workloads that it learned from."""


class Bench:
    """Tasks on tables, with the reward of every design on every workload.

    `rewards` and `gaps` are (n_workloads, n_designs); a gap is that of the objective's metrics in
    their geometric mean to the workload's best design [%].
    """

    def __init__(self, path: Path) -> None:
        """Read the tables."""
        tables = Tables.read(path)
        simulator = SmallController(tables)
        self.names = tables.workloads
        self.space = simulator.space
        self.designs = self.space.unflat(tables.numbers)
        self.active = self.space.active(self.designs)
        default = self.space.flat(self.space.default_indices[None])
        self.default = int(np.searchsorted(tables.numbers, default)[0])
        self.tasks = [Task.make(simulator, name, OBJECTIVE) for name in self.names]
        self.rewards = np.array([task.evaluate(self.designs).reward for task in self.tasks])
        self.gaps = 100 * np.expm1(self.rewards.max(axis=1, keepdims=True) - self.rewards)
        self.features = features(self.names)
        self._contexts: tuple[list[int], Contexts] | None = None

    def contexts(self, train: list[int]) -> Contexts:
        """Return contexts of training workloads; those of the last call keep their results."""
        if self._contexts is None or self._contexts[0] != train:
            made = Contexts([self.tasks[place] for place in train], self.features[train])
            self._contexts = train, made
        return self._contexts[1]

    def scaled(self, train: list[int]) -> np.ndarray:
        """Return the features of all workloads, scaled over the training workloads."""
        of_train = self.features[train]
        return np.asarray((self.features - of_train.mean(axis=0)) / of_train.std(axis=0))

    def folds(self, split: str) -> Iterator[tuple[list[int], list[int]]]:
        """Yield places of training workloads and of unseen ones."""
        shipped = [place for place, name in enumerate(self.names) if name in SHIPPED]
        if split == "shipped":
            yield [p for p in range(len(self.names)) if p not in shipped], shipped
            return
        family = [family_of(name) for name in self.names]
        for left_out in FAMILIES:
            train = [p for p in range(len(self.names)) if family[p] != left_out]
            yield train, [p for p in shipped if family[p] == left_out]


# ---- methods: each returns the rows of designs in the order in which they are evaluated


def by_mean(bench: Bench, train: list[int]) -> np.ndarray:
    """Return designs by their mean reward over the training workloads."""
    return np.argsort(-np.maximum(bench.rewards[train], FLOOR).mean(axis=0), kind="stable")


def portfolio(bench: Bench, train: list[int]) -> np.ndarray:
    """Return designs of which each adds most to the mean best reward, given those before it."""
    best = np.full((len(train), 1), FLOOR)
    chosen: list[int] = []
    for _ in range(BUDGET):
        gain = np.maximum(bench.rewards[train], best).mean(axis=0)
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
        best = np.maximum(best, bench.rewards[train][:, chosen[-1:]])
    return np.array(chosen)


def nearest(bench: Bench, train: list[int], place: int) -> np.ndarray:
    """Return the best designs of the training workloads, of the most similar one first."""
    scaled = bench.scaled(train)
    order = np.argsort(np.linalg.norm(scaled[train] - scaled[place], axis=1), kind="stable")
    best = [int(bench.rewards[train[n]].argmax()) for n in order]
    distinct = list(dict.fromkeys(best))
    others = [row for row in by_mean(bench, train).tolist() if row not in set(distinct)]
    return np.array([*distinct, *others])[:BUDGET]


def matching(
    bench: Bench, train: list[int], place: int, width: float = 0.3, noise: float = 0.03
) -> np.ndarray:
    """Return designs that are best on training workloads that look and respond alike.

    Each training workload has a weight by the distance of its features, and by how well its rewards
    agree with those measured. The first design has the best weighted mean reward. Each later one
    has the largest weighted mean of its improvement on the best that was measured.

    Args:
      bench: Tasks and rewards.
      train: Places of the training workloads.
      place: Place of the unseen workload.
      width: Standard deviation of the distance, over the root of the number of features.
      noise: Standard deviation of a difference of rewards.
    """
    scaled = bench.scaled(train)
    known = np.maximum(bench.rewards[train], FLOOR)
    far = ((scaled[train] - scaled[place]) ** 2).mean(axis=1)
    weight = np.exp(-(far - far.min()) / (2 * width**2))
    # Rewards are relative to the default design, which is evaluated for this.
    chosen = list(dict.fromkeys([int((weight @ known).argmax()), bench.default]))
    while len(chosen) < BUDGET:
        measured = np.maximum(bench.rewards[place, chosen], FLOOR)
        wrong = ((known[:, chosen] - measured) ** 2).sum(axis=1) / noise**2
        logs = -(far / width**2 + wrong) / 2
        weight = np.exp(logs - logs.max())
        gain = weight @ np.maximum(known - measured.max(), 0.0)
        # A small part of the mean reward decides where no training workload promises a gain.
        gain += 1e-6 * (weight @ known)
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
    return np.array(chosen)


def design_features(bench: Bench) -> np.ndarray:
    """Return designs for the proxy: one 0 or 1 for each value of each parameter."""
    columns = [
        bench.designs[:, place, None] == np.arange(size)
        for place, size in enumerate(bench.space.sizes)
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def proxy(bench: Bench, train: list[int], test: list[int], seed: int) -> dict[int, np.ndarray]:
    """Return designs by the prediction of extra trees, for each unseen workload."""
    from sklearn.ensemble import ExtraTreesRegressor

    rng = np.random.default_rng(seed)
    scaled, designs = bench.scaled(train), design_features(bench)
    places = rng.choice(train, PROXY_ROWS)
    rows = rng.integers(len(designs), size=PROXY_ROWS)
    trees = ExtraTreesRegressor(
        PROXY_TREES, min_samples_leaf=2, max_features=0.5, random_state=seed
    )
    target = np.maximum(bench.rewards[places, rows], FLOOR)
    trees.fit(np.concatenate([scaled[places], designs[rows]], axis=1), target)
    found = {}
    for place in test:
        same = np.tile(scaled[place], (len(designs), 1))
        predicted = trees.predict(np.concatenate([same, designs], axis=1))
        found[place] = np.argsort(-predicted, kind="stable")[:BUDGET]
    return found


def log_probabilities(bench: Bench, model: "PPO", observation: np.ndarray) -> np.ndarray:
    """Return the logarithm of the probability of each design, (n_designs,)."""
    import torch

    with torch.no_grad():
        tensor, _ = model.policy.obs_to_tensor(observation[None])
        made: Any = model.policy.get_distribution(tensor).distribution
        logs = [one.logits[0].numpy() for one in made]
    return joint_logs(bench, logs)


def joint_logs(bench: Bench, logs: Sequence[np.ndarray]) -> np.ndarray:
    """Return the logarithm of the probability of each design from those of parameters' values."""
    # A parameter that is inactive in a design may have any value.
    return np.asarray(
        sum(
            np.where(bench.active[:, place], log[bench.designs[:, place]], 0.0)
            for place, log in enumerate(logs)
        )
    )


def proposals(
    bench: Bench, model: "PPO", unseen: Contexts, number: int, steps: int, observes: bool
) -> np.ndarray:
    """Return designs, the most probable one that is not yet evaluated at a time.

    With `observes`, each is the policy's answer to what was measured before, and the default design
    is evaluated second, since the policy sees metrics relative to it. Without, all are in the order
    of their probability before any evaluation.
    """
    env = ContextualDesignEnv(unseen, steps=steps, floor=FLOOR)
    observation, _ = env.reset(options={"task": number})
    logs = log_probabilities(bench, model, observation)
    if not observes:
        return np.argsort(-logs, kind="stable")[:BUDGET]
    chosen: list[int] = []
    for _ in range(steps):
        logs = log_probabilities(bench, model, observation)
        logs[chosen] = -np.inf
        chosen.append(int(logs.argmax()))
        observation, *_ = env.step(bench.designs[chosen[-1]])
    order = [chosen[0], bench.default, *chosen[1:]]
    return np.array(list(dict.fromkeys(order)))[:BUDGET]


def policies(
    bench: Bench, train: list[int], test: list[int], seed: int, steps: int, **choices: float
) -> dict[int, np.ndarray]:
    """Return the proposals of a policy for each unseen workload."""
    from learned_training import Settings, TableVecEnv, trained

    contexts = bench.contexts(train)
    env = TableVecEnv(contexts, bench.designs, steps, FLOOR, seed)
    env.check(50)
    model = trained(env, seed, Settings(**choices))  # type: ignore[arg-type]  # entropy, discount
    unseen = contexts.others([bench.tasks[place] for place in test], bench.features[test])
    return {
        place: proposals(bench, model, unseen, number, steps, steps > 1)
        for number, place in enumerate(test)
    }


def teams(
    bench: Bench, train: list[int], test: list[int], seed: int, is_central: bool
) -> dict[int, np.ndarray]:
    """Return the proposals of a team for each unseen workload, the most probable design first."""
    from learned_team import TeamSettings, trained_team

    names = bench.space.names
    groups = [
        [names.index(member) for member in members if member in names]
        for members in DramSimulator().groups.values()
    ]
    numbers = bench.space.flat(bench.designs)
    places_of = np.array(train)
    worth = np.maximum(bench.rewards, FLOOR)

    def rewards(places: np.ndarray, designs: np.ndarray) -> np.ndarray:
        rows = np.searchsorted(numbers, bench.space.flat(bench.space.canonical(designs)))
        return np.asarray(worth[places_of[places], rows])

    contexts = bench.contexts(train)
    unseen = contexts.others([bench.tasks[place] for place in test], bench.features[test])
    team = trained_team(
        contexts.features,
        bench.space.sizes,
        groups,
        rewards,
        seed,
        TeamSettings(is_central=is_central),
    )
    found = {}
    for row, place in enumerate(test):
        logs = joint_logs(bench, team.parameter_logs(unseen.features[row]))
        found[place] = np.argsort(-logs, kind="stable")[:BUDGET]
    return found


def searched(bench: Bench, place: int, seed: int, earlier: Sequence[Path]) -> np.ndarray:
    """Return the gap after each evaluation of `auto`, from earlier studies if there are any."""
    with TemporaryDirectory() as name:
        study = Study.create(
            Path(name) / "study",
            bench.tasks[place],
            "auto",
            seed=seed,
            budget=BUDGET,
            start=list(earlier),
            warm_start=list(earlier),
        )
        curve = study.run().log.curve()
    return np.asarray(100 * np.expm1(bench.rewards[place].max() - curve))


# ---- commands


def tune(bench: Bench) -> None:
    """Print mean gaps of settings on families of generated workloads that were left out."""
    made = [place for place, name in enumerate(bench.names) if name not in SHIPPED]
    family = [family_of(name) for name in bench.names]
    folds = [
        ([p for p in made if family[p] != left_out], [p for p in made if family[p] == left_out])
        for left_out in ("irregular", "short-runs")
    ]

    def report(
        label: str, order_of: Callable[[list[int], list[int]], dict[int, np.ndarray]]
    ) -> None:
        begun = time.process_time()
        curves = [
            np.minimum.accumulate(bench.gaps[place, order[:BUDGET]])
            for train, test in folds
            for place, order in order_of(train, test).items()
        ]
        mean = np.mean(curves, axis=0)
        cells = "  ".join(f"{n}: {mean[n - 1]:.2f}" for n in LOOKED_AT)
        print(f"{time.process_time() - begun:5.0f} s  {label:40}  {cells}", flush=True)

    report("mean", lambda train, test: dict.fromkeys(test, by_mean(bench, train)))
    report("portfolio", lambda train, test: dict.fromkeys(test, portfolio(bench, train)))
    report("nearest", lambda train, test: {p: nearest(bench, train, p) for p in test})
    for width in (0.3, 1.0, 3.0):
        for noise in (0.03, 0.1, 0.3):

            def matched(
                train: list[int], test: list[int], width: float = width, noise: float = noise
            ) -> dict[int, np.ndarray]:
                return {p: matching(bench, train, p, width, noise) for p in test}

            report(f"matching {width} {noise}", matched)
    report("proxy", lambda train, test: proxy(bench, train, test, 0))
    choices: list[tuple[int, dict[str, float]]] = [
        (1, {}),
        (1, {"entropy": 0.01}),
        (BUDGET, {"entropy": 0.01}),
        (BUDGET, {"entropy": 0.03, "discount": 0.6}),
    ]
    for steps, values in choices:

        def learned(
            train: list[int], test: list[int], steps: int = steps, values: dict[str, float] = values
        ) -> dict[int, np.ndarray]:
            return policies(bench, train, test, 0, steps, **values)

        report(f"policy {steps} {values}", learned)


def run(bench: Bench, path: Path, only: Sequence[str]) -> None:
    """Append the rows that the file lacks."""
    done = {(row["split"], row["method"], row["seed"], row["workload"]) for row in read(path)}
    with TemporaryDirectory() as name:
        writer = Writer(bench, path, done, Path(name))
        # Seed after seed, so that a run that is stopped has whole ones.
        for seed in range(max(SEEDS.values())):
            for split in SPLITS:
                for train, test in bench.folds(split):
                    for method in only:
                        if seed < SEEDS.get(method, 1):
                            writer.add(split, method, seed, train, test)


class Writer:
    """Rows of methods, appended to a file as they are measured."""

    def __init__(
        self, bench: Bench, path: Path, done: set[tuple[str, str, str, str]], folder: Path
    ) -> None:
        """Take the rows that the file has, and a folder for earlier studies."""
        self._bench, self._path, self._done, self._folder = bench, path, done, folder
        self._cold: dict[tuple[int, int], np.ndarray] = {}

    def add(self, split: str, method: str, seed: int, train: list[int], test: list[int]) -> None:
        """Measure a method on unseen workloads."""
        bench = self._bench
        names = [bench.names[place] for place in test]
        if all((split, method, str(seed), name) in self._done for name in names):
            return
        begun = time.process_time()
        curves = self._curves(method, train, test, seed)
        is_new = not self._path.exists()
        with self._path.open("a", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            if is_new:
                writer.writerow(COLUMNS)
            for place in test:
                gaps = " ".join(f"{gap:.4g}" for gap in curves[place])
                writer.writerow((split, method, seed, bench.names[place], gaps))
            seen = [curves[place][0] for place in train if place in curves]
            if seen:
                name = f"training workloads without {names[0]}"
                writer.writerow((split, SEEN, seed, name, f"{np.mean(seen):.4g}"))
        took = time.process_time() - begun
        mean = np.mean([curves[place] for place in test], axis=0)
        print(
            f"{took:5.0f} s  {split} {method} {seed} {names[0]}...: "
            + "  ".join(f"{n}: {mean[n - 1]:.2f}" for n in LOOKED_AT),
            flush=True,
        )

    def _curves(
        self, method: str, train: list[int], test: list[int], seed: int
    ) -> dict[int, np.ndarray]:
        """Return the gap after each evaluation by unseen workload."""
        bench = self._bench
        if method == "random":
            ahead = np.arange(1, BUDGET + 1)
            return {p: -random_curve(-bench.gaps[p], ahead.tolist()).expected for p in test}
        if method == "auto":
            for place in test:
                # Both splits have the same cold searches.
                if (place, seed) not in self._cold:
                    self._cold[place, seed] = searched(bench, place, seed, ())
            return {place: self._cold[place, seed] for place in test}
        if method == "auto-warm":
            return {p: searched(bench, p, seed, self._earlier(train, p)) for p in test}
        orders = self._orders(method, train, test, seed)
        return {
            p: np.minimum.accumulate(bench.gaps[p, order[:BUDGET]]) for p, order in orders.items()
        }

    def _orders(
        self, method: str, train: list[int], test: list[int], seed: int
    ) -> dict[int, np.ndarray]:
        bench = self._bench
        if method == "policy":
            # Those for the training workloads show what was learned.
            return policies(bench, train, [*test, *train], seed, 1)
        if method == "continuing":
            return policies(bench, train, test, seed, BUDGET, **CONTINUING)
        if method in TEAMS:
            return teams(bench, train, test, seed, TEAMS[method])
        if method == "mean":
            return dict.fromkeys(test, by_mean(bench, train))
        if method == "portfolio":
            return dict.fromkeys(test, portfolio(bench, train))
        if method == "nearest":
            return {place: nearest(bench, train, place) for place in test}
        if method == "proxy":
            return proxy(bench, train, test, seed)
        return {place: matching(bench, train, place) for place in test}

    def _earlier(self, train: list[int], place: int) -> list[Path]:
        """Return studies of the two most similar training workloads, and make missing ones."""
        scaled = self._bench.scaled(train)
        order = np.argsort(np.linalg.norm(scaled[train] - scaled[place], axis=1), kind="stable")
        folders = []
        for number in order[:2]:
            source = train[int(number)]
            folder = self._folder / str(source)
            if not folder.exists():
                task = self._bench.tasks[source]
                Study.create(folder, task, EARLIER_AGENT, seed=EARLIER_SEED, budget=EARLIER).run()
            folders.append(folder)
        return folders


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file, none if there is no file."""
    if not path.exists():
        return []
    with path.open() as handle:
        return list(csv.DictReader(handle))


# ---- page


@dataclass(frozen=True)
class Measured:
    """Gaps of a split, of each method: (n_seeds, n_workloads, BUDGET) [%].

    `seen` has the mean gaps of policies' first designs for the workloads that they learned from.
    """

    workloads: tuple[str, ...]
    runs: dict[str, np.ndarray]
    seen: list[float]

    @classmethod
    def of(
        cls, rows: list[dict[str, str]], split: str, names: tuple[str, ...] = tuple(SHIPPED)
    ) -> "Measured":
        """Return the rows of a split; seeds that lack a workload are left out."""
        found: dict[str, dict[str, dict[str, np.ndarray]]] = defaultdict(lambda: defaultdict(dict))
        seen = []
        for row in rows:
            if row["split"] != split:
                continue
            curve = np.array([float(gap) for gap in row["gaps"].split()])
            if row["method"] == SEEN:
                seen.append(float(curve[0]))
            else:
                found[row["method"]][row["seed"]][row["workload"]] = curve
        runs = {}
        for method in METHODS:
            of_seeds = [f for f in found[method].values() if len(f) == len(names)]
            if of_seeds:
                runs[method] = np.array([[curves[name] for name in names] for curves in of_seeds])
        return cls(names, runs, seen)

    @property
    def gaps(self) -> dict[str, np.ndarray]:
        """Means over seeds, (n_workloads, BUDGET)."""
        return {method: runs.mean(axis=0) for method, runs in self.runs.items()}

    def interval(self, method: str, n: int) -> tuple[float, float, float]:
        """Return the mean gap after `n` evaluations, and the ends of its 95 % interval."""
        values = self.gaps[method][:, n - 1]
        rng = np.random.default_rng(BOOTSTRAP_SEED)
        means = rng.choice(values, (RESAMPLES, len(values))).mean(axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        return float(values.mean()), float(low), float(high)

    def p_values(self, method: str, n: int) -> dict[str, float]:
        """Return the p-values of differences to the other methods, corrected for their number.

        The test is Wilcoxon's signed ranks over workloads, the correction is Holm's.
        """
        own = self.gaps[method][:, n - 1]
        # Teams are compared with the single policy as well.
        also = ("policy",) if method in TEAMS else ()
        others = [name for name in self.gaps if name not in POLICIES or name in also]
        raw = []
        for name in others:
            differs = own - self.gaps[name][:, n - 1]
            raw.append(float(wilcoxon(differs).pvalue) if np.any(differs) else 1.0)
        found, least = {}, 0.0
        for rank, place in enumerate(np.argsort(raw, kind="stable").tolist()):
            least = max(least, min(1.0, raw[place] * (len(raw) - rank)))
            found[others[place]] = least
        return found


def gap_table(measured: Measured) -> str:
    """Return the mean gaps of methods as a table."""
    heads = ["0 or 1 evaluations", *(f"{n}" for n in LOOKED_AT[1:])]
    lines = [
        f"| method | seeds | {' | '.join(heads)} | within 1 % after 1 | after 5 | after 20 |",
        "|---" * (2 * len(LOOKED_AT) + 2) + "|",
    ]
    for method, runs in measured.runs.items():
        cells = [
            "{:.2f} ({:.2f} to {:.2f})".format(*measured.interval(method, n)) for n in LOOKED_AT
        ]
        cells += [f"{100 * (runs[:, :, n - 1] <= 1.0).mean():.0f} %" for n in LOOKED_AT]
        lines.append(f"| {METHODS[method][0]} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts(measured: Measured) -> str:
    """Return the comparison of each policy with the other methods, as a table."""
    lines = [
        "| policy | evaluations | better than | worse than | no proven difference from |",
        "|---|---|---|---|---|",
    ]
    for policy in POLICIES:
        if policy not in measured.gaps:
            continue
        for n in LOOKED_AT:
            groups: dict[str, list[str]] = {"better": [], "worse": [], "same": []}
            for method, p_value in measured.p_values(policy, n).items():
                differs = measured.gaps[policy][:, n - 1] - measured.gaps[method][:, n - 1]
                kind = "same" if p_value > 0.05 else "better" if differs.mean() < 0 else "worse"
                shown = f"p {p_value:.3f}" if p_value >= 0.001 else "p < 0.001"
                groups[kind].append(f"{METHODS[method][0]} ({differs.mean():+.2f}, {shown})")
            cells = " | ".join("; ".join(group) or "none" for group in groups.values())
            label = "0 or 1" if n == 1 else str(n)
            lines.append(f"| {METHODS[policy][0]} | {label} | {cells} |")
    return "\n".join(lines)


def seen_text(measured: Measured) -> str:
    """Return a sentence about the workloads that the policy learned from."""
    mean = np.mean(measured.seen)
    return (
        f"The policy's first designs for workloads that it learned from have a gap of {mean:.1f} %."
    )


def workload_table(measured: Measured) -> str:
    """Return the gap of the first proposals by workload, as a table."""
    methods = [m for m in ("policy", "mean", "nearest", "proxy", "matching") if m in measured.gaps]
    lines = [
        f"| workload | {' | '.join(METHODS[method][0] for method in methods)} |",
        "|---" * (len(methods) + 1) + "|",
    ]
    for place, name in enumerate(measured.workloads):
        cells = " | ".join(f"{measured.gaps[method][place, 0]:.1f}" for method in methods)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def draw(by_split: dict[str, Measured]) -> None:
    """Draw mean gaps over evaluations."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    titles = {
        "families": "family of the workload never seen",
        "shipped": "generated workloads of its family seen",
    }
    figure, axes = plt.subplots(1, len(by_split), figsize=(12, 4.8), sharey=True, squeeze=False)
    ahead = np.arange(1, BUDGET + 1)
    for axis, (split, measured) in zip(axes[0], by_split.items(), strict=True):
        for method, gaps in measured.gaps.items():
            label, colour = METHODS[method]
            is_policy = method in POLICIES
            axis.plot(
                ahead,
                gaps.mean(axis=0),
                color=colour,
                label=label.replace("`", ""),
                linewidth=2.4 if is_policy else 1.4,
                linestyle="-" if is_policy else "--" if method.startswith("auto") else "-",
            )
        axis.set_yscale("log")
        axis.set_title(titles[split])
        axis.set_xlabel("evaluations of the unseen workload")
        axis.set_xticks([1, 5, 10, 15, 20])
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("mean gap to the optimum [%]")
    axes[0][-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=90)


def page(path: Path) -> None:
    """Write the tables into the page, and the picture."""
    rows = read(path)
    by_split = {split: Measured.of(rows, split) for split in SPLITS}
    text = PAGE.read_text()
    for split, measured in by_split.items():
        tables = {
            "gaps": gap_table(measured),
            "verdicts": verdicts(measured),
            "workloads": workload_table(measured),
            "seen": seen_text(measured),
        }
        for name, table in tables.items():
            start, end = f"<!-- {split} {name}: begin -->", f"<!-- {split} {name}: end -->"
            before, found, rest = text.partition(start)
            if found:
                text = f"{before}{start}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(text)
    draw(by_split)


def main() -> None:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("tables", "tune", "run"):
        verbs.add_parser(verb).add_argument("tables", type=Path, help="File of the tables.")
    verbs.choices["run"].add_argument("file", type=Path, help="File of the results.")
    verbs.choices["run"].add_argument("--methods", default=",".join(METHODS))
    verbs.add_parser("page").add_argument("file", type=Path, help="File of the results.")
    given = parser.parse_args()
    if given.verb == "tables":
        Tables.measure(given.tables)
    elif given.verb == "tune":
        tune(Bench(given.tables))
    elif given.verb == "run":
        run(Bench(given.tables), given.file, given.methods.split(","))
    else:
        page(given.file)


if __name__ == "__main__":
    main()
