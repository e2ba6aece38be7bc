"""Portfolio of search methods that shares evaluations by evidence."""

import logging
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Final, final

import numpy as np

from archgym.agent.agent import Agent, Prior, Within
from archgym.agents import _hyperparameters as shared
from archgym.agents.few import FewAgent
from archgym.agents.genetic import GeneticAgent
from archgym.checks import check_choice, check_number, check_whole
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.trials import Evaluate, Trial, Trials, expect
from archgym.spaces.parameter import Categorical, Integer, Ordinal
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from archgym.tasks.task import Task

logger = logging.getLogger(__name__)

# chosen: evidence fades, since methods that are good early may not be good late: half of it is
# gone after some 20 evaluations of the method.
_FADING: Final = 0.97
# chosen: worth of trying a method that had few evaluations.
_CURIOSITY: Final = 0.05
# chosen: a result that is not a new best counts by the share of results that it beats, to this
# power, so that only results near the best count; and at most as this part of a new best.
_RANK_POWER: Final = 8
_RANK_WORTH: Final = 0.3
# chosen: rough time of an ask of `few`, by parameter and in all, and of a child of the crowd; they
# stand for a clock, so that a search can be replayed.
_ASK_S: Final = 0.008
_ASK_S_PER_PARAMETER: Final = 1e-4
_CHILD_S: Final = 1e-4
# chosen: nobody minds some seconds of thinking, however cheap evaluations are: 200 evaluations of
# a system with 175 parameters take 5 s.
_FREE_S: Final = 10.0
# chosen: evaluations below this time [s] are cheap; their searches are long.
_CHEAP_S: Final = 1e-3
# chosen: children of the crowd at once, so that asking costs little.
_CROWD: Final = 64
# chosen: share of evaluations that the island has from the first time that the search is stuck, and
# while it is. `few` and `genetic` search around the best design, so they hardly leave a local
# optimum. Where there is no better one, the island costs them at most half of the evaluations.
_ISLAND_SHARE: Final = 0.25
_STUCK_SHARE: Final = 0.5
# chosen: share of single changes while the search is stuck. Before that, models know better what to
# try: with changes from the 12th or 24th evaluation in vain on, searches were slower.
_POLISH: Final = 0.25
# chosen: results of the island without a best of its own after which it starts again: ten times the
# population of `genetic`, and what stops the opening of `few`.
_RESTARTED_AFTER: Final[dict[type, int]] = {GeneticAgent: 120, FewAgent: 48}
_ISLANDS: Final[dict[str, Any]] = {"genetic": GeneticAgent, "few": FewAgent}


@final
class _Island:
    """A search that learns from its own designs only, and starts again when it is stuck.

    It asks as if it were alone. Designs that the search knows are answered from memory and cost
    nothing, so it has all of its steps at hand without paying for one twice. `few` begins with a
    random design here, since the default design is where the others began.

    Source:
      Cantú-Paz, *A Survey of Parallel Genetic Algorithms*, Calculateurs Parallèles 10, 1998, for
      populations that are kept apart.
    """

    def __init__(self, space: DesignSpace, seed: int, kind: "type[_Member]") -> None:
        self._space = space
        self._seed = seed
        self._kind = kind
        self._search: _Member = kind(space, seed=seed)
        self._task: Task | None = None
        self._known: dict[bytes, Trial] = {}
        self._specs: tuple[MetricSpec, ...] = ()
        self._asked: list[bytes] = []
        self._best = -math.inf
        self._in_vain = 0
        self._n_new = 0

    def begin(self, task: "Task | None") -> None:
        """Take the task whose metrics are modelled."""
        self._task = task
        if isinstance(self._search, FewAgent):
            self._search.begin(task)
            self._search.avoid(self._space.default_indices[None, :])

    def take_prior(self, prior: Prior) -> None:
        """Begin with designs of earlier studies."""
        self._search.take_prior(prior)
        if prior.start is not None:
            self.learn(prior.start)

    def ask(self) -> np.ndarray:
        """Return designs that are not known, (k, n_parameters); none where all are."""
        while True:
            # Without a new design since the last start, another one would find the same again.
            if self._in_vain >= _RESTARTED_AFTER[self._kind] and self._n_new:
                self._restart()
            designs = self._search.ask()
            self._asked = [row.tobytes() for row in self._space.canonical(designs)]
            is_new = np.array([key not in self._known for key in self._asked], dtype=bool)
            if is_new.any() or not len(designs):
                return np.asarray(designs[is_new])
            self._tell()

    def tell(self, trials: Trials) -> None:
        """Take the results of the last ask."""
        self._n_new += len(trials)
        self.learn(trials)
        self._tell()

    def learn(self, trials: Trials) -> None:
        """Remember results of all methods."""
        self._specs = trials.specs
        for trial, design in zip(trials, self._space.canonical(trials.indices), strict=True):
            self._known[design.tobytes()] = trial

    def _tell(self) -> None:
        """Hand the results of all designs of the last ask to the search."""
        trials = _joined([self._known[key] for key in self._asked], self._specs)
        self._search.tell(trials)
        for reward in trials.reward.tolist():
            self._in_vain = 0 if reward > self._best else self._in_vain + 1
            self._best = max(self._best, reward)

    def _restart(self) -> None:
        self._seed += 1
        logger.info(
            "The search apart from the best designs had no new best in %d results; it starts again "
            "with seed %d.",
            self._in_vain,
            self._seed,
        )
        self._search = self._kind(self._space, seed=self._seed)
        self.begin(self._task)
        self._best, self._in_vain, self._n_new = -math.inf, 0, 0


