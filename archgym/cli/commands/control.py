"""`archgym control`: policies that change settings while a program runs."""

import itertools
from math import isnan
from pathlib import Path
from textwrap import shorten
from typing import Annotated

import typer

from archgym.cli.console.terminal import heading, number, say, table, warn, write_json
from archgym.cli.options.groups import command_group
from archgym.cli.options.task import JsonOption

control_app = command_group("control", "Train and compare policies that act during a run.")


@control_app.command()
def tasks(json: JsonOption = False) -> None:
    """List control tasks, with their agents, actions and costs, and their options."""
    from archgym.control.tasks import task_names, task_of, task_options

    found = [task_of(name) for name in task_names()]
    if json:
        told = ("name", "doc", "agents", "actions", "default", "epoch", "cost", "costs", "splits")
        named = {t.name: task_options(t.name).values() for t in found}
        of = {n: [{"name": o.name, "default": o.default, "values": o.values} for o in each]
            for n, each in named.items()}  # fmt: skip
        write_json([{f: getattr(t, f) for f in told} | {"options": of[t.name]} for t in found])
        return
    rows = [
        (t.name, str(len(t.agents)), str(len(t.actions)), ", ".join(t.costs), t.doc) for t in found
    ]
    table(("task", "agents", "actions", "costs", "description"), rows, right=("agents", "actions"))
    # Tasks with the same default share a line.
    shared: dict[tuple[str, str, str, str], list[str]] = {}
    for t in found:
        for o in task_options(t.name).values():
            values = shorten(o.values or "a text", 90, placeholder=" …")
            line = (o.name, str(o.default), values, o.option.doc)
            shared.setdefault(line, []).append(t.name)
    say("Options, as in dram-locality:device=ddr5,epoch=500:")
    headers = ("option", "default", "values", "description", "of tasks")
    table(headers, [(*line, ", ".join(names)) for line, names in shared.items()])


def _or_dash(value: float, spec: str) -> str:
    return "–" if isnan(value) else format(value, spec)


@control_app.command()
def compare(
    policies: Annotated[
        list[str],
        typer.Argument(
            help="Policies: default, best-static, hindsight, hand, feedback, ducb, ducb-phase, "
            "a network in a file .npz, or a rule in a file .py.",
            metavar="POLICY...",
        ),
    ],
    task: Annotated[
        str,
        typer.Option(
            "--task",
            help="Control task, with options after a colon, such as dram-load:device=ddr5; "
            "`archgym control tasks` lists both.",
        ),
    ] = "dram-locality",
    split: Annotated[
        list[str] | None,
        typer.Option("--split", help="Split to test on (default: held-out); repeat for more."),
    ] = None,
    episodes: Annotated[int, typer.Option("--episodes", help="Episodes of each split.", min=1)] = 5,
    horizon: Annotated[
        list[int] | None,
        typer.Option(
            "--horizon",
            help="Work that look-ahead sees (instructions, requests); repeat for more "
            "(default: that of about 1, 2 and 4 default epochs).",
        ),
    ] = None,
    beam: Annotated[
        int,
        typer.Option("--beam", help="Prefixes that a beam search keeps; 0: none.", min=0),
    ] = 0,
    bound_epochs: Annotated[
        int,
        typer.Option(
            "--bound-epochs",
            help="Epochs of one episode whose least cost is proven by trying all actions.",
            min=0,
            max=6,
        ),
    ] = 0,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Draw settings over time: a file .png, .svg or .pdf."),
    ] = None,
    cost: Annotated[
        str,
        typer.Option(
            "--cost",
            help="Cost to minimise instead of the task's: one that `archgym control tasks` lists, "
            "such as p99_latency_ns, or a sum: energy_pj+2*latency_from_due_ns.",
        ),
    ] = "",
    json: JsonOption = False,
) -> None:
    """Compare policies with the best static settings in hindsight and with look-ahead.

    The gap is what look-ahead saves over the best static settings of each episode. It tries actions
    on exact branches of the run, for some work, and so is no bound.
    """
    from archgym.checks import check_whole
    from archgym.cli.console.progress import CountBar, announce_compilation
    from archgym.control.comparison import compare_policies
    from archgym.control.comparison import picture as draw
    from archgym.control.rules.case import policies_of
    from archgym.control.tasks import on_epoch, task_of
    from archgym.report.plots import check_plot

    announce_compilation()
    priced = f"{task}{',' if ':' in task else ':'}cost={cost}" if cost else task
    chosen, splits = task_of(priced), split or ["held-out"]
    check_whole("--beam", beam, 0, 10_000)
    for ahead in horizon or ():
        check_whole("--horizon", ahead, 1)
    check_whole("--episodes", episodes, 1, min(len(chosen.episodes(name)) for name in splits))
    if picture is not None:
        check_plot("--picture", picture)
    done = itertools.count(1)
    with (
        policies_of(policies, chosen) as found,
        CountBar("epochs") as bar,
        on_epoch(lambda: bar.show(next(done), None)),
    ):
        result = compare_policies(
            chosen,
            found,
            splits=splits,
            n_episodes=episodes,
            horizons=horizon or None,
            width=beam,
            bound_epochs=bound_epochs,
        )
    if picture is not None:
        draw(result, picture)
    if json:
        write_json(result.to_json())
        return
    heading(f"Task {chosen.name}: {chosen.doc}")
    for name in dict.fromkeys(row.split for row in result.rows):
        say(f"Split {name}, {episodes} of its episodes; 95 % intervals over them:")
        table(
            ("policy", "mean cost", "saved %", "interval", "of the gap %", "p"),
            [
                (
                    r.policy,
                    number(sum(r.scores) / len(r.scores)),
                    f"{g.value:.1f}",
                    f"{_or_dash(g.low, '.1f')} to {_or_dash(g.high, '.1f')}",
                    _or_dash(r.gap_percent.value, ".0f"),
                    _or_dash(r.p_value, ".4f"),
                )
                for r, g in ((row, row.gain_percent) for row in result.rows)
                if r.split == name
            ],
            right=("mean cost", "saved %", "of the gap %", "p"),
        )
        best, gap = next(
            (row.policy, row.gap_percent.value) for row in result.rows if row.split == name
        )
        if best != "look-ahead":
            most = max(*(horizon or chosen.horizons), 4 * chosen.epoch)
            warn(
                f"Policy {best!r} saves more than look-ahead on split {name}, which saw too little "
                f"work; try `--horizon {2 * most}` or `--beam 8`."
            )
        elif isnan(gap):
            warn(
                f"Look-ahead saves less than 0.05 % on split {name}: there is no gap. Runs "
                "may be too short: see their options in `archgym control tasks`."
            )
    say(
        f"Cost: {chosen.cost}. Saved: of the cost under {result.baseline} "
        f"({result.seconds:.1f} s an episode to find)."
    )
    if result.bound is not None:
        ours, least = result.bound
        apart = f" ({100.0 * (ours / least - 1.0):.2f} % apart)" if least else ""
        say(
            f"First {bound_epochs} epochs: look-ahead {number(ours)}, proven least {number(least)}"
            f"{apart}."
        )
    if picture is not None:
        say(f"Picture: {picture}")
