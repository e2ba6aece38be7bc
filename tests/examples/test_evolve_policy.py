"""The evolution example, and its evaluator under a stub of an evolution framework."""

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "evolve_policy"
SEED = (FOLDER / "seed.py").read_text()


def module(name: str) -> ModuleType:
    """Return a module of the example."""
    spec = importlib.util.spec_from_file_location(f"evolve_policy_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


def test_seed_is_a_policy() -> None:
    assert check_rule(SEED).domain.name == "expert-cache"


def test_mutations_differ_and_are_deterministic() -> None:
    evolve = module("evolve")

    first = [evolve.mutate(SEED, np.random.default_rng(n)) for n in range(20)]
    again = [evolve.mutate(SEED, np.random.default_rng(n)) for n in range(20)]

    assert first == again
    assert len(set(first)) > 15


@pytest.mark.nightly
def test_evolution_never_ends_worse_than_its_seed() -> None:
    evolve = module("evolve")

    with RuleRunner(120) as runner:
        history = evolve.evolve(SEED, ["olmoe:1"], 6, 0, runner)

    assert len(history) == 6
    assert min(each.loss for each in history) <= history[0].loss
    assert all(each.loss >= 1 for each in history)
    assert all(bool(each.problem) == math.isinf(each.loss) for each in history)


class StubFramework:
    """Loop of an evolution framework whose model gives fixed answers."""

    def __init__(self, evaluate: Any, answers: list[str], folder: Path) -> None:
        self._evaluate = evaluate
        self._answers = answers
        self._folder = folder

    def run(self) -> list[dict[str, Any]]:
        """Return the metrics of each program."""
        found = []
        for number, text in enumerate(self._answers):
            path = self._folder / f"program-{number}.py"
            path.write_text(text)
            found.append(self._evaluate(str(path)))
        return found


@pytest.mark.slow
def test_framework_gets_scores_and_no_reward_for_cheats(tmp_path: Path) -> None:
    evaluator = module("evaluator")
    answers = [
        SEED,
        "import os\n" + SEED,
        SEED.replace("return kept * HEAT", "return future[block] + kept * HEAT"),
        SEED.replace("return kept * HEAT", "return (kept // AHEAD) * HEAT"),
    ]

    good, imports, future, fault = StubFramework(evaluator.evaluate, answers, tmp_path).run()

    assert 0.3 < good["combined_score"] < 1
    assert good["feasible"] == 1
    for each, words in (
        (imports, "an import is not allowed"),
        (future, "only declared arrays have entries"),
        (fault, "a number is divided by zero"),
    ):
        assert each["combined_score"] == 0
        assert each["feasible"] == 0
        assert words in each["problem"]


@pytest.mark.slow
def test_evaluator_writes_the_files_of_shinka(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("while True: pass\n")
    arguments = ["evaluator.py", "--program_path", str(bad), "--results_dir", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", arguments)

    module("evaluator").main()

    correct = json.loads((tmp_path / "out" / "correct.json").read_text())
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert correct["correct"] is False
    assert "is not allowed at the top" in correct["error"]
    assert metrics["combined_score"] == 0