@final
class AutoAgent(Agent):
    """Starts with `few`, then gives evaluations to the method that earned them.

    The first `opening` evaluations belong to `few`: the default design, first designs and moves
    by models. It continues until `patience` evaluations in a row bring no new best: the search is
    stuck. From then on three methods share the evaluations:

    - `few` and `genetic`, which learn from all results, take turns of `turn` evaluations. Each has
      one turn. Later ones go to the method whose results were best of late, with some curiosity
      for the one that had few. A new best is worth 1, another result less by its rank.
    - An island, a search of its own that learns from its own designs only, so it can leave a local
      optimum that the others are stuck in. It has a quarter of the evaluations, and half of them
      while the search is stuck. It starts again when it is stuck itself. New searches have `few`
      there, unless models have to share the time.

    With `polish`, that share of a stuck search's evaluations is for single changes of the best
    design, one of each parameter, the most promising first. New searches have a quarter. Agents do
    not know the budget, so they cannot keep its last evaluations for this.

    With a `batch_size` of q, each design is proposed from the results of all but the q - 1 before
    it, in the order of asking, as `few` does. The island waits for all of its own.

    With `thinking` below 1, models take at most that share of the time, after some seconds that
    are free. Between their asks a crowd evolves: a genetic search of many children at once, which
    learns from all results. Stated times of an evaluation and of an ask are counted, not measured.

    Decisions depend on results alone, never on clocks, so that a search can be replayed. The cost
    of thinking is bounded instead: models learn from a bounded number of results.

    Source:
      Auer et al., *Finite-time Analysis of the Multiarmed Bandit Problem*, Machine Learning 47,
      2002, for the index; Fialho et al., *Analyzing Bandit-based Adaptive Operator Selection
      Mechanisms*, 2010, for credit by rank; Eriksson et al., *Scalable Global Optimization via
      Local Bayesian Optimization*, NeurIPS 2019, for a new start once a local search is stuck.
    """

    name = "auto"
    batch = "batch"
    uses_prior = True
    uses_portfolio = True
    suited_names = ("batch_size", "thinking", "island", "polish")

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        opening: Annotated[
            int,
            Integer(name="opening", low=1, high=400, doc="Evaluations that `few` has at first."),
        ] = 100,
        turn: Annotated[
            int, Integer(name="turn", low=1, high=32, doc="Evaluations in one turn of a method.")
        ] = 4,
        patience: Annotated[
            int,
            Integer(
                name="patience",
                low=1,
                high=400,
                doc="Evaluations without a new best after which the search is stuck.",
            ),
        ] = 48,
        batch_size: shared.InFlight = 1,
        island: Annotated[
            str,
            Categorical(name="island", choices=tuple(_ISLANDS), doc="Method of the island."),
        ] = "genetic",
        thinking: Annotated[
            float,
            Ordinal(
                name="thinking",
                levels=(0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
                doc="Largest share of the time that models take; 1 for any.",
            ),
            Within(0.01, 1.0),
        ] = 1.0,
        polish: Annotated[
            float,
            Ordinal(
                name="polish",
                levels=(0.0, 0.1, 0.25, 0.5),
                doc="Share of evaluations that try single changes of the best design.",
            ),
            Within(0.0, 1.0),
        ] = 0.0,
    ) -> None:
        """Set up the methods."""
        self._thinking = check_number("thinking", thinking, 0.01, 1.0)
        self._crowd = GeneticAgent(space, seed=seed + 3, population=_CROWD, batch_size=_CROWD)
        self._ask_s = _ASK_S + _ASK_S_PER_PARAMETER * space.n_parameters
        self._evaluation_s = 0.0
        self._thought_s = 0.0
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._opening = check_whole("opening", opening, 1)
        self._turn = check_whole("turn", turn, 1)
        self._patience = check_whole("patience", patience, 1)
        self._few = FewAgent(space, seed=seed)
        genetic = GeneticAgent(space, seed=seed + 1, batch_size=1)
        self._members: list[_Member] = [self._few, genetic]
        kind = _ISLANDS[check_choice("island", island, tuple(_ISLANDS))]
        self._island: _Island | None = _Island(space, seed + 2, kind)
        self._is_island_waiting = False
        self._debt = 0.0
        self._polish = check_number("polish", polish, 0.0, 1.0)
        self._changed: set[int] = set()
        self._changes_due = 0.0
        self._in_vain = 0
        self._credit = [0.0] * len(self._members)
        self._weight = [0.0] * len(self._members)
        self._rewards = np.empty(0)
        self._best = -math.inf

    def search(self, evaluate: Evaluate, task: "Task") -> None:
        self._few.begin(task)
        if self._island is not None:
            self._island.begin(task)
        self._evaluation_s = task.simulator.spec.evaluation_s * len(task.workloads)
        asked: deque[_Ask] = deque()
        methods = self._methods()
        while True:
            n = sum(len(designs) for _, designs in asked)
            while n < self._batch_size and (found := self._next(methods)) is not None:
                method, designs = found
                n += len(designs)
                asked.append(found)
                self._announce(method, designs)
                expect(evaluate, designs)
            if not asked:
                return
            method, designs = asked.popleft()
            self._learn(method, evaluate(designs))

    def _next(self, methods: "Iterator[_Method | None]") -> "_Ask | None":
        """Return the next ask; None while all methods wait, or where none has a design."""
        if self._changes_due >= 1.0 and self._few in self._members:
            self._changes_due -= 1.0
            is_few = self._thinker() is self._few
            if is_few and len(designs := self._few.ask_change(self._changed)):
                return None, designs
        while (method := next(methods, None)) is not None:
            if len(designs := method.ask()):
                return method, designs
            self._remove(method)
        return None

    def _methods(self) -> "Iterator[_Method | None]":
        """Yield the method of each next ask; None where it has to wait for results."""
        n = 0
        while self._few in self._members and (n < self._opening or self._in_vain < self._patience):
            yield self._thinker()
            n += 1
        self._debt = 0.0
        while self._members or self._island is not None:
            is_due = self._debt >= 1.0 or not self._members
            if self._island is not None and is_due and not self._is_island_waiting:
                yield self._island
            elif self._members:
                member = self._members[self._best_index()]
                for _ in range(self._turn):
                    if member in self._members:
                        yield self._thinker() if member is self._few else member
            else:
                yield None

    def _thinker(self) -> "_Method":
        """Return `few`, or the crowd where models have had their share of the time."""
        spent = len(self._rewards) * (self._evaluation_s + _CHILD_S)
        allowed = _FREE_S + spent * self._thinking / (1.0 - self._thinking + 1e-12)
        if self._thinking < 1.0 and self._thought_s + self._ask_s > allowed:
            return self._crowd
        self._thought_s += self._ask_s
        return self._few

    def _announce(self, asker: "_Method | None", designs: np.ndarray) -> None:
        """Tell the methods which designs are in flight."""
        self._is_island_waiting |= asker is self._island
        for member in self._bred():
            if isinstance(member, GeneticAgent):
                member.avoid(designs)
            elif member is not asker:
                member.expect(designs)

    @classmethod
    def suited(cls, task: "Task", workers: int) -> dict[str, Any]:
        """Return one design in flight for each worker, or half the time where they are cheap."""
        if task.simulator.spec.evaluation_s * len(task.workloads) < _CHEAP_S:
            return {"thinking": 0.5, "polish": _POLISH}
        return {"island": "few", "polish": _POLISH, **FewAgent.suited(task, workers)}

    def take_prior(self, prior: Prior) -> None:
        for member in self._bred():
            member.take_prior(prior)
        if self._island is not None:
            self._island.take_prior(prior)
        if prior.start is not None:
            self._rewards = np.concatenate([self._rewards, prior.start.reward])
            self._best = max(self._best, float(self._rewards.max()))

    def _remove(self, method: "_Method") -> None:
        """Drop a method that has no more designs."""
        if isinstance(method, _Island):
            self._island = None
        elif method is self._crowd:
            # The crowd has no more designs, so nobody has.
            self._members, self._island = [], None
        else:
            index = self._members.index(method)
            for of_all in (self._members, self._credit, self._weight):
                del of_all[index]

    def _learn(self, asker: "_Method | None", trials: Trials) -> None:
        """Tell all methods, and credit the one that asked."""
        for member in self._bred():
            if member is asker:
                member.tell(trials)
            elif isinstance(member, FewAgent):
                member.take(trials)
            else:
                member.take_prior(_known(trials))
        if self._island is not None and self._island is asker:
            self._island.tell(trials)
            self._is_island_waiting = False
            self._debt -= len(trials)
        elif self._island is not None:
            self._island.learn(trials)
        # The island and the crowd take no turns.
        index = next((n for n, member in enumerate(self._members) if member is asker), -1)
        for reward in trials.reward.tolist():
            is_best = reward > self._best
            self._best = max(self._best, reward)
            self._in_vain = 0 if is_best else self._in_vain + 1
            if is_best:
                self._changed.clear()
                self._changes_due = 0.0
            elif self._in_vain >= self._patience:
                self._changes_due += self._polish
            if index >= 0:
                worth = 1.0 if is_best else self._worth(reward)
                self._credit[index] = _FADING * self._credit[index] + worth
                self._weight[index] = _FADING * self._weight[index] + 1.0
            self._debt += _STUCK_SHARE if self._in_vain >= self._patience else _ISLAND_SHARE
        self._rewards = np.concatenate([self._rewards, trials.reward])

    def _bred(self) -> "list[_Member]":
        """Return the methods that learn from all results."""
        return [*self._members, self._crowd] if self._thinking < 1.0 else self._members

    def _worth(self, reward: float) -> float:
        """Return the worth of a result that is not a new best."""
        share = float((self._rewards < reward).mean())
        return float(_RANK_WORTH * share**_RANK_POWER)

    def _best_index(self) -> int:
        """Return a method without a turn, else that with the largest upper confidence bound."""
        if 0.0 in self._weight:
            return self._weight.index(0.0)
        total = math.log(2.0 + sum(self._weight))
        indices = [
            credit / max(weight, 1.0) + _CURIOSITY * math.sqrt(total / (1.0 + weight))
            for credit, weight in zip(self._credit, self._weight, strict=True)
        ]
        return indices.index(max(indices))


_Member = FewAgent | GeneticAgent
_Method = _Member | _Island
# The method that asks, None for a single change of the best design, and its designs.
_Ask = tuple[_Method | None, np.ndarray]


def _known(trials: Trials) -> Prior:
    """Return a prior of trials that other agents asked for, as results of start designs."""
    nothing = trials.indices[:0]
    return Prior(trials, nothing, np.empty(0), trials.terms[:0])


def _joined(rows: Sequence[Trial], specs: tuple[MetricSpec, ...]) -> Trials:
    """Return trials of these rows."""
    names = [field.name for field in fields(Trial)]
    columns = {name: np.array([getattr(row, name) for row in rows]) for name in names}
    return Trials(**columns, specs=specs)
