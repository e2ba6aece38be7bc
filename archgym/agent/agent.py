"""The interface of agents: search methods that propose designs and learn from results."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np

from archgym.agent.advice import Advice
from archgym.agent.hyperparameters import checked_hyperparameters, declared_hyperparameters
from archgym.agent.policy import Policy
from archgym.agent.prior import Prior
from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError, UnknownNameError, unknown_name
from archgym.evaluation.trials import Evaluate, Trials
from archgym.runtime.plugins import load, registered
from archgym.spaces.parameter import Parameter
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from archgym.evaluation.task import Task


class Agent(ABC):
    """A search method, constructed for each run.

    Life cycle:

    1. A study constructs it from a space, a seed and hyperparameters.
    2. `search` runs once. It hands designs to `evaluate` and learns from the trials it gets back.
    3. `evaluate` raises `BudgetExhausted` when the budget is used up. The agent lets it pass.
    4. `policy` returns what was learned, if anything. `propose` makes designs from a policy.

    An agent is a deterministic function of its space, hyperparameters, seed and the results so
    far: that is what lets a study resume by asking it again. It never learns the budget. It takes
    hyperparameters as keyword-only constructor arguments with defaults, whose annotations hold the
    range that a sweep draws from: `Annotated[int, Integer(name="ants", low=1, high=64, doc="…")]`.

    Example:
      >>> from archgym.evaluation.task import Task
      >>> from archgym.testing import ProvingSimulator
      >>> class ListingAgent(Agent):
      ...     name = "listing"
      ...
      ...     def __init__(self, space, *, seed):
      ...         self._space = space
      ...
      ...     def search(self, evaluate, task):
      ...         for designs in self._space.enumerate():
      ...             evaluate(designs)
      >>> task = Task.make(ProvingSimulator("tiny"), "near")
      >>> seen = []
      >>> ListingAgent(task.space, seed=0).search(seen.extend, task)
      >>> len(seen)
      8
    """

    name: ClassVar[str]
    """Registered name: the file's."""
    hyperparameters: ClassVar[tuple[Parameter, ...]] = ()
    """Ranges with defaults: what the constructor's annotations hold, unless a class says others."""
    library: ClassVar[str] = "own"
    """Library that does the work: "own" or a package's name."""
    kind: ClassVar[Literal["single-objective", "multi-objective"]] = "single-objective"
    batch: ClassVar[Literal["sequential", "batch"]] = "sequential"
    """Kind of asking: "batch" agents ask for several designs at once, evaluated in parallel."""
    replayable: bool = True
    """True if the agent proposes the same designs given the same results."""
    is_seeded: ClassVar[bool] = True
    """True if another seed leads to other designs; False for a grid search."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__init__" in vars(cls) and "hyperparameters" not in vars(cls):
            cls.hyperparameters = declared_hyperparameters(cls.__init__) or cls.hyperparameters

    suited_names: ClassVar[tuple[str, ...]] = ()
    """Hyperparameters that `suited` may return."""
    uses_portfolio: ClassVar[bool] = False
    """True if new searches begin with the designs that ship for the space."""
    uses_prior: ClassVar[bool] = False
    """True if it learns from start designs and earlier studies, by `take_prior`."""

    @abstractmethod
    def __init__(self, space: DesignSpace, *, seed: int) -> None:
        """Initialise the agent; implementations add hyperparameters as keywords with defaults."""

    @abstractmethod
    def search(self, evaluate: Evaluate, task: "Task") -> None:
        """Search until `evaluate` raises `BudgetExhausted`, which is let pass.

        Args:
          evaluate: Function that evaluates designs.
          task: Task of the search: its names, units and constants. An agent has nothing
            evaluated but by `evaluate`.
        """

    @classmethod
    def suited(cls, task: "Task", workers: int) -> dict[str, Any]:
        """Return hyperparameters that suit a new search of a task; by default none.

        `archgym.search` and the command use them where the user gives no others.

        Args:
          task: Task to search.
          workers: Number of designs that are evaluated in parallel.
        """
        del task, workers
        return {}

    def take_prior(self, prior: Prior) -> None:  # noqa: B027 - optional
        """Receive earlier results before the search; only agents with `uses_prior` use them.

        Args:
          prior: Results of the start designs, and records of earlier studies.
        """

    def advise(self, task: "Task", known: Trials, k: int, own: np.ndarray) -> Advice:
        """Return designs worth evaluating, with predictions; only agents that model metrics do.

        Args:
          task: Task of the results.
          known: Results so far.
          k: Number of designs to suggest.
          own: (n, n_parameters), designs of the user's to predict as well.

        Raises:
          InvalidArgumentError: The agent gives no advice, or there are too few results.
        """
        raise InvalidArgumentError(
            f"Agent {self.name!r} does not model metrics, so it gives no advice. Use 'few'."
        )

    def policy(self) -> Policy | None:
        """Return the trained policy as data that can be saved; None for agents without one."""
        return None

    @classmethod
    def propose(cls, policy: Policy, task: "Task", n: int, seed: int) -> np.ndarray:
        """Return designs that a trained policy proposes, without further training.

        Args:
          policy: Policy that such an agent has learned.
          task: Its own task, or another over a space of the same layout.
          n: Number of designs, 1 or more.
          seed: Random seed of all designs but the first.

        Returns:
          (n, n_parameters) indices: first the design that the policy thinks best, then draws.

        Raises:
          InvalidArgumentError: Such agents have no policies, or this one does not fit the task.
        """
        raise InvalidArgumentError(
            f"Agent {cls.name!r} learns no policy that makes designs by itself. Use a policy of "
            "another agent, such as ppo."
        )


class AskTellAgent(Agent):
    """An agent that is asked for designs and told their results, in turn.

    `ask` comes first. Each `tell` follows one `ask`, with the trials of its designs in the same
    order. An `ask` without designs ends the search; else it ends with the budget.

    Example:
      >>> class HalvingAgent(AskTellAgent):
      ...     name = "halving"
      ...
      ...     def __init__(self, space, *, seed):
      ...         self._space = space
      ...         self._waiting = [space.default_indices, space.sizes // 2]
      ...         self.rewards = []
      ...
      ...     def ask(self):
      ...         designs, self._waiting = self._waiting, []
      ...         return np.array(designs, dtype=np.int64)
      ...
      ...     def tell(self, trials):
      ...         self.rewards += trials.reward.tolist()
      >>> from archgym.envs import evaluator
      >>> from archgym.evaluation.task import Task
      >>> from archgym.testing import ProvingSimulator
      >>> task = Task.make(ProvingSimulator("mapping"), "near")
      >>> agent = HalvingAgent(task.space, seed=0)
      >>> agent.search(evaluator(task), task)
      >>> agent.rewards[0]
      0.0
    """

    @abstractmethod
    def ask(self) -> np.ndarray:
        """Return the next designs, (k, n_parameters) indices; none if the search is over."""

    @abstractmethod
    def tell(self, trials: Trials) -> None:
        """Take the results of the last ask."""

    @final
    def search(self, evaluate: Evaluate, task: "Task") -> None:
        """Alternate `ask` and `tell` until `ask` returns no designs."""
        while _n_asked(designs := self.ask(), self.name):
            self.tell(evaluate(designs))


def _n_asked(designs: Any, name: str) -> int:
    try:
        return len(designs)
    except TypeError:
        raise InvalidArgumentError(
            f"`ask` of agent {name!r} must return designs, (k, n_parameters) indices; got "
            f"{designs!r}. Return an empty array to end the search."
        ) from None


def idle_workers(kind: type[Agent], hyperparameters: Mapping[str, Any], workers: int) -> str:
    """Return a notice if an agent leaves workers idle, else an empty text."""
    at_once: Any = workers if kind.batch == "batch" else 1
    other = "An agent such as 'genetic'"
    for parameter in kind.hyperparameters:
        if parameter.name == "batch_size":
            at_once = hyperparameters.get("batch_size", parameter.default)
            other = f"A new study with the hyperparameter batch_size={workers}"
    if at_once >= workers:
        return ""
    designs = "one design" if at_once == 1 else f"{at_once} designs"
    return (
        f"Agent {kind.name!r} proposes {designs} at a time, so {workers - at_once} of {workers} "
        f"workers are idle. {other} keeps more of them busy."
    )


def make_agent(
    kind: type[Agent], space: DesignSpace, seed: int, hyperparameters: Mapping[str, Any]
) -> Agent:
    """Return agent with these hyperparameters, defaults for the rest.

    Raises:
      UnknownNameError: The agent has no such hyperparameter.
      InvalidArgumentError: A value or the seed does not fit.
    """
    known = [parameter.name for parameter in kind.hyperparameters]
    for name in hyperparameters:
        if name not in known:
            raise unknown_name(f"hyperparameter of agent {kind.name!r}", name, known)
    seed = check_whole("seed", seed, 0, 2**63 - 1)
    # Those that ship check it themselves: some take more than the range that a sweep draws from.
    if kind.__module__.partition(".")[0] != __package__:
        checked_hyperparameters(kind, hyperparameters)
    make: Any = kind
    try:
        agent: Agent = make(space, seed=seed, **hyperparameters)
    except TypeError as error:
        raise InvalidArgumentError(
            f"Agent {kind.name!r} cannot take {dict(hyperparameters)!r}: {error}."
        ) from None
    return agent


_RETIRED = {
    **dict.fromkeys(("dqn", "recurrent_ppo", "sac"), "'a2c', 'ppo' and 'genetic'"),
    "sms_emoa": "'auto' and 'multi_objective_bayesian'",
    **dict.fromkeys(("smac", "surrogate_genetic"), "'auto' and 'few'"),
}
"""Agents that earlier versions had, and those that find better designs."""


def agent_names() -> tuple[str, ...]:
    """Return the names of all agents, sorted."""
    return tuple(sorted(registered("archgym.agents")))


def agent_class(name: str) -> type[Agent]:
    """Return the agent with this name, imported now.

    Raises:
      UnknownNameError: The name is unknown; the message lists similar names.
      InvalidArgumentError: Another package registers it, and it cannot be used.
    """
    if name in _RETIRED and name not in registered("archgym.agents"):
        raise UnknownNameError(
            f"Agent {name!r} was retired in 0.3.0: {_RETIRED[name]} find better designs. "
            "Use one of them. Its studies can still be read."
        )
    return load("archgym.agents", "agent", name, Agent)
