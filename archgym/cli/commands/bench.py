"""`archgym bench`: suites of tasks: list, run, report, verify, serve."""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.commands.accuracy import accuracy_app
from archgym.cli.commands.sweep import report_outcome
from archgym.cli.console.progress import SweepProgress
from archgym.cli.console.signals import prompt_stops, resumable
from archgym.cli.console.terminal import heading, number, say, table, write_json
from archgym.cli.options.groups import command_group
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import lasting
from archgym.files.remote import command_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archgym.analysis.statistics import Interval
    from archgym.bench.report import AgentScore, BenchReport
    from archgym.bench.run import ProgramRun

bench_app = command_group(
    "bench", "Benchmark agents on suites of tasks: list, run, report, verify, serve."
)
bench_app.add_typer(accuracy_app)

SuiteOption = Annotated[
    str,
    typer.Option(
        "--suite",
        help="Suite of tasks: core, full, few, regret, transfer, fidelity or front.",
        metavar="NAME",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Part of the suite: development (to tune agents) or verdict (to judge them).",
        metavar="NAME",
    ),
]
FolderArgument = Annotated[Path, typer.Argument(help="Folder of the benchmark.")]


@bench_app.command("list")
def list_tasks(
    suite: SuiteOption = "full", split: SplitOption = None, json: JsonOption = False
) -> None:
    """Show the tasks of a suite."""
    from archgym.bench.suite import bench_tasks
    from archgym.bench.verification import read_release

    tasks = bench_tasks(suite, split)
    if json:
        write_json([task.to_json() for task in tasks])
        return
    table(
        ("task", "space", "sought", "limits", "split", "hardness"),
        [
            (
                task.label,
                f"{task.plan.simulator}/{task.plan.space or 'default'}",
                task.sought,
                task.plan.subject_to or "",
                task.split,
                "not measured" if task.hardness is None else str(task.hardness),
            )
            for task in tasks
        ],
    )
    say()
    heading("Reasons")
    for task in tasks:
        best = "" if task.best is None else f" Best known: {task.best}."
        say(f"{task.label}: {task.why}{best}")
    say()
    say("Hardness: mean evaluations of random search to within 1 % of the best known.")
    say("Best known: reward of a recorded design; proven where a table holds all designs.")
    say(f"Release: {read_release().name}, digest {read_release().digest}")


@bench_app.command()
def run(
    agents: Annotated[
        list[str],
        typer.Argument(
            help="Names of agents to run, own classes such as my_agent:Mine, and programs with "
            "their arguments in quotes.",
            metavar="AGENT|MODULE:CLASS|[NAME=]COMMAND",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder for the benchmark, new or from the same plan.", metavar="FOLDER"
        ),
    ],
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            help="Suite: core, full, few, regret, transfer, fidelity or front (default: core).",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    split: SplitOption = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="Task to run instead of a suite; repeat for more."),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Number of seeds, from 0.", min=1)] = 5,
    budget: Annotated[
        int, typer.Option("--budget", help="Evaluations of each study.", min=1)
    ] = 100,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            help="Number of studies to run in parallel (default: 1).",
            min=1,
            show_default=False,
        ),
    ] = None,
    answer_seconds: Annotated[
        float,
        typer.Option(
            "--answer-seconds", help="Time of a program for each line, then it is ended.", min=0.1
        ),
    ] = 600.0,
    json: JsonOption = False,
) -> None:
    """Run agents, and programs in any language, on the tasks of a suite.

    To continue after an interruption, run the same command again. Tasks that are not judged at so
    large a budget are left out. A program, such as mine="python client.py", reads and writes lines
    of JSON as for `archgym bench serve`; its seed is in the environment variable ARCHGYM_SEED. An
    agent's class in a file my_agent.py of the current folder takes part as my_agent:Mine.
    Several programs need names.
    """
    from archgym.agent.agent import own_agent
    from archgym.bench.run import bench_plan, run_bench, run_programs
    from archgym.bench.suite import bench_task, bench_tasks
    from archgym.cli.console.progress import announce_compilation

    if task and (suite or split):
        raise typer.BadParameter("Give either tasks, or a suite and a split.", param_hint="--task")
    tasks = [bench_task(name) for name in task] if task else bench_tasks(suite or "core", split)
    own = [_program(word) for word in agents if any(mark in word for mark in " /")]
    words = [word for word in agents if not any(mark in word for mark in " /")]
    names = [own_agent(word) if ":" in word else word for word in words]
    programs = dict(own)
    plan = bench_plan(names, tasks, seeds, budget, [label for label, _ in own])
    out = lasting(out)
    announce_compilation()
    with prompt_stops():
        plan = plan.decided()
    # Own classes and programs are known by the arguments of this command alone.
    is_own = bool(programs) or names != words
    again: list[str | Path] = ["archgym", "sweep", "resume", out]
    with resumable(sys.argv if is_own else again), SweepProgress() as progress:
        outcome = run_bench(plan, out, workers=workers, progress=progress) if names else None
    with prompt_stops():
        runs = run_programs(programs, plan, out, answer_seconds) if programs else []
    more: dict[str, Any] = {"tasks": [each.label for each in plan.tasks]}
    if programs:
        more["programs"] = [run.to_json() for run in runs]
    if programs and not (json and names):
        _show_programs(runs, json)
    if outcome is not None:
        report_outcome(outcome, command_line("archgym", "bench", "report", out), more, json)
    elif not json:
        say("Next: " + command_line("archgym", "bench", "verify", out))
    if any(run.status for run in runs):
        raise typer.Exit(1)


