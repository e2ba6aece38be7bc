"""Policies on programs that they never saw: each family of programs is left out in turn."""

from collections.abc import Iterator, Sequence

from archgym.checks import check_whole
from archgym.control.comparison import ControlComparison, compare_policies
from archgym.control.declaration import control_of
from archgym.control.imitation import guarded, imitate
from archgym.control.policies import ControlPolicy, policy_of
from archgym.control.tasks import task_of
from archgym.errors import InvalidArgumentError, unknown_name

_ALWAYS = ("dueling", "best-static", "hand", "feedback", "ducb")


def left_out(
    task: str,
    *,
    families: Sequence[str] = (),
    n_episodes: int = 3,
    horizons: Sequence[int] | None = None,
    trains: bool = True,
    seed: int = 0,
    rounds: int = 2,
    episodes: int = 8,
    exact: bool = True,
) -> Iterator[tuple[str, ControlComparison]]:
    """Yield a comparison on each family of programs, for which all others are trained on.

    Args:
      task: Name of the task, with options but for programs.
      families: Families to leave out; empty for each one.
      n_episodes: Episodes of a family.
      horizons: Work that look-ahead sees; see `compare_policies`.
      trains: True to train a network, and to compare it without and with a guard that duels.
      seed, rounds, episodes, exact: Training; see `imitate`. It looks as far as `horizons` do.

    Raises:
      InvalidArgumentError: The task's simulator declares fewer than two families.
      UnknownNameError: There is no such family.
    """
    control = control_of(task)
    known = {} if control is None else control.families
    if control is None or len(known) < 2:
        raise InvalidArgumentError(f"Task {task!r} must have two families or more of programs.")
    for family in families:
        if family not in known:
            raise unknown_name("family of programs", family, known)
    for family in families or known:
        others = "+".join(programs for name, programs in known.items() if name != family)
        made = task_of(control.naming(task, known[family], others))
        policies: list[ControlPolicy] = [policy_of(name, made) for name in _ALWAYS]
        if trains:
            check_whole("episodes", episodes, 1)
            horizon = max(1, round((made.horizons or (made.epoch,))[0] / made.epoch))
            network = imitate(
                made, seed=seed, rounds=rounds, episodes=episodes, horizon=horizon, exact=exact
            )
            own = guarded(network, made)
            own.name = "network-guarded"
            network.name = "network"
            policies += [network, own]
        yield (
            family,
            compare_policies(
                made, policies, splits=("programs",), n_episodes=n_episodes, horizons=horizons
            ),
        )
