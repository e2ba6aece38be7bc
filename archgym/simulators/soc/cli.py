"""Command `archgym soc phases`: phases of systems on a chip."""

from typing import Any

import typer

from archgym.cli.kit import (
    DesignArgument,
    InvalidArgumentError,
    JsonOption,
    TaskOptions,
    heading,
    is_study,
    named_design,
    number,
    table,
    with_groups,
    write_json,
)

commands = typer.Typer()
soc_app = typer.Typer(
    name="soc",
    help="Inspect phases of systems on a chip.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
commands.add_typer(soc_app)


def phases(design: DesignArgument, options: TaskOptions, json: JsonOption = False) -> None:
    """Show each phase of a design: its length and power, and what bounds its tasks."""
    import numpy as np

    from archgym.simulators.soc import SocSimulator
    from archgym.simulators.soc.kernel.state import BoundBy

    task, indices = named_design(design, "" if is_study(design) else "soc", options)
    simulator = task.simulator
    if not isinstance(simulator, SocSimulator):
        raise InvalidArgumentError(f"A design must be of simulator 'soc'; got {simulator.name!r}.")
    simulator.evaluate(simulator.space.design_at(indices), task.workloads[0].workload)
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


soc_app.command("phases")(with_groups(phases))