def _show_programs(runs: "Sequence[ProgramRun]", is_json: bool) -> None:
    if is_json:
        write_json([run.to_json() for run in runs])
        return
    rows = []
    for run in runs:
        reward = "none" if run.reward is None else number(run.reward)
        ends = str(run.evaluations), reward, str(run.status), str(run.folder)
        rows.append((run.program, run.task, str(run.seed), *ends))
    columns = "program", "task", "seed", "evaluations", "best reward", "exit status", "study"
    table(columns, rows)


def _program(word: str) -> tuple[str, str]:
    """Return the label and the command of ``COMMAND`` or ``NAME=COMMAND``."""
    from archgym.sweep.plan import PROGRAM

    named = re.fullmatch(r"([\w.-]+)=(.+)", word)
    return (PROGRAM, word) if named is None else (f"{PROGRAM}-{named[1]}", named[2])


@bench_app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of benchmarks, whose agents are compared.")
    ],
    json: JsonOption = False,
) -> None:
    """Show regret at each budget, and evaluations to within 1 % of the best known.

    The first table has the tasks whose optimum is proven, which need no reference run. Programs and
    plug-ins have a p-value against each agent that ArchGym ships.
    """
    from archgym.bench.report import read_bench_report

    read = read_bench_report(*folders)
    if json:
        write_json(read.to_json())
    else:
        _write_report(read)


def _write_report(read: "BenchReport") -> None:
    if read.proven:
        from archgym.report.quantities import counted

        n = sum(task.is_proven for task in read.tasks)
        heading(f"Regret to the proof: {counted(n, 'task')} with a proven optimum")
        table(
            ("agent", *(f"% at {b:,}" for b in read.budgets)),
            [(p.agent, *(_percent(p.regret.get(b)) for b in read.budgets)) for p in read.proven],
        )
        say("Mean of how much worse the best design is than the optimum; 100 from twice as bad on.")
        say()
    for task in read.tasks:
        heading(f"{task.task}: best known reward {number(task.best_known)}")
        columns = ("agent", *(f"regret at {b:,}" for b in read.budgets), "to 1 %", "found")
        table(columns, [_cells(agent, read.budgets) for agent in task.agents])
    heading("All tasks")
    table(
        ("agent", *(f"rank at {b:,}" for b in read.budgets), "p"),
        [
            (s.agent, *(number(s.mean_rank[b]) for b in read.budgets), number(s.p_value))
            for s in read.standings
        ],
    )
    shipped = [s.agent for s in read.standings if not s.against]
    if own := [s for s in read.standings if s.against]:
        say()
        heading("p-values of programs and plug-ins, against each shipped agent")
        table(
            ("agent", *(s.agent for s in own)),
            [(name, *(number(s.against[name]) for s in own)) for name in shipped],
        )
    say()
    if read.unfinished:
        say(f"Runs that are not finished: {read.unfinished}.")
    for name, damage in read.damage.items():
        say(f"{name}: {damage}")
    say("Regret: interquartile mean over seeds with its 95 % interval, in units of the reward.")
    say(read.verdict)


