"""Decision logic of published agents, reimplemented, and its comparison with the authors' code.

Pythia (MICRO 2021) chooses prefetch offsets, Athena (HPCA 2026) which mechanisms run in an epoch,
and Athena's code holds the Micro-Armed Bandit (MICRO 2023) as a rival. `streams` writes event
streams, which the authors' programs read as well; `experiments/control.md` says how these were
built. `compare` counts equal decisions, `score` runs two of the agents on a task of control.
"""

import argparse
import ctypes
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from archgym.control.policies import ControlPolicy
from archgym.control.tasks import ControlTask, Episode, hindsight, reference, roll, task_of
from archgym.simulators.cpu.kernel.run import PLACES

F = np.float32
_LIBM = ctypes.CDLL("libm.so.6")
for _name in ("logf", "sqrtf"):
    getattr(_LIBM, _name).restype = ctypes.c_float
    getattr(_LIBM, _name).argtypes = [ctypes.c_float]
_WORD = 0xFFFFFFFF


class Minstd:
    """The default random engine of the GNU C++ library, with the two distributions in use."""

    _MODULUS, _RANGE = 2147483647, 2147483645

    def __init__(self, seed: int) -> None:
        self._x = seed % self._MODULUS or 1

    def _next(self) -> int:
        self._x = 16807 * self._x % self._MODULUS
        return self._x - 1

    def bernoulli(self, p: float) -> bool:
        """Return True with probability `p`; two draws fill the 53 bits of a double."""
        low, high = self._next(), self._next()
        return (low + high * float(self._RANGE + 1)) / float((self._RANGE + 1) ** 2) < p

    def below(self, n: int) -> int:
        """Return a whole number below `n`."""
        scaling = self._RANGE // n
        while (drawn := self._next()) >= n * scaling:
            pass
        return drawn // scaling


def _hash(*steps: Callable[[int], int]) -> Callable[[int], int]:
    """Return a hash of 32 bits that takes steps one after the other."""

    def apply(key: int) -> int:
        for step in steps:
            key = step(key) & _WORD
        return key

    return apply


_SHIFT_MULTIPLY = _hash(lambda k: (k ^ 61) ^ (k >> 16), lambda k: k + (k << 3),
    lambda k: k ^ (k >> 4), lambda k: k * 0x27D4EB2D, lambda k: k ^ (k >> 15))  # fmt: skip
# Hashes of Bob Jenkins and Thomas Wang, by the numbers that Athena's and Pythia's code give them.
HASHES = {
    2: _hash(lambda k: k + (k << 12), lambda k: k ^ (k >> 22), lambda k: k + (k << 4),
        lambda k: k ^ (k >> 9), lambda k: k + (k << 10), lambda k: k ^ (k >> 2),
        lambda k: k + (k << 7), lambda k: k ^ (k >> 12)),
    5: _hash(lambda k: k + 0x7ED55D16 + (k << 12), lambda k: (k ^ 0xC761C23C) ^ (k >> 19),
        lambda k: k + 0x165667B1 + (k << 5), lambda k: (k + 0xD3A2646C) ^ (k << 9),
        lambda k: k + 0xFD7046C5 + (k << 3), lambda k: (k ^ 0xB55A4F09) ^ (k >> 16)),
    6: _hash(lambda k: ~k + (k << 15), lambda k: k ^ (k >> 12), lambda k: k + (k << 2),
        lambda k: k ^ (k >> 4), lambda k: k * 2057, lambda k: k ^ (k >> 16)),
    7: _SHIFT_MULTIPLY,
    8: _hash(lambda k: ~k + (k << 21), lambda k: k ^ (k >> 24), lambda k: k + (k << 3) + (k << 8),
        lambda k: k ^ (k >> 14), lambda k: k + (k << 2) + (k << 4), lambda k: k ^ (k >> 28),
        lambda k: k + (k << 31)),
    9: _SHIFT_MULTIPLY,
    10: _hash(lambda k: k - (k << 6), lambda k: k ^ (k >> 17), lambda k: k - (k << 9),
        lambda k: k ^ (k << 4), lambda k: k - (k << 3), lambda k: k ^ (k << 10),
        lambda k: k ^ (k >> 15)),
    11: _hash(lambda k: k + ~(k << 15), lambda k: k ^ (k >> 10), lambda k: k + (k << 3),
        lambda k: k ^ (k >> 6), lambda k: k + ~(k << 11), lambda k: k ^ (k >> 16)),
}  # fmt: skip


