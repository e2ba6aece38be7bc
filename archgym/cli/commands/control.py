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
            "dueling, "
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


TaskArgument = Annotated[
    str, typer.Argument(help="Control task, with options after a colon.", metavar="TASK")
]
FastOption = Annotated[
    bool, typer.Option("--fast", help="Take labels from runs under each action throughout.")
]


@control_app.command()
def train(
    task: TaskArgument,
    out: Annotated[Path, typer.Option("--out", help="File of the policy, FILE.npz.")],
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the network.", min=0)] = 0,
    rounds: Annotated[
        int, typer.Option("--rounds", help="Rounds of collecting and fitting.", min=1)
    ] = 3,
    episodes: Annotated[
        int, typer.Option("--episodes", help="Training episodes of a round.", min=1)
    ] = 12,
    horizon: Annotated[
        int, typer.Option("--horizon", help="Epochs that labels look ahead.", min=1)
    ] = 1,
    fast: FastOption = False,
    fallback: Annotated[
        str,
        typer.Option(
            "--fallback", help="Policy outside of what was seen: dueling, hand, feedback or none."
        ),
    ] = "dueling",
) -> None:
    """Train a small network that imitates look-ahead, and write it to a file."""
    from archgym.control.imitation import guarded, imitate
    from archgym.control.tasks import task_of
    from archgym.files.storage import require_free, require_writable

    path = out.with_name(f"{out.name}.npz") if out.suffix != ".npz" else out
    require_free(path)
    require_writable(path)
    chosen = task_of(task)
    network = imitate(
        chosen, seed=seed, rounds=rounds, episodes=episodes, horizon=horizon, exact=not fast
    )
    if fallback != "none":
        network = guarded(network, chosen, fallback)
    network.write(path)
    say(f"Policy of {chosen.name}: {path}")
    say(f"To run it: archgym control run {path} --trace FILE")


@control_app.command()
def run(
    policy: Annotated[
        str, typer.Argument(help="Network in a file .npz, or a policy by name.", metavar="POLICY")
    ],
    trace: Annotated[
        str, typer.Option("--trace", help="Programs or files of traces, joined by +.")
    ],
    task: Annotated[
        str, typer.Option("--task", help="Control task (default: that of the network).")
    ] = "",
    episodes: Annotated[
        int, typer.Option("--episodes", help="Episodes; of a file, one piece after another.", min=1)
    ] = 1,
    leaves: Annotated[
        int, typer.Option("--leaves", help="Leaves of the distilled table.", min=2, max=256)
    ] = 8,
    rule: Annotated[
        Path | None, typer.Option("--rule", help="Write the distilled table as a rule, FILE.py.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run a policy on your own trace, with its price and a table for hardware."""
    from dataclasses import asdict, fields, replace

    from archgym.cli.console.progress import announce_compilation
    from archgym.control.comparison import compare_policies
    from archgym.control.declaration import control_of
    from archgym.control.policies import Network, policy_of
    from archgym.control.price import Watched, priced
    from archgym.control.tasks import task_of
    from archgym.errors import InvalidArgumentError
    from archgym.files.storage import require_free, write_atomic

    if rule is not None:
        require_free(rule)
    announce_compilation()
    name = task or (Network.read(policy).task if policy.endswith(".npz") else "dram-locality")
    control = control_of(name)
    if control is None:
        raise InvalidArgumentError(f"Task {name!r} must be one that a simulator declares.")
    chosen = task_of(control.naming(name, trace))
    own, static = Watched(policy_of(policy, chosen)), policy_of("best-static", chosen)
    found = compare_policies(
        chosen, [own, static], splits=("programs",), n_episodes=episodes, horizons=()
    )
    price, held = priced(chosen, own, leaves)
    of_table = compare_policies(
        chosen, [held.policy], splits=("programs",), n_episodes=episodes, horizons=()
    )
    more = tuple(row for row in of_table.rows if row.policy == held.policy.name)
    found = replace(found, rows=found.rows + more)
    if rule is not None:
        if not held.source:
            raise InvalidArgumentError(f"`--rule` must not be given, as {name!r} takes no rules.")
        write_atomic(rule, held.source.encode())
    if json:
        table_json = {f.name: getattr(held, f.name) for f in fields(held) if f.repr}
        write_json(found.to_json() | {"price": asdict(price), "table": table_json})
        return
    heading(f"{own.name} on {trace}, task {name}")
    rows = [(r.policy, number(sum(r.scores) / episodes), f"{r.gain_percent.value:.1f}")
            for r in found.rows if r.policy != "look-ahead"]  # fmt: skip
    table(("policy", "mean cost", "saved %"), rows, right=("mean cost", "saved %"))
    say(f"Cost: {chosen.cost}. Saved: of the cost under {found.baseline}.")
    say(
        f"Watched: {price.counters} counters after each of {price.epochs:,} epochs, "
        f"{price.bytes:,} bytes; {price.beside:,} epochs run beside."
    )
    say(
        f"Table for hardware: {held.bits} bits, at most {held.operations} comparisons an epoch; "
        f"chooses alike in {100 * held.agreement:.0f} % of epochs."
        + (f" Rule: {rule}" if rule is not None else "")
    )


@control_app.command()
def families(
    task: TaskArgument,
    family: Annotated[
        list[str] | None, typer.Option("--family", help="Only this family; repeat for more.")
    ] = None,
    episodes: Annotated[int, typer.Option("--episodes", help="Episodes of a family.", min=1)] = 3,
    horizon: Annotated[
        list[int] | None,
        typer.Option("--horizon", help="Work that look-ahead sees; repeat for more."),
    ] = None,
    train_episodes: Annotated[
        int, typer.Option("--train-episodes", help="Training episodes of a round; 0: none.", min=0)
    ] = 8,
    fast: FastOption = False,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the network.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Compare policies on each family of programs, with all others to train on."""
    from archgym.cli.console.progress import announce_compilation
    from archgym.control.families import left_out

    announce_compilation()
    results = dict(
        left_out(
            task,
            families=family or (),
            n_episodes=episodes,
            horizons=horizon or None,
            trains=train_episodes > 0,
            seed=seed,
            episodes=train_episodes,
            exact=not fast,
        )
    )
    if json:
        write_json({name: found.to_json() for name, found in results.items()})
        return
    gains = {n: {r.policy: r.gain_percent for r in f.rows} for n, f in results.items()}
    policies = sorted(next(iter(gains.values())))
    table(
        ("family", *policies),
        [(name, *(f"{own[p].value:.1f}" for p in policies)) for name, own in gains.items()],
        right=tuple(policies),
    )
    say("Saved % of the best static settings in hindsight. Against the best known before:")
    gaps = {p: [o[p].value - o["best-static"].value for o in gains.values()] for p in policies}
    rows = [(p, f"{sum(g) / len(g):.1f}", f"{min(g):.1f}") for p, g in gaps.items()]
    table(("policy", "mean of families", "least"), rows, right=("mean of families", "least"))
