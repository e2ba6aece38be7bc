"""What a study is made with besides its task and its agent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from archgym.checks import check_several
from archgym.studies.snapshot import StudyLog


@final
@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Settings of a study, as `Study.create` takes them.

    Attributes:
      seed: Random seed of the agent.
      budget: Evaluations at which it ends; an agent needs one.
      max_asks: Asks, repeats included, at which it ends; 20 for each evaluation by default.
      hyperparameters: Hyperparameters of the agent that are not its defaults.
      start: Designs to evaluate first: designs, whose missing parameters have their defaults,
        "default" for the default design, or studies whose best designs are meant.
      warm_start: Earlier studies whose records the agent may learn from.
      patience: Evaluations without a better design at which it ends.
      stop_at: Limits on metrics; the first design that meets them ends the study.
    """

    seed: int = 0
    budget: int | None = None
    max_asks: int | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    start: tuple[Any, ...] = ()
    warm_start: tuple[Any, ...] = ()
    patience: int | None = None
    stop_at: str | None = None


def designs_of(start: Any) -> tuple[Any, ...]:
    """Return start designs, of which one, or one study, may be given alone.

    Raises:
      InvalidArgumentError: It is neither and no list.
    """
    if isinstance(start, str | Path | StudyLog | Mapping):
        return (start,)
    return check_several("start", start)


def sources_of(warm_start: Any) -> tuple[Any, ...]:
    """Return earlier studies, of which one may be given alone.

    Raises:
      InvalidArgumentError: It is no study and no list.
    """
    if isinstance(warm_start, str | Path | StudyLog):
        return (warm_start,)
    return check_several("warm_start", warm_start)
