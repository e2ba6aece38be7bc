"""Commands `archgym cluster`: timelines, traces and paths of fabrics."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from archgym.cli.console.terminal import number, say, table, write_json
from archgym.cli.options.task import JsonOption

if TYPE_CHECKING:
    from archgym.simulators.cluster.machine import Built, Result
    from archgym.simulators.cluster.simulator import ClusterSimulator

_INFEASIBLE_CODE = 3
# Okabe and Ito, *Color Universal Design*, 2008.
_COLOURS: Final = ("#D55E00", "#CC79A7", "#009E73", "#56B4E9")
_COMPUTE: Final = "#555555"
_CAUSES: Final = ("tensor", "expert", "data", "pipeline")
# chosen: more bars than this are only ink.
_MAX_BARS: Final = 6000
_MAX_SHOWN: Final = 16
_KINDS = {"comp": "compute node", "coll": "collective", "send": "send", "recv": "receive"}

commands = typer.Typer()
cluster_app = typer.Typer(
    name="cluster",
    help="Training clusters: timelines, traces, paths.",
    no_args_is_help=True,
)
commands.add_typer(cluster_app)

SpaceOption = Annotated[str, typer.Option("--space", help="Space of the cluster simulator.")]
SystemOption = Annotated[
    str, typer.Option("--system", help="Shipped cluster, or a YAML file of one.")
]
WorkloadOption = Annotated[
    str, typer.Option("--workload", "-w", help="Shipped model, or a JSON or YAML file of one.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE of the design; the default for all others."),
]
OutOption = Annotated[Path, typer.Option("--out", help="Picture to write: .svg, .png or .pdf.")]


@cluster_app.command("timeline")
def draw_timeline_of(
    out: OutOption,
    space: SpaceOption = "default",
    system: SystemOption = "",
    workload: WorkloadOption = "gpt2-xl-1.5b",
    values: SetOption = None,
) -> None:
    """Draw computing and communication of each pipeline stage over an iteration."""
    from archgym.report.plots import check_plot

    check_plot("--out", out)
    result = _run(space, system, workload, values or [])
    draw_timeline(result.built, out)
    say(f"{out} shows an iteration of {result.outcome.finish_ns.max() / 1e6:.6g} ms.")


@cluster_app.command("replay")
def replay_trace(
    trace: Annotated[
        Path, typer.Argument(help="Chakra traces PREFIX.0.et, PREFIX.1.et …: their PREFIX.")
    ],
    groups: Annotated[
        Path | None, typer.Option("--groups", help="JSON file with lists of NPUs by group.")
    ] = None,
    space: SpaceOption = "parallel",
    system: SystemOption = "",
    values: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Simulate Chakra execution traces on the network of a design.

    A deadlock ends with exit code 3.
    """
    from archgym.simulators.cluster.formats.chakra import read_trace
    from archgym.simulators.cluster.kernel.engine import first_waiting, simulate

    read = read_trace(trace, groups)
    simulator, design = _design(space, system, values or [])
    network = simulator.network(design)
    graphs = read.graphs(network)
    outcome = simulate(network, graphs)
    found = first_waiting(network, graphs) if outcome.deadlock else None
    waiting = None
    if found is not None:
        npu, place = found
        entry = read.entries[npu][place]
        waiting = {"npu": npu, "node": read.numbers[npu][place], "kind": _KINDS[entry["kind"]]}
    result = {
        "npus": len(read.entries),
        "nodes": sum(map(len, read.entries)),
        "deadlock": outcome.deadlock,
        "time_ns": None if outcome.deadlock else int(outcome.finish_ns.max()),
        "compute_ns": int(outcome.compute_ns.max()),
        "exposed_ns": int(outcome.exposed_ns.sum(axis=1).max()),
        "messages": outcome.n_messages,
        "skipped": dict(read.skipped),
        "waiting": waiting,
    }
    if json:
        write_json(result)
        if outcome.deadlock:
            raise typer.Exit(_INFEASIBLE_CODE)
        return
    for kind, count in read.skipped.items():
        say(f"{count:,} nodes are skipped: {kind}.")
    if outcome.deadlock:
        say("The trace ends in a deadlock: nodes wait for each other.")
        if waiting is not None:
            say(
                f"The first that waits is NPU {waiting['npu']}, in its node {waiting['node']}, "
                f"a {waiting['kind']}."
            )
        raise typer.Exit(_INFEASIBLE_CODE)
    say(
        f"{result['nodes']:,} nodes of {result['npus']} NPUs: "
        f"{outcome.finish_ns.max() / 1e6:.6g} ms; at most {outcome.compute_ns.max() / 1e6:.6g} ms "
        f"of computing and {outcome.exposed_ns.sum(axis=1).max() / 1e6:.6g} ms of exposed "
        f"communication on an NPU; {outcome.n_messages:,} messages."
    )


