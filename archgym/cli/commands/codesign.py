"""`archgym codesign`: what it costs to design the parts of a composition apart."""

from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import duration, heading, notice, number, say, table, write_json
from archgym.cli.options.task import (
    GoalOptions,
    HoldOptions,
    JsonOption,
    SimulatorArgument,
    SimulatorOptions,
    TaskOptions,
    make_task,
    task_choices,
)
from archgym.errors import InvalidArgumentError
from archgym.files.storage import file_stem, make_folder

if TYPE_CHECKING:
    from archgym.codesign import Outcome
    from archgym.tables.proof import Proof
    from archgym.tasks.task import Task


def codesign(
    simulator: SimulatorArgument,
    model: SimulatorOptions,
    goal: GoalOptions,
    hold: HoldOptions,
    budget: Annotated[
        int, typer.Option("--budget", help="Evaluations of each strategy.", min=2)
    ] = 200,
    seeds: Annotated[int, typer.Option("--seeds", help="Random seeds, from 0.", min=1)] = 1,
    agent: Annotated[str, typer.Option("--agent", help="Agent of every search.")] = "auto",
    proof: Annotated[
        bool,
        typer.Option(
            "--prove", help="Also prove the joint optimum; hold values so that it can be done."
        ),
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", help="Time after which --prove stops [s], by default 600.", min=0.1
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the studies (default: one in runs).")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare designing the parts of a composition apart, in turn, and together.

    Each strategy has the same number of evaluations. The price of a strategy is how much worse its
    design is than the best one known: the proven optimum, or the best that any strategy found.
    """
    from archgym.cli.console.progress import StageBar
    from archgym.codesign import compare_strategies
    from archgym.tables.proof import prove

    if seconds is not None and not proof:
        raise InvalidArgumentError("`--seconds` needs `--prove`.")
    task = make_task(task_choices(simulator, TaskOptions(model, goal), hold))
    folder = out or Path("runs") / f"codesign-{file_stem(task.id)[:60]}-{task.digest[:8]}"
    make_folder(folder)
    with prompt_stops(), StageBar() as bar:
        found = []
        for each in compare_strategies(
            task, folder, budget=budget, seeds=range(seeds), agent=agent
        ):
            notice(f"{each.strategy}, seed {each.seed}: reward {each.reward:.4f}")
            found.append(each)
        known = max(found, key=lambda each: each.reward)
        start = task.space.indices_of(known.design)
        proven = prove(task, start, seconds or 600.0, bar) if proof else None
    best = max(known.reward, proven.reward if proven else known.reward)
    if json:
        write_json(
            {
                "task": task.id,
                "outcomes": [
                    {**vars(each), "design": dict(each.design), "price_percent": _price(each, best)}
                    for each in found
                ],
                "proof": proven.to_json(task) if proven else None,
            }
        )
        return
    _write(task, found, proven, best, folder)


def _price(outcome: "Outcome", best: float) -> float | None:
    """Return how much worse a design is than the best one [%]; None if it misses a limit."""
    from math import expm1

    return None if outcome.missed else 100.0 * expm1(best - outcome.reward)


def _write(
    task: "Task", found: list["Outcome"], proven: "Proof | None", best: float, folder: Path
) -> None:
    terms = [term.metric for term in task.objective.terms]
    units = {spec.name: spec.unit for spec in task.metrics}
    heading(f"Task {task.id}")
    rows = []
    for name in dict.fromkeys(each.strategy for each in found):
        own = [each for each in found if each.strategy == name]
        prices = [_price(each, best) for each in own]
        known = [price for price in prices if price is not None]
        shown = [f"{mean(known):.1f}", f"{max(known):.1f}"] if known else ["–", "–"]
        # Metrics are those of the same seeds as the price.
        judged = [e.metrics for e in own if not e.missed] or [e.metrics for e in own if e.metrics]
        values = [number(mean(m[metric] for m in judged)) if judged else "–" for metric in terms]
        rows.append((name, *values, *shown, f"{len(own) - len(known)} of {len(own)}"))
    if proven is not None and proven.indices is not None:
        results = task.evaluate(proven.indices[None, :]).values
        means = task.average(results)[0].tolist()
        metrics = dict(zip((spec.name for spec in task.metrics), means, strict=True))
        name = "proven optimum" if proven.is_optimal else "best of the proof"
        is_missed = bool(task.missed(results[0]))
        price = "–" if is_missed else "0.0"
        rows.append((name, *(number(metrics[m]) for m in terms), price, price, str(int(is_missed))))
    columns = [f"{metric} [{units[metric]}]" if units[metric] else metric for metric in terms]
    right = (*columns, "price %", "worst %", "limits missed")
    table(("strategy", *columns, "price %", "worst %", "limits missed"), rows, right=right)
    say(
        "Price: how much worse than the best design known, mean and worst. Where a seed meets all "
        "limits, metrics and prices leave out seeds that miss one."
    )
    if proven is not None:
        _write_proof(proven, task)
    say(f"Studies: {folder}")


def _write_proof(proven: "Proof", task: "Task") -> None:
    from archgym.cli.views.study import proof_text

    more = f"Not proven; {proof_text(proven, task)}"
    if not proven.gave_up(task):
        more += "; raise --seconds"
    outcome = "Proven" if proven.is_optimal else more
    say(
        f"{outcome}: {task.space.size:,} combinations, {proven.n_bounded:,} bounds, "
        f"{proven.n_evaluated:,} designs simulated, {duration(proven.seconds)}; digest "
        f"{proven.digest(task)[:16]}."
    )
    if proven.indices is not None:
        changes = task.space.changes(task.space.design_at(proven.indices))
        changed = [f"{name}={value}" for name, value in changes.items()]
        say("Its design: " + (", ".join(changed) or "the default"))
