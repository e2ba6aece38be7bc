"""First evaluations of `auto` with and without the designs that ship.

    python experiments/first_ten.py [SEEDS [SIMULATOR...]]

The workloads are neither those that the shipped designs were found on nor those of verdict tasks.
Each cell is the median over seeds of the best reward so far; 0 is the default design.
"""

import contextlib
import sys

import numpy as np

import archgym as ag
from archgym.agent.agent import agent_class, make_agent
from archgym.errors import BudgetExhausted
from archgym.evaluation.trials import Trials
from archgym.studies.portfolio import shipped_designs
from archgym.studies.prior import StoredPrior

CASES = (
    ("dram", "default", "strided"),
    ("dram", "default", "sparse-rw"),
    ("dram", "dramsys", "expert-load"),
    ("cluster", "default", "gpt2-xl-1.5b"),
    ("cluster", "parallel", "deepseek-moe-16b"),
    ("translation", "default", "zipf-4gb"),
    ("cpu", "default", "k-mer-count"),
    ("cpu", "memory", "sparse-matrix"),
    ("cpu", "core", "sort"),
    ("accelerator", "default", "resnet-18"),
    ("accelerator", "default", "llama-prefill"),
)
LOOKED_AT = (5, 10, 20, 40)


def curve(task: ag.Task, seed: int, has_portfolio: bool) -> np.ndarray:
    """Return the best reward after each evaluation."""
    designs = shipped_designs(task.simulator.name, task.space) if has_portfolio else ()
    rows = [task.space.indices_of(design) for design in designs]
    start = np.array(rows, dtype=np.int64).reshape(-1, task.space.n_parameters)
    rewards: list[float] = []

    def evaluate(asked: np.ndarray) -> Trials:
        trials = task.trials(asked, task.evaluate(asked), np.zeros(len(asked), dtype=bool))
        rewards.extend(trials.reward.tolist())
        if len(rewards) >= max(LOOKED_AT):
            raise BudgetExhausted("The budget is used up.")
        return trials

    agent = make_agent(agent_class("auto"), task.space, seed, {})
    with contextlib.suppress(BudgetExhausted):
        if len(start):
            agent.take_prior(StoredPrior.none(task).prior(evaluate(start)))
        agent.search(evaluate, task)
    return np.maximum.accumulate(rewards)[: max(LOOKED_AT)]


def main(seeds: int, simulators: list[str]) -> None:
    """Print the table, of all simulators if none is named."""
    heads = " | ".join(f"{n}, without | {n}, with" for n in LOOKED_AT)
    print(f"| workload | {heads} |")
    print("|---" * (1 + 2 * len(LOOKED_AT)) + "|")
    for simulator, space, workload in CASES:
        if simulators and simulator not in simulators:
            continue
        task = ag.Task.make(simulator, workload=workload, space=space)
        found = [
            np.median([curve(task, seed, has) for seed in range(seeds)], axis=0)
            for has in (False, True)
        ]
        cells = " | ".join(f"{each[n - 1]:.4f}" for n in LOOKED_AT for each in found)
        print(f"| {simulator}/{space}, `{workload}` | {cells} |", flush=True)


if __name__ == "__main__":
    main(int((sys.argv[1:2] or ["3"])[0]), sys.argv[2:])
