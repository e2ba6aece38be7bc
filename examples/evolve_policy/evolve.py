"""Evolution of an expert-cache policy by mutation of its constants and operators.

No language model takes part. Every candidate is checked, compiled and run in a process of its own;
one that is refused, faults or takes too long has an infinite loss.

    python evolve.py seed.py --train olmoe:1 --train olmoe:2 --held-out olmoe:11 --budget 120
"""

import argparse
import ast
import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from archgym.errors import ArchGymError
from archgym.rules.case import Comparison, compare_rules
from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner

OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.RShift)
# Share of mutations that change constants only; they need no compilation.
CONSTANT_SHARE = 0.8
POPULATION = 8


@dataclass(frozen=True)
class Candidate:
    """A policy with its loss on the training traces."""

    text: str
    loss: float
    problem: str = ""


def mutate(text: str, rng: np.random.Generator) -> str:
    """Return a policy that differs in one or two constants or operators."""
    tree = ast.parse(text)
    for _ in range(int(rng.integers(1, 3))):
        if rng.random() < CONSTANT_SHARE:
            _mutate_constant(tree, rng)
        else:
            _mutate_operator(tree, rng)
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _mutate_constant(tree: ast.Module, rng: np.random.Generator) -> None:
    nodes = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, int)
    ]
    node = nodes[int(rng.integers(len(nodes)))]
    value = int(node.value)
    step = round(value * float(rng.lognormal(0.0, 0.8))) - value
    node.value = max(0, value + (step or int(rng.choice([-1, 1, 4, 16]))))


def _mutate_operator(tree: ast.Module, rng: np.random.Generator) -> None:
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    nodes = [node for f in functions for node in ast.walk(f) if isinstance(node, ast.BinOp)]
    node = nodes[int(rng.integers(len(nodes)))]
    if rng.random() < 0.3:
        node.left, node.right = node.right, node.left
    else:
        node.op = OPERATORS[int(rng.integers(len(OPERATORS)))]()


def crossed(first: str, second: str, rng: np.random.Generator) -> str:
    """Return the first policy with some constants of the second."""
    tree, other = ast.parse(first), ast.parse(second)
    values = {
        node.targets[0].id: node.value
        for node in other.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            name = node.targets[0].id
            if name in values and rng.random() < 0.5:
                node.value = copy.deepcopy(values[name])
    return ast.unparse(tree) + "\n"


def measured(text: str, traces: Sequence[str], runner: RuleRunner) -> Candidate:
    """Return a candidate with its mean loss: loads over those of the optimum."""
    try:
        source = check_rule(text)
        entry = compare_rules(
            {"candidate": source}, traces, with_built_in=False, runner=runner
        ).entries[0]
    except ArchGymError as error:
        return Candidate(text, math.inf, " ".join(str(error).split()))
    return Candidate(text, entry.train_loss, entry.problem)


def evolve(
    text: str, traces: Sequence[str], budget: int, seed: int, runner: RuleRunner
) -> list[Candidate]:
    """Return all candidates in the order of their evaluation, the seed policy first."""
    rng = np.random.default_rng(seed)
    history = [measured(text, traces, runner)]
    known = {text}
    while len(history) < budget:
        best = sorted(history, key=lambda each: each.loss)[:POPULATION]
        parent = best[min(int(rng.geometric(0.4)) - 1, len(best) - 1)]
        made = parent.text
        if len(best) > 1 and rng.random() < 0.3:
            made = crossed(made, best[int(rng.integers(len(best)))].text, rng)
        made = mutate(made, rng)
        if made not in known:
            known.add(made)
            history.append(measured(made, traces, runner))
    return history


def report(best: str, train: Sequence[str], held_out: Sequence[str]) -> Comparison:
    """Return the best policy against the built-in ones, with the traces that were held out."""
    return compare_rules({"evolved": check_rule(best)}, train, held_out)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("policy", type=Path)
    parser.add_argument("--train", action="append", required=True)
    parser.add_argument("--held-out", action="append", default=[])
    parser.add_argument("--budget", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("evolved.py"))
    options = parser.parse_args()
    with RuleRunner() as runner:
        history = evolve(
            options.policy.read_text(), options.train, options.budget, options.seed, runner
        )
    best = min(history, key=lambda each: each.loss)
    options.out.write_text(best.text)
    lines = [json.dumps({"loss": min(c.loss, 1e9), "problem": c.problem}) for c in history]
    options.out.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")
    n_failed = sum(math.isinf(each.loss) for each in history)
    print(f"{len(history)} candidates, {n_failed} infeasible; {options.out}")
    for entry in report(best.text, options.train, options.held_out).entries:
        losses = " ".join(f"{each.loss:.3f}" for each in entry.held_out)
        print(
            f"{entry.name:16} train {entry.train_loss:.3f}  held out {entry.held_out_loss:.3f}"
            f"  ({losses})"
        )


if __name__ == "__main__":
    main()
