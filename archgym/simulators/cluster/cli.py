"""Command `archgym cluster timeline`: an iteration of a training cluster as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from archgym.cli.console.terminal import say

if TYPE_CHECKING:
    from archgym.simulators.cluster.machine import Built, Result
    from archgym.simulators.cluster.simulator import ClusterSimulator

# Okabe and Ito, *Color Universal Design*, 2008.
_COLOURS: Final = ("#D55E00", "#CC79A7", "#009E73", "#56B4E9")
_COMPUTE: Final = "#555555"
_CAUSES: Final = ("tensor", "expert", "data", "pipeline")
# chosen: more bars than this are only ink.
_MAX_BARS: Final = 6000
_MAX_SHOWN: Final = 16

commands = typer.Typer()
cluster_app = typer.Typer(
    name="cluster",
    help="Training clusters: timelines.",
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
