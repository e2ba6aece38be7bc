"""Search for tens of evaluations: models of metrics and limits, in a trust region."""

from collections import deque
from typing import TYPE_CHECKING, Annotated, Any, Final, final

import numpy as np

from archgym.agent.agent import Advice, Agent, Prior
from archgym.agent.neighbours import step_designs
from archgym.agent.seen import AskedDesigns
from archgym.agents import _hyperparameters as shared
from archgym.agents._advice import advice
from archgym.agents._task_model import DesignFeatures, History, TaskModel
from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.evaluation.trials import Evaluate, Trials, expect
from archgym.runtime.importing import one_thread
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace, design_keys

if TYPE_CHECKING:
    from archgym.tasks.task import Task

# chosen: mean number of parameters that change from the best design, at first and at least; what a
# success and a failure multiply it by, so that five failures undo two successes.
_FIRST_REACH: Final = 4.0
_LEAST_REACH: Final = 1.0
_GROWTH: Final = 1.5
_DECAY: Final = 0.85
# chosen: steps of a tenth of an ordered parameter's values in the mean.
_STEP: Final = 0.15
# chosen: designs that others are drawn around.
_CENTRES: Final = 5
_TOP: Final = 6
_ROUNDS: Final = 4
# chosen: asks in vain, one after another, after which every fourth looks only at random designs, of
# which the models may know too little; without a design that meets all limits, every other ask is
# random, since models of what is missed by far mislead.
_IN_VAIN: Final = 6
_GLOBAL_EVERY: Final = 4
# chosen: results before the first model, where more designs than that are proposed without them.
_LEAST_KNOWN: Final = 4
# chosen: an evaluation shorter than an ask gains nothing from a second worker.
_SLOW_S: Final = 0.005
# chosen: with more designs in flight than these, most are proposed without any result.
_MOST_SUITED: Final = 64
# chosen: share of parameters that change in first designs drawn around the best one.
_START_SHARE: Final = 0.3


