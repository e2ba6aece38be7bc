"""`archgym map`: the best way found to run a layer on an accelerator, and what it costs."""

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from archgym.cli.console.terminal import number, say, table, write_json
from archgym.cli.options.task import JsonOption

__all__ = ["map_layer"]


def map_layer(
    layer: Annotated[
        str,
        typer.Argument(
            help="A layer as NETWORK/LAYER; NETWORK is a shipped one or a table of layers. With "
            "NETWORK alone every layer is mapped. Or a YAML file with a problem of Timeloop's."
        ),
    ],
    arch: Annotated[
        str,
        typer.Option(
            "--arch", help="An architecture that ships, or a YAML file, ours or Timeloop's."
        ),
    ] = "eyeriss-like",
    objective: Annotated[
        str, typer.Option("--objective", help="What is minimised: edp, energy or cycles.")
    ] = "edp",
    method: Annotated[
        str,
        typer.Option("--method", help="annealing, random, genetic or exhaustive."),
    ] = "annealing",
    tries: Annotated[
        int, typer.Option("--tries", min=1, help="Mappings to look at; exhaustive: at most.")
    ] = 400_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the search.")] = 0,
    counts: Annotated[
        str, typer.Option("--counts", help="timeloop, or ideal: without its shortcuts.")
    ] = "timeloop",
    bypass: Annotated[
        bool, typer.Option("--bypass", help="Search what each level stores, too.")
    ] = False,
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", help="Evaluate this mapping, ours or Timeloop's; search none."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the mapping into this file, as JSON.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Map a layer of a network onto an accelerator.

    Prints the loop nest, its costs by level, and the bound that no mapping beats.
    """
    from archgym.cli.console.progress import announce_compilation
    from archgym.simulators.accelerator.bounds import lower_bound
    from archgym.simulators.accelerator.evaluation import evaluate_mapping
    from archgym.simulators.accelerator.files import read_mapping
    from archgym.simulators.accelerator.mapper import map_space
    from archgym.simulators.accelerator.methods import search_mapping
    from archgym.simulators.accelerator.networks import NETWORKS, layer_named, load_network
    from archgym.simulators.accelerator.presets import load_architecture
    from archgym.simulators.accelerator.timeloop_yaml import read_timeloop_problem

    architecture = load_architecture(arch)
    announce_compilation()
    if layer in NETWORKS or layer.endswith(".csv"):
        _map_network(
            load_network(layer), architecture, objective, method, tries, seed, counts, json
        )
        return
    if layer.endswith((".yaml", ".yml")):
        problem = read_timeloop_problem(Path(layer))
    else:
        problem = layer_named(layer).problem
    bound = lower_bound(problem, architecture, bypass=bypass)
    summary: dict[str, Any] = {"layer": layer, "architecture": architecture.name}
    if mapping is not None:
        chosen = read_mapping(mapping, problem, architecture)
    else:
        space = map_space(problem, architecture, bypass=bypass)
        began = time.process_time()
        found = search_mapping(
            space, objective, method=method, tries=tries, seed=seed, counts=counts
        )
        summary |= {
            "method": method,
            "tries": found.tries,
            "valid": found.valid,
            "seconds": time.process_time() - began,
            "is_optimal": found.is_optimal,
        }
        if found.mapping is None:
            say("No mapping was found that fits.")
            raise typer.Exit(3)
        chosen = found.mapping
    cost = evaluate_mapping(problem, architecture, chosen, counts)
    if cost.infeasible is not None:
        say(f"The mapping does not fit: {cost.infeasible}.")
        raise typer.Exit(3)
    if out is not None:
        from archgym.files.storage import write_atomic

        write_atomic(out, chosen.json_text(architecture) + "\n")
    edp = cost.energy_pj * cost.cycles
    summary |= {
        "counts": counts,
        "energy_uj": cost.energy_pj / 1e6,
        "cycles": cost.cycles,
        "utilisation_percent": 100 * cost.utilisation,
        "edp_uj_cycles": edp / 1e6,
        "bound_energy_uj": bound.energy_pj / 1e6,
        "bound_cycles": bound.cycles,
        "edp_over_bound": edp / bound.edp,
    }
    accesses = cost.accesses or {}
    rows = [
        (name, tensor, a.instances, a.tile, a.reads, a.fills, a.updates, a.energy_pj / 1e6)
        for (name, tensor), a in reversed(list(accesses.items()))
    ]
    columns = ("level", "tensor", "instances", "tile", "reads", "fills", "updates", "energy_uj")
    if json:
        summary["mapping"] = chosen.to_json(architecture)
        summary["accesses"] = [dict(zip(columns, row, strict=True)) for row in rows]
        write_json(summary)
        return
    say(chosen.text(architecture))
    say()
    cells = [[c if isinstance(c, str) else number(float(c)) for c in row] for row in rows]
    table(columns, cells, right=columns[2:])
    for name, value in summary.items():
        text = number(value) if isinstance(value, float) and math.isfinite(value) else str(value)
        say(f"{name:20} {text}")


def _map_network(
    network: Any,
    architecture: Any,
    objective: str,
    method: str,
    tries: int,
    seed: int,
    counts: str,
    json: bool,
) -> None:
    from archgym.simulators.accelerator.mapper import map_space
    from archgym.simulators.accelerator.methods import search_mapping

    columns = ("layer", "count", "energy_uj", "cycles", "edp_over_bound", "seconds")
    rows = []
    for layer in network.layers:
        began = time.process_time()
        found = search_mapping(
            map_space(layer.problem, architecture),
            objective,
            method=method,
            tries=tries,
            seed=seed,
            counts=counts,
        )
        seconds = time.process_time() - began
        over = found.edp / found.bound.edp
        rows.append((layer.name, layer.count, found.energy_pj / 1e6, found.cycles, over, seconds))
    if json:
        finite = [[c if isinstance(c, str) or math.isfinite(c) else None for c in r] for r in rows]
        write_json([dict(zip(columns, row, strict=True)) for row in finite])
        return
    cells = [[c if isinstance(c, str) else number(float(c)) for c in row] for row in rows]
    table(columns, cells, right=columns[1:])
    energy = math.fsum(row[1] * row[2] for row in rows)
    cycles = math.fsum(row[1] * row[3] for row in rows)
    say(f"{network.name}: {number(energy)} uJ, {number(cycles)} cycles.")