def _percent(found: "Interval | None") -> str:
    if found is None:
        return "–"
    value, low, high = (100.0 * part for part in (found.value, found.low, found.high))
    return f"{value:.3g} ({low:.3g} to {high:.3g})"


def _cells(agent: "AgentScore", budgets: tuple[int, ...]) -> tuple[str, ...]:
    cells = []
    for budget in budgets:
        found = agent.regret.get(budget)
        cells.append(
            "–" if found is None else f"{found.value:.3g} ({found.low:.3g} to {found.high:.3g})"
        )
    is_known = agent.to_within < float("inf")
    reached = f"{agent.to_within:.0f}" if is_known else f"> {budgets[-1]}"
    return (agent.agent, *cells, reached, f"{agent.found} of {agent.runs}")


@bench_app.command()
def verify(
    folder: Annotated[
        Path, typer.Argument(help="Folder of the benchmark, or a recorded conversation.")
    ],
    replay: Annotated[
        bool,
        typer.Option("--replay", help="Search again with each agent and compare its designs."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Simulate all recorded and claimed designs again, and refuse what differs.

    Claims are lines of claims.jsonl in the folder: {"task": …, "design": {…}, "reward": …}. Of a
    conversation that `archgym mcp --record` wrote, all calls are made again.
    """
    from archgym.bench.verification import verify_bench
    from archgym.mcp.recording import CONVERSATION_NAME
    from archgym.report.quantities import counted

    if folder.suffix == ".jsonl" or (folder / CONVERSATION_NAME).is_file():
        _verify_conversation(folder, json)
        return
    with prompt_stops():
        found = verify_bench(folder, replay=replay)
    if json:
        write_json(found.to_json())
    else:
        for refusal in found.refusals:
            say(f"refused: {refusal}")
        say(
            f"{counted(found.runs, 'study')} with {counted(found.evaluations, 'evaluation')} and "
            f"{counted(found.claims, 'claim')}: {'refused' if found.refusals else 'accepted'}."
        )
        if replay and found.programs:
            say("A program's designs were simulated again; it was not asked for them again.")
        if not replay:
            say("The order of designs was not checked; --replay does so.")
    if found.refusals:
        raise typer.Exit(1)


def _verify_conversation(path: Path, is_json: bool) -> None:
    from archgym.mcp.recording import verify_conversation

    with prompt_stops():
        found = verify_conversation(path)
    if is_json:
        write_json(found.to_json())
    else:
        for refusal in found.refusals:
            say(f"refused: {refusal}")
        if found.studies:
            columns = "study", "task", "evaluations", "budget", "best reward", "% worse than proof"
            rows = []
            for each in found.studies:
                reward = "none" if each.reward is None else number(each.reward)
                worse = "–" if each.worse is None else f"{100.0 * each.worse:.3g}"
                counts = str(each.evaluations), str(each.budget)
                rows.append((each.study, each.task, *counts, reward, worse))
            table(columns, rows)
        calls = ", ".join(f"{name} {n}" for name, n in sorted(found.calls.items())) or "none"
        say(f"Calls: {calls}. {'Refused' if found.refusals else 'Accepted'}.")
    if found.refusals:
        raise typer.Exit(1)


@bench_app.command()
def serve(
    task: Annotated[str, typer.Argument(help="Name of the task.", metavar="TASK")],
    budget: Annotated[int, typer.Option("--budget", help="Evaluations to answer.", min=1)] = 100,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for the journal, new or of the same task (default: not kept).",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve a task to a program in any language, over lines of JSON.

    The first line on standard output describes the task. Each line on standard input is a design,
    and is answered by one line.
    """
    import select

    from archgym.bench.run import END_S
    from archgym.bench.serving import TaskServer
    from archgym.bench.serving import serve as serve_lines
    from archgym.bench.suite import bench_task

    made = bench_task(task).plan.make()
    with TemporaryDirectory() as folder:
        server = TaskServer(made, Path(folder) / "study" if out is None else out, budget)
        try:
            serve_lines(server, sys.stdin.buffer, sys.stdout.buffer)
            # A client that has not read the end may write one more line.
            select.select([sys.stdin], [], [], END_S)
        finally:
            server.close()