@final
class FewAgent(Agent):
    """Models every metric that the task needs, and asks where improvement is likely.

    It begins with the default design, then with designs around the best one and anywhere in the
    space, in turn. From then on each term of the objective, each limit and the chance of being
    built has a Gaussian process. Each ask is the design of the largest expected improvement times
    the probability of meeting all limits, among a pool: all moves of one parameter of the best
    design, moves of several within a trust region, crossings of good designs, and random ones.
    The trust region counts parameters: it grows with success and shrinks with failure.

    It learns from metrics of designs that miss a limit, which their rewards hide.

    With a `batch_size` of q, each design is proposed from the results of all but the q - 1 before
    it, in the order of asking. The processes take those as they predict them, so that designs in
    flight differ. What is proposed does not depend on which evaluation ends first.

    With a cheaper fidelity, the fidelity is one more parameter of the processes. Designs are asked
    at the cheaper one by what they promise at the task's own, and the most promising of them are
    promoted.

    Source:
      Wan et al., *Think Global and Act Local: Bayesian Optimisation over High-Dimensional
      Categorical and Mixed Search Spaces*, ICML 2021, for trust regions that count parameters;
      Gardner et al., *Bayesian Optimization with Inequality Constraints*, ICML 2014;
      Swersky et al., *Multi-Task Bayesian Optimization*, NeurIPS 2013, for two fidelities;
      Ginsbourger et al., *Kriging Is Well-Suited to Parallelize Optimization*, 2010, for designs
      in flight that are believed to be as predicted.
    """

    name = "few"
    batch = "batch"
    uses_prior = True
    uses_portfolio = True
    suited_names = ("batch_size",)

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        startup: Annotated[
            int,
            Integer(name="startup", low=2, high=40, doc="Designs before the first model."),
        ] = 8,
        pool: Annotated[
            int,
            Integer(
                name="pool", low=50, high=1000, step=50, doc="Designs looked at before each ask."
            ),
        ] = 400,
        batch_size: shared.InFlight = 1,
    ) -> None:
        """Set up a search from the default design."""
        self._batch_size = check_whole("batch_size", batch_size, 1)
        self._startup = check_whole("startup", startup, 1)
        self._n_pool = check_whole("pool", pool, 16)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = AskedDesigns(space)
        self._history = History(space.n_parameters)
        self._in_flight: dict[bytes, np.ndarray] = {}
        self._before_best: set[bytes] = set()
        self._features = DesignFeatures(space)
        self._model = TaskModel(self._features, None)
        self._reach = min(_FIRST_REACH, float(max(space.n_parameters, 1)))
        self._best = -np.inf
        self._in_vain = 0

    @classmethod
    def suited(cls, task: "Task", workers: int) -> dict[str, Any]:
        """Return one design in flight for each worker, where an evaluation takes long."""
        is_slow = task.simulator.spec.evaluation_s * len(task.workloads) >= _SLOW_S
        return {"batch_size": min(workers, _MOST_SUITED)} if is_slow and workers > 1 else {}

    def search(self, evaluate: Evaluate, task: "Task") -> None:
        self.begin(task)
        asked: deque[np.ndarray] = deque()
        while True:
            while len(asked) < self._batch_size and len(designs := self.ask()):
                asked.append(designs)
                expect(evaluate, designs)
            if not asked:
                return
            self.tell(evaluate(asked.popleft()))

    def begin(self, task: "Task | None") -> None:
        """Take the task whose metrics are modelled; without it rewards are."""
        self._model = TaskModel(self._features, task)

    def avoid(self, designs: np.ndarray) -> None:
        """Take designs that are not to be asked for."""
        self._asked.add(designs)

    def take_prior(self, prior: Prior) -> None:
        self._asked.take_prior(prior, prior.best(self._startup // 2))
        if prior.start is not None:
            self._learn(prior.start)

    @one_thread
    def ask(self) -> np.ndarray:
        """Return the next design, (1, n_parameters); none where all are known."""
        design = self._next()
        self.expect(design)
        return design

    def expect(self, designs: np.ndarray) -> None:
        """Take designs that are in flight."""
        self._asked.add(designs)
        for design in self._space.canonical(designs):
            self._in_flight[design.tobytes()] = design

    def tell(self, trials: Trials, is_cheaper: bool = False) -> None:
        """Take the results of an ask."""
        best = self._best
        self._learn(trials, is_cheaper)
        if len(self._history) <= self._startup:
            return
        if self._best > best:
            # These were proposed without it: their failures say nothing of where it leads.
            self._before_best = set(self._in_flight)
        elif self._before_best.issuperset(design_keys(self._space.canonical(trials.indices))):
            return
        self._in_vain = 0 if self._best > best else self._in_vain + 1
        factor = _GROWTH if self._best > best else _DECAY
        most = max(_LEAST_REACH, 0.5 * self._space.n_parameters)
        self._reach = float(np.clip(self._reach * factor, _LEAST_REACH, most))

    @one_thread
    def ask_change(self, tried: set[int]) -> np.ndarray:
        """Return the best design with one parameter changed, the most promising such change.

        Args:
          tried: Numbers of parameters not to change, to which the one changed is added.

        Returns:
          (1, n_parameters) canonical indices; none where all changes are known.
        """
        history = self._history
        best = history.designs[history.order()[0]]
        moves = self._moves(best)
        changed = (moves != best).argmax(axis=1)
        is_open = self._asked.new(moves) & ~np.isin(changed, list(tried))
        if not is_open.any() or not history.is_built.any():
            return moves[:0]
        moves, changed = moves[is_open], changed[is_open]
        self._model.fit(history, list(self._in_flight.values()))
        row = int(np.argmax(self._model.promise(moves)))
        tried.add(int(changed[row]))
        return np.asarray(moves[[row]])

    def take(self, trials: Trials) -> None:
        """Learn from results of designs that other agents proposed."""
        self._asked.add(trials.indices)
        self._learn(trials)

    @one_thread
    def advise(self, task: "Task", known: Trials, k: int, own: np.ndarray) -> Advice:
        """Return the designs that would be in flight, and the user's own, with predictions."""
        if known.feasible.sum() < _LEAST_KNOWN:
            raise InvalidArgumentError(
                f"Advice needs {_LEAST_KNOWN} or more results of designs that can be built; got "
                f"{int(known.feasible.sum())}. Evaluate some random designs first."
            )
        self.begin(task)
        for designs in (known.indices, own):
            self._asked.add(designs)
        self._learn(known)
        found = [self._space.canonical(own), *(self.ask() for _ in range(k))]
        is_own = np.arange(sum(map(len, found))) < len(own)
        model = TaskModel(self._features, task)
        return advice(task, self._history, np.concatenate(found), is_own, model)

    def ask_cheaper(self) -> np.ndarray:
        return self.ask()

    def tell_cheaper(self, trials: Trials) -> None:
        self.tell(trials, is_cheaper=True)

    @one_thread
    def promote(self) -> np.ndarray:
        history = self._history
        waiting = self._waiting()
        if not len(waiting):
            return self.ask()
        if not history.has_both or not history.is_built.any():
            return waiting[:1]
        self._model.fit(history)
        return waiting[[int(np.argmax(self._model.promise(waiting)))]]

    def _waiting(self) -> np.ndarray:
        """Return the designs with a cheaper result only, best result first."""
        history = self._history
        order = history.order()
        own = {row.tobytes() for row in history.designs[~history.is_cheaper]}
        is_waiting = [row.tobytes() not in own for row in history.designs[order]]
        return np.asarray(history.designs[order[is_waiting]])

    def _learn(self, trials: Trials, is_cheaper: bool = False) -> None:
        designs = self._space.canonical(trials.indices)
        self._history.add(designs, trials, is_cheaper)
        for design in designs:
            self._in_flight.pop(design.tobytes(), None)
        self._best = max(self._best, float(trials.reward.max(initial=-np.inf)))

    def _next(self) -> np.ndarray:
        history = self._history
        n = len(history) + len(self._in_flight)
        if not n:
            default = self._space.canonical(self._space.default_indices[None, :])
            if self._asked.new(default)[0]:
                return default
        is_early = n < self._startup or len(history) < min(self._startup, _LEAST_KNOWN)
        is_early |= not history.is_built.any()
        if is_early or not len(self._features.groups):
            return self._first()
        if self._best <= LIMITED_REWARD and n % 2:
            return self._asked.draw(1, self._rng)
        self._model.fit(history, list(self._in_flight.values()))
        is_global = self._in_vain >= _IN_VAIN and self._in_vain % _GLOBAL_EVERY == 0
        pool = self._space.sample(self._n_pool // 2, self._rng) if is_global else self._pool()
        here: set[bytes] = set()
        pool = pool[self._asked.new_canonical(pool, here)]
        if not len(pool):
            return self._asked.draw(1, self._rng)
        promise = self._model.promise(pool)
        for _ in range(0 if is_global else _ROUNDS):
            top = pool[np.argsort(-promise, kind="stable")[:_TOP]]
            more = self._near(top, 1.5, self._n_pool // 8)
            more = more[self._asked.new_canonical(more, here)]
            if len(more):
                pool = np.concatenate([pool, more])
                promise = np.concatenate([promise, self._model.promise(more)])
        return np.asarray(pool[[int(np.argmax(promise))]])

    def _first(self) -> np.ndarray:
        """Return an initial design: of an earlier study, else near the best or random, in turn."""
        history = self._history
        # Earlier studies come first: models and moves near the best then start from their designs.
        n = len(history) + len(self._in_flight)
        is_near = n % 2 == 1 and not self._asked.has_preferred
        # Without results, the first design in flight is the default one.
        best = np.array(list(self._in_flight.values())[:1])
        if history.is_built.any():
            best = history.designs[history.order()[:1]]
        if is_near and len(best):
            rate = max(2.0, _START_SHARE * self._space.n_parameters)
            near = self._near(best, rate, 16)
            near = near[self._asked.new(near)]
            if len(near):
                return np.asarray(near[:1])
        return self._asked.draw(1, self._rng)

    def _pool(self) -> np.ndarray:
        """Return designs to choose from, some of which may be known."""
        n = self._n_pool
        good = self._good()
        moves = self._moves(good[0])
        if len(moves) > n // 3:
            moves = moves[self._rng.permutation(len(moves))[: n // 3]]
        return np.concatenate(
            [
                moves,
                self._near(good[:1], self._reach, n // 4),
                self._near(good, self._reach, n // 8),
                self._crossed(good, n // 16),
                self._space.sample(n // 8, self._rng),
            ]
        )

    def _good(self) -> np.ndarray:
        """Return the designs to draw others around, the best one first."""
        history = self._history
        if not history.has_both:
            return np.asarray(history.designs[history.order()[:_CENTRES]])
        order = history.order()
        own = history.designs[order[~history.is_cheaper[order]]][: _CENTRES // 2]
        waiting = self._waiting()
        if len(waiting):
            promise = self._model.promise(waiting)
            waiting = waiting[np.argsort(-promise, kind="stable")[: _CENTRES - len(own)]]
        return np.concatenate([own, waiting])

    def _moves(self, design: np.ndarray) -> np.ndarray:
        """Return designs that differ from one in a single parameter, up to eight values each."""
        active = self._space.active(design[None, :])[0]
        moves = []
        for place in np.flatnonzero(active & (self._space.sizes > 1)).tolist():
            size = int(self._space.sizes[place])
            values = range(size) if size <= 9 else self._rng.integers(size, size=8).tolist()
            moves += [(place, value) for value in values if value != design[place]]
        if not moves:
            return design[None, :]
        found = np.tile(design, (len(moves), 1))
        found[np.arange(len(moves)), [place for place, _ in moves]] = [value for _, value in moves]
        return self._space.canonical(found)

    def _near(self, centres: np.ndarray, rate: float, n: int) -> np.ndarray:
        """Return `n` canonical designs around some."""
        chosen = centres[self._rng.integers(len(centres), size=n)]
        return self._space.canonical(step_designs(self._space, chosen, rate, _STEP, self._rng))

    def _crossed(self, good: np.ndarray, n: int) -> np.ndarray:
        """Return `n` canonical designs that take each parameter from either of two good ones."""
        pairs = self._rng.integers(len(good), size=(2, n))
        mask = self._rng.random((n, self._space.n_parameters)) < 0.5
        return self._space.canonical(np.where(mask, good[pairs[0]], good[pairs[1]]))
