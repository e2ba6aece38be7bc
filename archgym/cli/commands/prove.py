"""`archgym prove`: proof that the best design of a study is the optimum of its task."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import duration, number, prose, say, write_json
from archgym.cli.options.task import JsonOption

if TYPE_CHECKING:
    from archgym.evaluation.task import Task
    from archgym.tables.proof import Proof


def prove(
    study: Annotated[Path, typer.Argument(help="Folder of the study.", metavar="STUDY")],
    seconds: Annotated[
        float, typer.Option("--seconds", help="Time after which the proof stops [s].", min=0.1)
    ] = 60.0,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Table of the task, which has every design.", metavar="FILE"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Prove that a study's best design is the optimum, or say how much better one may be.

    Designs are left out where the simulator bounds what they can reach (accelerator mappings, soc).
    Elsewhere every design is evaluated, or looked up in a table. The exit code is 0 if the best
    design that is known at the end is proven, else 1.
    """
    from archgym.cli.console.progress import StageBar
    from archgym.evaluation.task import Task
    from archgym.studies.snapshot import read_study
    from archgym.tables.proof import prove as proof_of

    log = read_study(study)
    recipe = dict(log.header.task)
    if table is not None:
        recipe.pop("stand_in", None)
    task = Task.from_json(recipe, stand_in=table)
    best = log.best()
    known = None if best is None else task.space.indices_of(best.design)
    with prompt_stops(), StageBar() as bar:
        proof = proof_of(task, known, seconds, bar)
    former = None if best is None else float(best.reward)
    if json:
        write_json(proof.to_json(task) | {"study": str(study), "study_reward": former})
    else:
        _write(proof, task, former)
    if not proof.is_optimal:
        raise typer.Exit(1)


def _write(proof: "Proof", task: "Task", former: float | None) -> None:
    better = proof.indices is not None and (former is None or proof.reward > former)
    if proof.indices is None:
        say("Not one design could be built." if proof.is_optimal else "No design was found.")
    elif proof.is_optimal:
        shown = "" if better else "The study's best design is optimal. "
        prose(f"{shown}Reward {proof.reward:.6g} is proven: no design of {task.id} has more.")
    else:
        prose(f"Not proven in {duration(proof.seconds)}: {_gap(proof)}")
    if better:
        assert proof.indices is not None
        than = "" if former is None else f" than the study's {former:.6g}"
        prose(f"The proof found a better design{than}, reward {proof.reward:.6g}:")
        design = task.space.design_at(proof.indices)
        say(" ".join(f"{name}={value}" for name, value in design.items()))
    how = f"{proof.n_evaluated:,} designs evaluated in {duration(proof.seconds)}"
    if proof.method == "bounds":
        prose(f"{proof.n_bounded:,} partial designs were bounded, and {how}.")
    else:
        prose(f"The simulator gives no bound for this objective; {how}.")
    if not proof.is_optimal:
        remedy = "--seconds" if proof.method == "bounds" else "--seconds, or --table FILE"
        say(f"To continue for longer: {remedy}.")


def _gap(proof: "Proof") -> str:
    if proof.gap_percent is None:
        return "nothing is known about the designs that are left."
    return (
        f"no design is more than {number(proof.gap_percent)} % better (reward at most "
        f"{proof.bound:.6g}, and {proof.reward:.6g} is known)."
    )
