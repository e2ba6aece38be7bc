"""Request scheduling and page policy of the memory controller as a domain of policies."""

from collections.abc import Mapping
from typing import Any, Final

from archgym.policies.domain import Domain, Hook
from archgym.simulators.dram.policy_templates import TEMPLATES

__all__ = ["DOMAINS"]

_SCORE = ("bank", "row", "hit", "write", "turn", "age", "time")
_CLOSE = ("bank", "row", "hits", "waiting", "write", "time")
_EVENT = ("bank", "row", "write", "outcome", "time")


def _prepare() -> None:
    from archgym.simulators.dram.policy_run import prepare

    prepare()


def _compile(hooks: Mapping[str, Any]) -> Any:
    from archgym.policies.compilation import entry_points

    return entry_points(hooks, DRAM_SCHEDULING.hooks)


def _simulate(points: Any, storage: Any, case: Mapping[str, Any]) -> dict[str, Any]:
    from archgym.simulators.dram.policy_run import simulate_policy

    return simulate_policy(points, storage, case)


def _open_case(name: str, options: Mapping[str, str]) -> Any:
    from archgym.simulators.dram.policy_replay import open_case

    return open_case(name, options)


def _evaluate(source: Any, case: Any, runner: Any, tuned: Mapping[str, int] | None = None) -> Any:
    from archgym.simulators.dram.policy_replay import evaluate_policy

    return evaluate_policy(source, case, runner, tuned)


def _evaluate_built_in(name: str, case: Any) -> Any:
    from archgym.simulators.dram.policy_replay import evaluate_built_in

    return evaluate_built_in(name, case)


DRAM_SCHEDULING: Final = Domain(
    name="dram-scheduling",
    doc="Order of requests of each DRAM bank, and when its row is closed.",
    hooks={
        "score": Hook(
            _SCORE,
            "Return the value of a waiting request; its bank serves the largest, of equals the "
            "oldest. `hit`: its row is open. `turn`: it turns the data bus. `age`: requests that "
            "arrived after it.",
            has_result=True,
        ),
        "close": Hook(
            _CLOSE,
            "Return 1 to close the row with a request's column command. `hits` and `waiting`: "
            "further requests to the row and to the bank.",
            has_result=True,
        ),
        "on_arrive": Hook(_EVENT, "Called when a request is stored; `outcome` is 0."),
        "on_issue": Hook(
            _EVENT, "Called with a column command; `outcome` is 0 for a row hit, 1, 2 for others."
        ),
    },
    sizes={"bank": "banks of all ranks"},
    values={"BANKS": "banks of all ranks", "BUFFER": "size of the request buffer"},
    templates=TEMPLATES,
    options={
        "device": "memory (default: ddr3-1600)",
        "request_buffer_size": "size of the request buffer, and every other parameter of the "
        "simulator's default space",
    },
    built_in=("fcfs", "frfcfs", "frfcfs-grouped", "open-adaptive", "closed", "closed-adaptive"),
    example={"bank": 8, "BANKS": 8, "BUFFER": 8},
    open_case=_open_case,
    case_input=lambda case: case.arguments,
    evaluate=_evaluate,
    evaluate_built_in=_evaluate_built_in,
    compile=_compile,
    simulate=_simulate,
    prepare=_prepare,
    one_of=("score", "close"),
    loss="mean latency over that of an idle memory with the row open",
)
DOMAINS: Final = (DRAM_SCHEDULING,)
"""Domains of the simulator."""
