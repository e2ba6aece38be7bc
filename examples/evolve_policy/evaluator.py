"""Evaluator of expert-cache policies for OpenEvolve and ShinkaEvolve.

OpenEvolve calls `evaluate(program_path)` and maximises `combined_score`. ShinkaEvolve runs this
file as a program that writes `metrics.json` and `correct.json`:

    python evaluator.py --program_path program.py --results_dir results

The score is the optimum's loads over those of the policy, from 0 to 1. A policy that is refused,
faults, takes too long or kills its process scores 0.
"""

import argparse
import json
from pathlib import Path

from archgym.errors import ArchGymError
from archgym.rules.case import compare_rules
from archgym.rules.language import read_rule
from archgym.rules.sandbox import RuleRunner

# The program under evolution never sees the held-out traces, which `archgym rule compare` names.
TRACES = ("olmoe:1", "olmoe:2")
SECONDS = 60.0


def evaluate(program_path: str) -> dict[str, float | str]:
    """Return the score of a policy file, and what a model may learn from."""
    try:
        source = read_rule(program_path)
        with RuleRunner(SECONDS) as runner:
            found = compare_rules(
                {"program": source}, TRACES, with_built_in=False, runner=runner
            ).entries[0]
    except ArchGymError as error:
        return {"combined_score": 0.0, "feasible": 0.0, "problem": " ".join(str(error).split())}
    if found.problem:
        return {"combined_score": 0.0, "feasible": 0.0, "problem": found.problem}
    first = found.train[0].to_json()
    return {
        "combined_score": 1.0 / found.train_loss,
        "feasible": 1.0,
        "loss": found.train_loss,
        "state_bits": float(first["state_bits"]),
        "problem": "",
    }


def main() -> None:
    """Write the files that ShinkaEvolve reads."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program_path", required=True)
    parser.add_argument("--results_dir", type=Path, required=True)
    options = parser.parse_args()
    found = evaluate(options.program_path)
    options.results_dir.mkdir(parents=True, exist_ok=True)
    is_correct = found["feasible"] == 1.0
    for name, content in (
        ("metrics.json", found),
        ("correct.json", {"correct": is_correct, "error": found["problem"] or None}),
    ):
        (options.results_dir / name).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