class Athena:
    """Tile-coded SARSA over epochs, for one cache's prefetcher and an off-chip predictor.

    Settings are those of the repository's `oogway_dev.ini`; rewards sum relative changes of events.
    """

    def __init__(self, epsilon: float = 0.0, n_actions: int = 4, seed: int = 200) -> None:
        self._hashes = [HASHES[number] for number in (2, 5, 6, 7, 8, 9, 10, 11)]
        self._q = np.zeros((8, 64, n_actions), dtype=F)
        self._epsilon, self._n = float(F(epsilon)), n_actions
        self._random = Minstd(seed)
        self._previous: tuple[list[int], int] | None = None
        self._events: tuple[int, ...] = (0,) * 6

    def reward(self, events: tuple[int, ...]) -> np.float32:
        """Return the reward of an epoch, from its change to the last one.

        Events are cycles, misses of the LLC and their latency, which actions change, and
        mispredictions, loads and misses of the L1D, whose change is taken off.
        """
        before, self._events = self._events, events

        def change(place: int, weight: float) -> np.float32:
            was, now = F(before[place]), F(events[place])
            return (was - now) / was * F(weight) if was > F(0.1) else F(0.0)

        aside = F(0.0)
        for place, weight in ((3, 1.0), (4, 0.6), (5, 0.0)):
            aside += change(place, weight)
        ours = F(0.0)
        for place, weight in ((0, 1.6), (1, 0.0)):
            ours += change(place, weight)
        return ours - aside

    def _tiles(self, state: int) -> list[int]:
        return [each(state) % 64 for each in self._hashes]

    def _best(self, tiles: list[int]) -> int:
        partial = self._q[np.arange(8), tiles].astype(np.float64)
        total = np.zeros(self._n)
        for row in partial:
            total = total + row
        values = total.astype(F)
        near = np.flatnonzero(values.max() - values < F(0.1))
        if len(near) > 1:
            return int(near[self._random.below(len(near))])
        return int(np.argmax(values))

    def act(self, events: tuple[int, ...], seen: tuple[int, ...]) -> int:
        """Return the action of the next epoch."""
        reward = self.reward(events)
        first, second, third, bandwidth, _, _, pollution = seen
        state = (first * 15 // 100 & 15) << 28 | (second * 15 // 100 & 15) << 24
        state |= (third * 15 // 100 & 15) << 20 | (bandwidth * 15 // 100 & 15) << 16
        state |= pollution * 15 // 255 & 15
        tiles = self._tiles(state)
        if self._random.bernoulli(self._epsilon):
            action = self._random.below(self._n)
        else:
            action = self._best(tiles)
        if self._previous is not None:
            old, taken = self._previous
            for plane in range(8):
                mine, following = (
                    self._q[plane, old[plane], taken],
                    self._q[plane, tiles[plane], action],
                )
                step = F(0.4) * (reward + F(0.4) * following - mine)
                self._q[plane, old[plane], taken] = mine + step
        self._previous = (tiles, action)
        return action


class Bandit:
    """The Micro-Armed Bandit as Athena's code has it, where first turns have Athena's reward."""

    def __init__(self, n_actions: int = 4, epoch: int = 10_000, restart: float = 0.001) -> None:
        self._athena = Athena(n_actions=n_actions)
        self._r, self._n = [F(0.0)] * n_actions, [F(1.0)] * n_actions
        self._total, self._turn, self._x = F(0.0), 0, 0
        self._epoch, self._restart = F(epoch), float(F(restart))
        self._previous: int | None = None

    def _uniform(self) -> float:
        """Return what `drand48` does from its state at the start of a program."""
        self._x = (0x5DEECE66D * self._x + 0xB) % 2**48
        return self._x / 2.0**48

    def act(self, events: tuple[int, ...], seen: tuple[int, ...]) -> int:
        """Return the action of the next epoch."""
        reward, n = self._athena.reward(events), len(self._r)
        if self._turn < n:
            action = self._turn
        else:
            if self._uniform() < self._restart:
                self._turn = 0
            log = F(_LIBM.logf(self._total))
            bounds = [
                r + F(0.04) * F(_LIBM.sqrtf(log / count))
                for r, count in zip(self._r, self._n, strict=True)
            ]
            action = int(np.argmax(bounds))
        if self._previous is not None:
            if self._turn < n:
                self._r[self._turn] = reward
            else:
                gamma = F(0.999)
                self._n = [gamma * count for count in self._n]
                self._n[action] += F(1.0)
                self._total = gamma * self._total + F(1.0)
                last, rate = self._previous, self._epoch / F(events[0]) if events[0] else F(1.0)
                share = self._r[last] * (self._n[last] - F(1.0)) + rate
                self._r[last] = share / self._n[last]
        self._previous = action
        self._turn += 1
        return action


_OFFSETS = (1, 3, 4, 5, 10, 11, 12, 22, 23, 30, 32, -1, -3, -6, 0)
_TILINGS = (0xACA081B9, 0x666A1C67, 0xC11D6A53)
_TIMELY, _LATE, _WRONG, _NONE, _OUTSIDE = range(5)
_REWARDS = {False: (20, 12, -8, -4, -12), True: (20, 12, -14, -2, -12)}


class _Page:
    """Memory of Pythia about one page."""

    def __init__(self, offset: int) -> None:
        self.offset, self.delta = offset, 0
        self.sent: set[int] = set()
        self.actions: dict[int, int] = {}

    def degree(self, action: int) -> int:
        """Return the degree of an offset, by how often it was chosen in this page."""
        if action not in self.actions:
            return 1
        times = self.actions[action]
        return next((d for most, d in ((1, 1), (3, 2), (8, 4)) if times <= most), 6)

    def track(self, target: int, action: int) -> None:
        """Remember a prefetch; the two latest offsets are kept."""
        if target in self.sent:
            return
        self.sent.add(target)
        if action in self.actions:
            self.actions[action] = self.actions.pop(action) + 1
            return
        if len(self.actions) >= 2:
            del self.actions[next(iter(self.actions))]
        self.actions[action] = 0


class Pythia:
    """SARSA over tile-coded features: the program counter, and it with the last delta in the page.

    Settings are those of the repository's `pythia.ini`, with actions in `scooby_actions` order.
    Bandwidth of level `high` and above changes rewards; there are four levels.
    """

    def __init__(
        self, high: int = 4, epsilon: float = 0.0018228444309622588, seed: int = 200
    ) -> None:
        self._high = high
        self._alpha, self._gamma = F(0.006508802942367162), F(0.556300959940946)
        start = F(1.0) / (F(1.0) - self._gamma)
        self._q = np.full((2, 3, 128, len(_OFFSETS)), start, dtype=F)
        self._epsilon, self._random = float(F(epsilon)), Minstd(seed)
        self._pages: dict[int, _Page] = {}
        self._tracker: deque[list[Any]] = deque()
        self._last: list[Any] | None = None
        self.bandwidth = self.accuracy = 0

    def _tiles(self, counter: int, delta: int) -> np.ndarray:
        sign = 64 - delta if delta < 0 else delta
        words = (counter, (counter << 7) + sign)
        folded = [(word & _WORD) ^ (word >> 32 & _WORD) for word in words]
        return np.array([[HASHES[2](f ^ t) % 128 for t in _TILINGS] for f in folded])

    def _values(self, tiles: np.ndarray) -> np.ndarray:
        """Return the values of all actions: sums of tilings, of the feature whose sum is larger."""
        found = []
        for feature in range(2):
            total = np.zeros(len(_OFFSETS), dtype=F)
            for tiling in range(3):
                total = total + self._q[feature, tiling, tiles[feature, tiling]]
            found.append(total)
        pooled: np.ndarray = np.maximum(*found)
        return pooled

    def _choose(self, tiles: np.ndarray) -> int:
        if self._random.bernoulli(self._epsilon):
            return self._random.below(len(_OFFSETS))
        values = self._values(tiles)
        is_held = self.bandwidth >= self._high or (self.bandwidth >= 1 and self.accuracy <= 2)
        # Without pressure the first offset is taken where no offset has a value above zero.
        return int(np.argmax(values)) if is_held or values.max() > 0.0 else 0

    def _find(self, address: int) -> list[Any] | None:
        return next((entry for entry in self._tracker if entry[0] == address), None)

    def _reward(self, kind: int) -> int:
        return _REWARDS[self.bandwidth >= self._high][kind]

    def _track(self, address: int, tiles: np.ndarray, action: int, reward: int | None) -> None:
        if len(self._tracker) >= 256:
            entry = self._tracker.popleft()
            if self._last is not None:
                self._learn(self._last, entry)
            self._last = entry
        self._tracker.append([address, tiles, action, reward, False])

    def _learn(self, old: list[Any], new: list[Any]) -> None:
        address, tiles, action, reward, _ = old
        if reward is None:
            reward = self._reward(_NONE if address < 0 else _WRONG)
        for feature in range(2):
            for tiling in range(3):
                mine = self._q[feature, tiling, tiles[feature, tiling], action]
                following = self._q[feature, tiling, new[1][feature, tiling], new[2]]
                step = self._alpha * (F(reward) + self._gamma * following - mine)
                self._q[feature, tiling, tiles[feature, tiling], action] = mine + step

    def fill(self, address: int) -> None:
        """Take note that a prefetched block has arrived."""
        if (entry := self._find(address)) is not None:
            entry[4] = True

    def access(self, counter: int, address: int) -> list[int]:
        """Return the addresses to prefetch after an access."""
        entry = self._find(address)
        if entry is not None and entry[3] is None:
            entry[3] = self._reward(_TIMELY if entry[4] else _LATE)
        number, offset = address >> 12, address >> 6 & 63
        page = self._pages.pop(number, None)
        if page is None:
            if len(self._pages) >= 64:
                del self._pages[next(iter(self._pages))]
            page = _Page(offset)
        else:
            page.delta, page.offset = offset - page.offset, offset
        self._pages[number] = page
        tiles = self._tiles(counter, page.delta)
        action = self._choose(tiles)
        step, target = _OFFSETS[action], offset + _OFFSETS[action]
        degree = page.degree(step)
        if step == 0:
            self._track(-1, tiles, action, None)
            return []
        if not 0 <= target < 64:
            self._track(-1, tiles, action, self._reward(_OUTSIDE))
            return []
        goal = (number << 12) + (target << 6)
        if self._find(goal) is not None:
            return []
        self._track(goal, tiles, action, None)
        page.track(target, step)
        more = (offset + k * step for k in range(2, degree + 1))
        return [goal, *((number << 12) + (each << 6) for each in more if 0 <= each < 64)]


def accesses(program: str, n: int, seed: int) -> Iterator[tuple[str, int, int]]:
    """Yield events of a program's loads: fills some accesses later, bandwidth and accuracy."""
    from archgym.traces.instructions.generators import generate

    rng = np.random.default_rng(seed)
    records = generate(program, 4 * n)
    loads = [(int(r["ip"]), int(a) >> 6 << 6) for r in records for a in r["reads"] if a][:n]
    for number, (counter, address) in enumerate(loads):
        if number % 500 == 0:
            yield "b", 0, int(rng.integers(0, 4))
            yield "c", 0, int(rng.integers(0, 4))
        yield "a", counter, address
        if rng.random() < 0.5:
            # What a prefetcher would ask for: blocks ahead of the access.
            yield "f", 0, address + 64 * int(rng.integers(1, 13))


def epochs(n: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Yield events and states of epochs: counters that wander and jump with phases."""
    rng = np.random.default_rng(seed)
    level = np.array([20_000.0, 120.0, 30_000.0, 80.0, 2500.0, 300.0])
    for number in range(n):
        if number % 40 == 0:
            scale = rng.lognormal(0.0, 0.7, 6)
        events = np.maximum(0, level * scale * rng.lognormal(0.0, 0.1, 6)).astype(int)
        state = rng.integers(0, (101, 101, 101, 101, 50, 60, 256))
        yield (*events.tolist(), *state.tolist())


def streams(options: argparse.Namespace) -> None:
    """Write the streams."""
    options.out.mkdir(parents=True, exist_ok=True)
    for seed, program in enumerate(
        ("hash-join", "sort", "stencil", "pointer-chase-small", "b-tree")
    ):
        with (options.out / f"pythia-{program}").open("w") as file:
            file.writelines(
                " ".join(map(str, each)) + "\n" for each in accesses(program, options.n, seed)
            )
    for seed in range(5):
        with (options.out / f"epochs-{seed}").open("w") as file:
            file.writelines(" ".join(map(str, each)) + "\n" for each in epochs(options.n, seed))


def decisions(path: Path, kind: str) -> Iterator[str]:
    """Yield what a port does, as the authors' programs write it."""
    if kind.startswith("pythia"):
        pythia = Pythia(high=3 if kind == "pythia-high" else 4)
        for line in path.open():
            what, first, second = line.split()
            if what == "a":
                found = pythia.access(int(first), int(second))
                yield "".join(f"{each} " for each in found)
            elif what == "f":
                pythia.fill(int(second))
            elif what == "b":
                pythia.bandwidth = int(second)
            else:
                pythia.accuracy = int(second)
        return
    agent: Athena | Bandit = Bandit() if kind == "bandit" else Athena(0.02 * (kind == "athena-e"))
    for line in path.open():
        numbers = tuple(map(int, line.split()))
        # Off-chip predictor alone, neither, prefetcher alone, both.
        yield ("01", "00", "10", "11")[agent.act(numbers[:6], numbers[6:])]


def compare(options: argparse.Namespace) -> None:
    """Print how many decisions are equal to those of the authors' program."""
    for path in options.streams:
        ours = list(decisions(path, options.kind))
        theirs = Path(f"{path}.out").read_text().split("\n")[:-1]
        equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
        first = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), None)
        kinds = len(set(theirs))
        print(f"{options.kind} {path.name}: {equal} of {len(theirs)} equal, {kinds} different, "
            f"first unequal {first}")  # fmt: skip


class Agent(ControlPolicy):
    """Athena or the bandit on a task of one core, with an action for each of its settings.

    Epochs have the instructions of the task. The place of the off-chip predictor, which our core
    has not, is 0, as is pollution, which is not counted. Bandwidth is a share of the DRAM's.
    """

    def __init__(self, name: str, mega_transfers: float) -> None:
        self.name = name
        # Blocks of 64 bytes in 1,000 cycles of 4 GHz, on a bus of 8 bytes.
        self._most = mega_transfers * 8.0 / 64.0 / 4.0

    def start(self, task: ControlTask, episode: str) -> None:
        """Forget what was learned."""
        n = len(task.actions)
        self._agent = Athena(n_actions=n) if self.name == "athena" else Bandit(n, task.epoch)
        self._counts = np.zeros(4)

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Return the action for the next epoch."""
        if episode.last is None:
            return (reference(episode.task),)
        run: Any = episode.run
        seen = dict(zip((c.name for c in run.counters), episode.last.values[0], strict=True))
        words = run._run.state
        jumps = [PLACES[name] for name in PLACES if name.startswith("mp_")]
        counts = np.array([words[jumps].sum(), words[PLACES["CPU_loads"]], 0, 0])
        missed, loads = (counts - self._counts)[:2].tolist()
        self._counts = counts
        kilo = float(episode.last.work[0]) / 1000.0
        events = (int(episode.last.cost[0]), int(seen["llc_mpki"] * kilo), 0, int(missed),
            int(loads), int(seen["l1d_mpki"] * kilo))  # fmt: skip
        used = min(100, int(100 * seen["dram_reads"] / self._most))
        accuracy = [int(100 * seen[f"{cache}_accuracy"]) for cache in ("l1d", "l2")]
        return (self._agent.act(events, (*accuracy, 0, used, 0, 0, 0)),)


def score(options: argparse.Namespace) -> None:
    """Print the share of cost saved against the best static settings of each episode."""
    task = task_of(options.task)
    names = task.episodes("held-out")[: options.episodes]
    fixed = np.array([hindsight(task, name)[1] for name in names])
    for kind in ("athena", "bandit"):
        policy = Agent(kind, 800.0 if options.task == "cpu-narrow" else 3200.0)
        scores = []
        for name in names:
            policy.start(task, name)
            scores.append(roll(task, name, policy.act).score)
        saved = 100.0 * (1.0 - np.array(scores) / fixed)
        print(kind, task.name, f"saved {saved.mean():.1f} %,", saved.round(1).tolist(), flush=True)


def main() -> None:
    """Write streams, or compare on them."""
    parser = argparse.ArgumentParser(description=__doc__)
    chosen = parser.add_subparsers(required=True)
    write = chosen.add_parser("streams")
    write.add_argument("--out", type=Path, required=True)
    write.add_argument("--n", type=int, default=4000)
    write.set_defaults(run=streams)
    check = chosen.add_parser("compare")
    check.add_argument("kind", choices=("pythia", "pythia-high", "athena", "athena-e", "bandit"))
    check.add_argument("streams", type=Path, nargs="+")
    check.set_defaults(run=compare)
    run = chosen.add_parser("score")
    run.add_argument("--task", choices=("cpu-narrow", "cpu-mixture"), default="cpu-narrow")
    run.add_argument("--episodes", type=int, default=6)
    run.set_defaults(run=score)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