@cluster_app.command("fabric")
def compare_paths(
    leaves: Annotated[int, typer.Option("--leaves", min=1, help="Number of leaf switches.")] = 4,
    hosts: Annotated[int, typer.Option("--hosts", min=1, help="NPUs of a leaf.")] = 4,
    spines: Annotated[int, typer.Option("--spines", min=1, help="Number of spine switches.")] = 4,
    pattern: Annotated[
        str,
        typer.Option(
            "--pattern",
            help="Traffic: ring, leaf-shift, halving, all-to-all, or pairs such as 0>3;1>2.",
        ),
    ] = "all-to-all",
    json: JsonOption = False,
) -> None:
    """Compare the loads of a leaf-spine fabric by how flows choose their paths."""
    from archgym.simulators.cluster.kernel.fabric import Fabric, ecmp_loads, flows_of, loads

    fabric = Fabric(leaves, hosts, spines)
    flows = flows_of(fabric, pattern)
    drawn = ecmp_loads(fabric, flows)
    rows: list[dict[str, str | float | None]] = [
        {"paths": "ecmp", "mean": float(drawn.mean()), "worst": float(drawn.max())}
    ]
    for paths in ("round-robin", "split", "spray"):
        up, down = loads(fabric, flows, paths)
        rows.append({"paths": paths, "uplink": float(up), "downlink": float(down)})
    if json:
        write_json(rows)
    else:
        columns = ("paths", "uplink", "downlink", "mean", "worst")
        cells = [
            ["–" if (value := row.get(name)) is None else _text(value) for name in columns]
            for row in rows
        ]
        table(columns, cells, right=columns[1:])
        say(
            "Largest loads in flows of an uplink and a downlink; "
            "of ecmp, over both, the mean and the worst of 1,000 hashes."
        )
        n_inside = sum(a // hosts == b // hosts for a, b in flows)
        if n_inside:
            say(f"{n_inside:,} of {len(flows):,} flows stay in their leaf and use no uplink.")


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else number(value)


def _run(space: str, system: str, workload: str, values: list[str]) -> "Result":
    simulator, design = _design(space, system, values, workload)
    return simulator.run(design, simulator.workload(workload))


def _design(
    space: str, system: str, values: list[str], workload: str = ""
) -> "tuple[ClusterSimulator, dict[str, Any]]":
    """Return the simulator, and the default design of a workload with what `--set` says."""
    from archgym.cli.options.values import assignments
    from archgym.simulators.cluster.simulator import ClusterSimulator
    from archgym.spaces.texts import value_from_text

    simulator = ClusterSimulator(space, system)
    if workload:
        simulator = simulator.fitted_to([simulator.workload(workload)])
    default = dict(simulator.space.design_at(simulator.space.default_indices))
    for name, text in assignments("--set", values).items():
        default[name] = value_from_text(simulator.space.parameter(name), text)
    return simulator, default


def draw_timeline(built: "Built", path: Path) -> None:
    """Draw computing and communication of one NPU for each stage.

    Args:
      built: A design that can run.
      path: Ends in .svg, .png or .pdf.
    """
    from archgym.report.plots import picture
    from archgym.simulators.cluster.kernel import state
    from archgym.simulators.cluster.machine import spans

    rows = spans(built)
    all_stages = sorted({npu for npu, *_ in rows})
    stages = all_stages[:_MAX_SHOWN]
    place = {npu: at for at, npu in enumerate(stages)}
    of_stages = [row for row in rows if row[0] in place]
    shown = of_stages[:_MAX_BARS]
    with picture(path, (10.0, 1.4 + 0.7 * len(stages))) as figure:
        axes = figure.subplots()
        for npu, kind, cause, begin, end in shown:
            is_compute = kind == state.COMPUTE
            if kind == state.RECEIVE:
                continue
            axes.broken_barh(
                [(begin / 1e6, (end - begin) / 1e6)],
                (place[npu] - (0.4 if is_compute else 0.0), 0.4),
                facecolors=_COMPUTE if is_compute else _COLOURS[cause],
            )
        axes.set_yticks(range(len(stages)), [f"stage {at}" for at in range(len(stages))])
        axes.invert_yaxis()
        axes.set_xlabel("time [ms]")
        names = ("compute", *_CAUSES)
        for name, colour in zip(names, (_COMPUTE, *_COLOURS), strict=True):
            axes.plot([], [], color=colour, linewidth=6, label=name)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=5, frameon=False)
        left_out = []
        if len(stages) < len(all_stages):
            left_out.append(f"the first {len(stages)} of {len(all_stages)} stages")
        if len(shown) < len(of_stages):
            left_out.append(f"the first {len(shown):,} of {len(of_stages):,} spans")
        if left_out:
            axes.set_title(", ".join(left_out), fontsize="small")
