"""The interface of agents: what they know before a search, propose, advise and learn."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final, get_args

import numpy as np

from archgym.analysis.pareto import front
from archgym.checks import check_choice, check_number, check_whole
from archgym.errors import InvalidArgumentError, check_known
from archgym.evaluation.limits import violations
from archgym.evaluation.trials import Evaluate, Trial, Trials
from archgym.runtime.plugins import load, registered
from archgym.spaces.design import Design
from archgym.spaces.parameter import Categorical, Parameter
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    from archgym.files.policy import Policy
    from archgym.tasks.task import Task


@final
@dataclass(frozen=True)
class Within:
    """Limits of the values that a constructor accepts, wider than the searched range."""

    low: float
    high: float


def declared_hyperparameters(constructor: Callable[..., Any]) -> tuple[Parameter, ...]:
    """Return the ranges in a constructor's annotations, in its order, with its defaults.

    Arguments with other annotations declare no range. Annotations as texts declare none if they
    name imports of a type checker.

    Raises:
      InvalidArgumentError: A range has another name than its argument, or a default of its own.
      InvalidSpaceError: A default is not in its range.
    """
    return tuple(
        _with_default(argument, parameter) for argument, parameter in _declarations(constructor)
    )


def checked_hyperparameters(
    constructor: Callable[..., Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return usable values of a constructor's hyperparameters, each as its plain type.

    Args:
      constructor: Constructor whose annotations hold ranges, and `Within` where it accepts more.
      values: Values by name; other names may be among them, and some may be absent.

    Raises:
      InvalidArgumentError: One is outside its limits.
      InvalidDesignError: A value is not in its range, and its type is not plain.
    """
    checked: dict[str, Any] = {}
    for argument, parameter in _declarations(constructor):
        if argument.name in values:
            checked[argument.name] = _checked(argument, parameter, values[argument.name])
    return checked


def _checked(argument: inspect.Parameter, parameter: Parameter, value: Any) -> Any:
    name = argument.name
    if isinstance(parameter, Categorical) and parameter.is_text:
        return check_choice(name, value, [str(choice) for choice in parameter.choices])
    kind, *notes = get_args(argument.annotation)
    if kind not in (int, float):
        parameter.index(value)
        return value
    limits: Any = (parameter.value(0), parameter.value(parameter.size - 1))
    for note in notes:
        if isinstance(note, Within):
            limits = (note.low, note.high)
    check: Any = check_whole if kind is int else check_number
    return check(name, value, *limits)


def _declarations(
    constructor: Callable[..., Any],
) -> Iterator[tuple[inspect.Parameter, Parameter]]:
    try:
        signature = inspect.signature(constructor, eval_str=True)
    except NameError:
        return
    for argument in signature.parameters.values():
        for note in get_args(argument.annotation)[1:]:
            if isinstance(note, Parameter):
                yield argument, note


def _with_default(argument: inspect.Parameter, declared: Any) -> Parameter:
    name = argument.name
    if declared.name != name or declared.default is not None:
        raise InvalidArgumentError(
            f"The range of argument `{name}` must have its name and no default of its own; got "
            f"name {declared.name!r} and default {declared.default!r}. Give the argument the "
            "default."
        )
    if argument.default is inspect.Parameter.empty:
        raise InvalidArgumentError(
            f"Hyperparameter `{name}` must have a default, since agents are made without any "
            "too; got none. Give the argument one."
        )
    completed: Parameter = replace(declared, default=argument.default)
    return completed


@final
@dataclass(frozen=True)
class Prediction:
    """A metric as a model predicts it, with its 90 % interval."""

    value: float
    low: float
    high: float


@final
@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A design with what a model expects of it."""

    design: Design
    is_own: bool
    """True for a design that the user asked about."""
    metrics: Mapping[str, Prediction]
    """By name: metrics of the objective and of the limits, as means over the workloads."""
    limits: Mapping[str, float]
    """Probability of meeting each limit."""
    built: float
    """Probability that the design can be built."""
    better: float
    """Probability that it meets all limits and beats the best design so far."""
    extrapolated: bool
    """True if it is so far from all results that its intervals could not be tried on them."""
    novelty: float
    """Uncertainty of the objective, as a share of the spread of results: near 1 the model knows
    nothing of such designs."""
    known: bool = False
    """True for a design that the study has evaluated: the numbers are its results."""

    def evaluated(self, task: "Task", trial: Trial, values: np.ndarray) -> "Suggestion":
        """Return this with the design's result, whose metrics by workload are (1, n, n_metrics)."""
        is_built = trial.feasible and not trial.failed
        mean = {spec.name: float(x) for spec, x in zip(task.metrics, trial.values, strict=True)}
        metrics = {name: Prediction(*[mean[name]] * 3) for name in self.metrics if is_built}
        missed = {str(limit): violations([limit], values, task.metrics) for limit in task.limits}
        limits = {name: float((found <= 0.0).all()) for name, found in missed.items()}
        known = replace(self, metrics=metrics, limits=limits, known=True, built=float(is_built))
        return replace(known, better=0.0, extrapolated=False, novelty=0.0)


