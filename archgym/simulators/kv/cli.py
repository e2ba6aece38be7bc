"""Commands `archgym kv`: memory, policies, tiers and routing for a trace of requests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.kit import (
    InvalidArgumentError,
    JsonOption,
    assignments,
    check_known,
    command_line,
    design_with,
    further_assignments,
    heading,
    number,
    say,
    table,
    write_json,
)

if TYPE_CHECKING:
    from archgym.simulators.kv.analysis import Analysis
    from archgym.simulators.kv.simulator import KvSimulator

commands = typer.Typer()
kv_app = typer.Typer(
    name="kv",
    help="Prefix caches of serving engines: memory, policies, tiers and routing for a trace.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
commands.add_typer(kv_app)


TraceArgument = Annotated[
    str, typer.Argument(help="Trace that ships, or a file of one.", metavar="TRACE")
]
OptionsOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="NAME=VALUE of the simulator, such as live=32."),
]
BlockOption = Annotated[int, typer.Option("--block", help="Tokens of a block.", min=1)]
PictureOption = Annotated[
    Path | None, typer.Option("--out", help="Picture to write: .svg, .png or .pdf.")
]
# Of options, commands have some as their own; others neither choose requests nor size memory.
_OWN = {"block_tokens": "--block"}
_OF_TRACE = (
    "first", "last", "skip_sessions", "sessions", "stagger_ms", "think_cap_ms", "link",
    "shared_prefix", "service_prompt_div", "service_ms_per_output", "kv_bytes_per_token",
)  # fmt: skip
_SHOWN = (
    "hit_percent", "loaded_percent", "ttft_p50_ms", "ttft_p90_ms", "tpot_p90_ms", "goodput_per_s",
    "usd_per_hour", "usd_per_mtoken", "joules_per_mtoken",
)  # fmt: skip


@kv_app.command("analyse")
def analyse_trace(
    trace: TraceArgument,
    options: OptionsOption = None,
    block: BlockOption = 64,
    policies: Annotated[
        list[str] | None, typer.Option("--policy", help="Policy of the table; repeat for more.")
    ] = None,
    out: PictureOption = None,
    json: JsonOption = False,
) -> None:
    """Show reuse, contexts of live sessions, and hits over memory by policy and optimum."""
    from archgym.simulators.kv.analysis import POLICIES
    from archgym.simulators.kv.kernel.policies import POLICIES as KNOWN

    check_known("policy", policies or (), KNOWN)
    simulator = _simulator("vllm", options, out, (*_OF_TRACE, "live"))
    found = _analysis(simulator, trace, block, tuple(policies or POLICIES))
    gib = block * simulator.kv_bytes_per_token / 2**30
    _draw_hits(found, f"{trace}: hits over memory", gib, out)
    if json:
        write_json(found.to_json())
        return
    say(f"{found.requests:,} requests; {found.reusable_percent:.1f} % of blocks that can be hits "
        "were there before.")  # fmt: skip
    say(f"Contexts of {simulator.settings.live} live sessions: {found.live_blocks * gib:.4g} GiB.")
    if found.reusable_percent:
        _write_quantiles("Blocks used between two uses of one", found.reuse_blocks)
        _write_quantiles("Seconds between two uses", found.reuse_s)
    say(f"At half of the live contexts: {found.capacity_percent:.1f} points are missed for want of "
        f"memory, {found.policy_percent:.1f} more by LRU. Cause: {found.diagnosis}.")  # fmt: skip
    heading("Hits [% of blocks that can be] by memory")
    heads = ("GiB", "of_live_contexts", *found.curves)
    rows = [
        [number(size * gib), f"{size / found.live_blocks:.3g}",
         *(f"{hits[at]:.2f}" for hits in found.curves.values())]
        for at, size in enumerate(found.capacities)
    ]  # fmt: skip
    table(heads, rows, right=heads)
    if out is not None:
        say(f"Picture: {out}")


def _draw_hits(
    found: "Analysis", title: str, gib: float, out: Path | None, wanted: float = 0.0
) -> None:
    """Draw hits over memory, if there is a file for it.

    Args:
      found: The analysis.
      title: Title of the picture.
      gib: Memory of a block [GiB].
      out: File of the picture; None for none.
      wanted: Share of an endless cache's hits that is marked [%].
    """
    if out is None:
        return
    from archgym.report.plots import picture

    with picture(out, (6.4, 4.0)) as figure:
        axes = figure.subplots()
        memory = [size * gib for size in found.capacities]
        for name, hits in found.curves.items():
            style = "k--" if name == "optimum" else "o-"
            axes.plot(memory, hits, style, label=name, markersize=3)
        axes.axvline(found.live_blocks * gib, color="0.6", linestyle=":")
        axes.axhline(found.reusable_percent, color="0.6", linestyle=":")
        if wanted:
            axes.axhline(wanted / 100.0 * found.reusable_percent, color="0.3", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda gib, _: f"{gib:g}")
        axes.set_ylim(0, 100)
        axes.set_xlabel("memory for keys and values [GiB]; dotted: contexts of live sessions")
        axes.set_ylabel("hits [% of blocks that can be]")
        axes.set_title(title, fontsize=9)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)


def _draw_designs(rows: list[dict[str, Any]], trace: str, out: Path | None) -> None:
    """Draw cost and time to the first token of designs that can be built, if there is a file."""
    if out is None:
        return
    from archgym.report.plots import picture

    built = [row for row in rows if not row["problem"]]
    with picture(out, (6.4, 0.8 + 0.4 * len(built))) as figure:
        axes = figure.subplots(1, 2, sharey=True)
        titles = {"usd_per_mtoken": "$ per million tokens", "ttft_p90_ms": "first token, p90 [ms]"}
        for plot, (name, title) in zip(axes, titles.items(), strict=True):
            plot.barh([row["design"] for row in built], [row[name] for row in built], color="C0")
            plot.set_xlabel(title)
            plot.grid(axis="x", alpha=0.3)
        axes[0].invert_yaxis()
        figure.suptitle(trace, fontsize=9)


def _write_quantiles(what: str, values: tuple[float, ...]) -> None:
    low, middle, high, most = (number(value) for value in values)
    say(f"{what}: median {middle}, quartiles {low} and {high}, 90th percentile {most}.")


def _analysis(
    simulator: "KvSimulator", trace: str, block: int, policies: Sequence[str]
) -> "Analysis":
    from archgym.simulators.kv.analysis import analyse
    from archgym.simulators.kv.workloads.traces import stream_blocks

    made = stream_blocks(simulator.workload(trace).content, simulator.settings, block)
    return analyse(made, simulator.settings.live, policies)


def _simulator(
    space: str,
    options: list[str] | None,
    out: Path | None = None,
    used: Sequence[str] = (),
    own: Mapping[str, str] = _OWN,
) -> "KvSimulator":
    """Return the simulator; where a command uses some options alone, others are refused."""
    from archgym.report.plots import check_plot
    from archgym.simulators.kit import make_simulator
    from archgym.simulators.kv.simulator import KvSimulator

    if out is not None:
        check_plot("--out", out)
    given = further_assignments("--option", options or [], own if used else {})
    made = make_simulator(KvSimulator, space, None, given)
    assert isinstance(made, KvSimulator)
    for name in given if used else ():
        if name not in used:
            raise InvalidArgumentError(
                f"`--option` {name!r} makes no difference here. Use {', '.join(used)}."
            )
    return made


@kv_app.command("memory")
def memory_of_sessions(
    trace: TraceArgument,
    live: Annotated[int, typer.Option("--live", help="Sessions that are live.", min=1)] = 200,
    hits: Annotated[
        float,
        typer.Option(
            "--hits", help="Share of an endless cache's hits that is wanted [%].", min=1, max=100
        ),
    ] = 95.0,
    hardware: Annotated[str, typer.Option("--hardware", help="Server of `moe`.")] = "hgx-h200",
    model: Annotated[str, typer.Option("--model", help="Model of `moe`.")] = "llama-3.1-8b",
    precision: Annotated[str, typer.Option("--precision", help="Precision of weights.")] = "bf16",
    tensor: Annotated[int, typer.Option("--tensor", help="Accelerators of an engine.", min=1)] = 1,
    block: BlockOption = 64,
    options: OptionsOption = None,
    out: PictureOption = None,
    json: JsonOption = False,
) -> None:
    """Say how much memory a number of live sessions needs, and how many a server holds."""
    from archgym.simulators.kv.analysis import memory_for
    from archgym.simulators.kv.formats.trace import SessionTrace
    from archgym.simulators.kv.machine import deployment

    own = {name: f"--{name}" for name in ("live", "hardware", "model", "precision")}
    used = (*_OF_TRACE, "engine", "release")
    content = _simulator("vllm", options, out, used, _OWN | own).workload(trace).content
    given = assignments("--option", options or [])
    if not isinstance(content.trace, SessionTrace):
        raise InvalidArgumentError(
            f"`TRACE` must have sessions, whose number is scaled; {trace!r} has requests alone. "
            "For hits over memory: " + command_line("archgym", "kv", "analyse", Path(trace))
        )
    # A third of the sessions at a time, so that sessions come and end; the rest is in proportion.
    sample = min(live, max(1, len(content.trace.sessions) // 3))
    simulator = _simulator("vllm", [*(options or []), f"live={sample}"])
    found = _analysis(simulator, trace, block, ("lru", "priority"))
    made = deployment(
        hardware, model, precision, given.get("engine", "vllm"), given.get("release", ""), tensor
    )
    of_model = made.max_tokens * made.kv_bytes
    is_given = "kv_bytes_per_token" in given
    kv_bytes = simulator.kv_bytes_per_token if is_given else made.kv_bytes
    tokens = int(of_model / kv_bytes) if is_given else made.max_tokens
    gib = block * kv_bytes / 2**30 * live / sample
    engines = made.n_gpus // tensor
    have = engines * of_model / 2**30
    rows = []
    for policy in found.curves:
        blocks = memory_for(found, policy, hits)
        is_bound = blocks == found.capacities[0]
        gib_of = None if blocks is None else blocks * gib
        rows.append({"policy": policy, "gib": gib_of, "is_upper_bound": is_bound})
    contexts = found.live_blocks * gib
    answer = {
        "live": live,
        "simulated_live": sample,
        "hits_percent": hits,
        "contexts_gib": contexts,
        "server_gib": have,
        "sessions_in_server": int(have * live / contexts),
        "sequences_in_engine": tokens * sample // (found.live_blocks * block),
        "memory": rows,
    }
    title = f"{trace}: {live} live sessions; line: {hits:g} % of the hits of an endless cache"
    _draw_hits(found, title, gib, out, hits)
    if json:
        write_json(answer)
        return
    say(f"{live} live sessions have contexts of {contexts:.4g} GiB, {contexts / live:.3g} each.")
    say(f"{hardware} has {have:.4g} GiB for keys and values with {engines} engines of {model}: "
        f"the contexts of {answer['sessions_in_server']:,} sessions.")  # fmt: skip
    say(
        f"An engine has room for {answer['sequences_in_engine']} such contexts at a time; a larger "
        "batch waits or is preempted. A design of space serving runs `max_seqs` at most."
    )
    if sample < live:
        say(f"Simulated with {sample} live sessions of the trace, and scaled.")
    heading(f"Memory for {hits:g} % of the hits of an endless cache")
    table(("policy", "GiB"), [[str(r["policy"]), _gib(r)] for r in rows], right=("GiB",))


def _gib(row: dict[str, Any]) -> str:
    if row["gib"] is None:
        return "above the curve"
    # The curve begins with the largest request, or an eighth of the contexts.
    return f"at most {number(row['gib'])}" if row["is_upper_bound"] else number(row["gib"])


@kv_app.command("try")
def try_designs(
    trace: TraceArgument,
    cases: Annotated[
        list[str] | None,
        typer.Option(
            "--case", help="Design as NAME=VALUE,NAME=VALUE over the default; repeat for more."
        ),
    ] = None,
    vary: Annotated[
        str, typer.Option("--vary", help="Parameter of which each value is tried.")
    ] = "",
    fixed: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of all designs.")
    ] = None,
    options: OptionsOption = None,
    out: PictureOption = None,
    json: JsonOption = False,
) -> None:
    """Serve a trace by several designs: hits, latencies, cost and energy of each."""
    simulator = _simulator("serving", options, out)
    workload = simulator.workload(trace)
    space = simulator.space
    base = space.default
    common = assignments("--set", fixed or [])
    tried = [assignments("--case", case.split(",")) for case in cases or []]
    if vary:
        if vary not in space.names:
            raise InvalidArgumentError(
                f"`--vary` must be one of {', '.join(space.names)}; got {vary!r}."
            )
        values = space.parameters[space.names.index(vary)]
        tried += [{vary: str(values.value(i))} for i in range(values.size)]
    rows: list[dict[str, Any]] = []
    for case in [{}, *tried] if not vary else tried:
        changed = {**common, **case}
        metrics = simulator.evaluate(design_with(space, base, changed), workload)
        name = ", ".join(f"{key}={value}" for key, value in changed.items()) or "default"
        names = () if metrics.infeasible else (*_SHOWN, "rejected")
        shown = {key: metrics[key] for key in names}
        rows.append({"design": name, "problem": metrics.infeasible, **shown})
    _draw_designs(rows, trace, out)
    if json:
        write_json(rows)
        return
    cells = [
        [str(row["design"]), *(number(row[key]) if key in row else "-" for key in _SHOWN)]
        for row in rows
    ]
    table(("design", *_SHOWN), cells, right=_SHOWN)
    for row in rows:
        if row["problem"]:
            say(f"{row['design']}: {row['problem']}.")
        elif row["rejected"]:
            say(f"{row['design']}: {row['rejected']:,.0f} requests need more memory than a worker "
                "has; figures are those of the others.")  # fmt: skip
