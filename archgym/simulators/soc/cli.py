"""Commands `archgym soc`: task graphs, phases and pictures of systems on a chip."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.terminal import heading, number, say, table, write_json
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import filled_design, named_path, read_design
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np

    from archgym.simulators.soc import SocSimulator

__all__ = ["commands"]

commands = typer.Typer()
soc_app = typer.Typer(
    name="soc",
    help="Inspect task graphs, phases and pictures of systems on a chip.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
commands.add_typer(soc_app)

GraphOption = Annotated[
    str, typer.Option("--graph", help="A task graph that ships, a file, or several with +.")
]
DesignOption = Annotated[
    Path | None,
    typer.Option("--design", help="A design in JSON; the default design where it is left out."),
]
SpaceOption = Annotated[str, typer.Option("--space", help="Space of the design.")]
FidelityOption = Annotated[str, typer.Option("--fidelity", help="Fidelity of the model.")]
_SVG = ".svg"


def _chosen(
    graph: str, design: Path | None, space: str, fidelity: str
) -> "tuple[SocSimulator, np.ndarray]":
    """Return the simulator and the design's indices."""
    from archgym.cli.console.progress import announce_compilation
    from archgym.errors import InvalidDesignError
    from archgym.simulators.soc import SocSimulator

    announce_compilation()
    simulator = SocSimulator(space, fidelity, graph)
    indices = simulator.space.default_indices
    if design is not None:
        filled = filled_design(simulator.space, read_design(design), design)
        indices = simulator.space.indices_of(filled)
    result = simulator.evaluate_batch(indices[None, :], simulator.workload(graph))
    if result.reason[0] != 0:
        why = simulator.reasons[int(result.reason[0])]
        raise InvalidDesignError(f"The design cannot be built: {why}.")
    return simulator, indices


@soc_app.command("draw")
def draw(
    out: Annotated[
        Path,
        typer.Option("--out", help="The picture to write (.svg).", parser=named_path),
    ],
    what: Annotated[
        str, typer.Option("--what", help="Picture to draw: blocks, tasks (over time) or graph.")
    ] = "blocks",
    graph: GraphOption = "cava",
    design: DesignOption = None,
    space: SpaceOption = "default",
    fidelity: FidelityOption = "default",
) -> None:
    """Draw a design's blocks, its tasks over time, or its task graph."""
    from archgym.files.storage import write_atomic
    from archgym.simulators.soc.picture import diagram_svg, gantt_svg, graph_svg
    from archgym.simulators.soc.workloads import load_graph

    if out.suffix != _SVG:
        raise InvalidArgumentError(f"`--out` must end in .svg; got {out.name!r}.")
    if what not in ("blocks", "tasks", "graph"):
        raise InvalidArgumentError(f"`--what` must be blocks, tasks or graph; got {what!r}.")
    if what == "graph":
        drawn = graph_svg(load_graph(graph))
    else:
        simulator, indices = _chosen(graph, design, space, fidelity)
        designs, log, values = simulator.log(indices)
        drawn = gantt_svg(simulator.graph, designs, log)
        if what == "blocks":
            drawn = diagram_svg(simulator.graph, designs, log, values)
    write_atomic(out, drawn)
    say(f"Drawn to {out}.")


@soc_app.command("phases")
def phases(
    graph: GraphOption = "cava",
    design: DesignOption = None,
    space: SpaceOption = "default",
    fidelity: FidelityOption = "default",
    json: JsonOption = False,
) -> None:
    """Show each phase of a design: its length and power, and what bounds its tasks."""
    import numpy as np

    from archgym.simulators.soc.state import BoundBy

    simulator, indices = _chosen(graph, design, space, fidelity)
    _, log, _ = simulator.log(indices)
    names = simulator.graph.names
    kinds = {BoundBy.PE: "unit", BoundBy.MEMORY: "memory", BoundBy.BUS: "bus"}
    rows: list[dict[str, Any]] = []
    for phase in np.flatnonzero(log.length_s > 0.0).tolist():
        running = []
        for t, name in enumerate(names):
            kind, block = divmod(int(log.bound[phase, t]), BoundBy.STRIDE)
            if kind == BoundBy.WAITING:
                running.append(f"{name} (waits)")
            elif kind != BoundBy.IDLE and log.instructions[phase, t] > 0.0:
                of = f" {block}" if kind != BoundBy.PE else ""
                running.append(f"{name} ({kinds[kind]}{of})")
        length = float(log.length_s[phase])
        power = float(log.energy_j[phase]) / length
        rows.append({"phase": phase, "length_s": length, "power_w": power, "tasks": running})
    if json:
        write_json(rows)
        return
    heading("Phases: tasks and what bounds each")
    cells = [
        [str(r["phase"]), number(r["length_s"]), number(r["power_w"]), ", ".join(r["tasks"])]
        for r in rows
    ]
    table(("phase", "length_s", "power_w", "tasks"), cells, right=("phase", "length_s", "power_w"))


@soc_app.command("bottlenecks")
def bottlenecks(
    graph: GraphOption = "cava",
    design: DesignOption = None,
    space: SpaceOption = "default",
    fidelity: FidelityOption = "default",
    json: JsonOption = False,
) -> None:
    """List what bounds a design, by metric, and the first move that relieves it."""
    simulator, indices = _chosen(graph, design, space, fidelity)
    found = simulator.bottlenecks(indices, simulator.workload(graph))
    found.sort(key=lambda each: (each.metric, -each.share))
    if json:
        write_json(
            [
                {"metric": b.metric, "name": b.name, "share": b.share, "moves": list(b.moves)}
                for b in found
            ]
        )
        return
    cells = [
        [
            b.metric,
            number(100.0 * b.share),
            b.name,
            ", ".join(f"{name}={value}" for name, value in b.moves[0].items()),
        ]
        for b in found
    ]
    table(("metric", "share_percent", "bottleneck", "move"), cells, right=("share_percent",))


@soc_app.command("generate")
def generate(
    out: Annotated[
        Path, typer.Option("--out", help="The task graph to write (.json).", parser=named_path)
    ],
    tasks: Annotated[int, typer.Option("--tasks", help="Number of tasks.")] = 20,
    width: Annotated[int, typer.Option("--width", help="Tasks of a layer, at most.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the graph.")] = 0,
) -> None:
    """Generate a random task graph, as a file that `--option graph=FILE` takes."""
    from archgym.files.storage import write_atomic
    from archgym.simulators.soc.generator import generate_graph
    from archgym.simulators.soc.workloads import graph_text

    graph = generate_graph(tasks, width, seed)
    write_atomic(out, graph_text(graph))
    say(f"Written to {out}: {len(graph.tasks)} tasks, {len(graph.edges)} edges.")