@final
@dataclass(frozen=True, kw_only=True)
class Advice:
    """Designs worth evaluating next, the most promising one first."""

    suggestions: tuple[Suggestion, ...]
    importance: Mapping[str, float]
    """By parameter, the range of the predicted objective when it alone changes from the best
    design, the largest first; in logarithms, so that 0.1 is some 10 %."""
    unseen: Mapping[str, tuple[Any, ...]]
    """Values that no evaluated design has, for parameters of few values."""
    evaluations: int
    """Results that the model learned from."""

    def to_json(self) -> dict[str, Any]:
        """Return the advice as data."""
        return {
            "evaluations": self.evaluations,
            "suggestions": [
                {
                    **{k: v for k, v in vars(each).items() if k not in ("design", "metrics")},
                    "limits": dict(each.limits),
                    "design": dict(each.design),
                    "metrics": {name: asdict(found) for name, found in each.metrics.items()},
                }
                for each in self.suggestions
            ],
            "importance": dict(self.importance),
            "unseen": {name: list(values) for name, values in self.unseen.items()},
        }


# chosen: the best eighth of a study is good enough to begin with, and differs enough.
_BEST_SHARE = 8


@final
@dataclass(frozen=True)
class Prior:
    """Start designs with their results, and records of earlier studies, best first.

    Records may come from other workloads and objectives, so they say which designs are promising
    and not what these are worth. `scores` are normal scores by rank within each earlier study.
    """

    start: Trials | None
    """Results of the start designs, which were evaluated in this study."""
    indices: np.ndarray
    """(n, n_parameters) canonical indices, each design once, by falling score."""
    scores: np.ndarray
    """(n,), larger is better."""
    terms: np.ndarray
    """(n, n_terms), rewards for each term of the objective, each relative to its study."""

    def __len__(self) -> int:
        return len(self.scores)

    def best(self, n: int) -> np.ndarray:
        """Return `n` of the designs with the highest scores, (at most n, n_parameters).

        Ranks are spaced geometrically over the best eighth, since the very best of a study are
        often alike, and another workload may need a different one.
        """
        n = min(n, len(self))
        if n == 0:
            return self.indices[:0]
        last = max(n, len(self) // _BEST_SHARE)
        ranks = np.unique(np.geomspace(1, last, n).astype(np.int64)) - 1
        # Where the first ranks are too close to be spaced, the next best fill the gaps.
        others = np.setdiff1d(np.arange(last), ranks)[: n - len(ranks)]
        return self.indices[np.sort(np.append(ranks, others))]

    def best_fronts(self, n: int) -> np.ndarray:
        """Return `n` designs, front after front of their terms, (at most n, n_parameters)."""
        chosen: list[int] = []
        left = np.arange(len(self))
        while len(chosen) < n and len(left):
            is_best = front(self.terms[left])
            chosen += left[is_best].tolist()
            left = left[~is_best]
        return self.indices[chosen[:n]]


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
      >>> from archgym.tasks.task import Task
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

    def policy(self) -> "Policy | None":
        """Return the trained policy as data that can be saved; None for agents without one."""
        return None

    @classmethod
    def propose(cls, policy: "Policy", task: "Task", n: int, seed: int) -> np.ndarray:
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
            f"Agent {cls.name!r} has no trained policy to propose designs with. Use that of "
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
      >>> from archgym.tasks.task import Task
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
    check_known(f"hyperparameter of agent {kind.name!r}", hyperparameters, known)
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


def agent_names() -> tuple[str, ...]:
    """Return the names of all agents, sorted."""
    return tuple(sorted(registered("archgym.agents")))


def agent_class(name: str) -> type[Agent]:
    """Return the agent with this name, imported now.

    Raises:
      UnknownNameError: The name is unknown; the message lists similar names.
      InvalidArgumentError: Another package registers it, and it cannot be used.
    """
    return load("archgym.agents", "agent", name, Agent)
