"""Commands `archgym map` and `archgym workload`: mappings of layers, networks as tables."""

import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.kit import (
    InvalidArgumentError,
    JsonOption,
    TaskOptions,
    command_group,
    is_study,
    number,
    parse_whole,
    say,
    table,
    warn,
    write_json,
)

if TYPE_CHECKING:
    import numpy as np

    from archgym.simulators.accelerator.machine.architecture import Architecture
    from archgym.simulators.accelerator.machine.mapping import Mapping
    from archgym.simulators.accelerator.problem import Problem
    from archgym.simulators.accelerator.simulator import AcceleratorSimulator
    from archgym.simulators.kit import Workload

commands = typer.Typer()
_INFEASIBLE_CODE = 3


@commands.command("map")
def map_layer(
    layer: Annotated[
        str,
        typer.Argument(
            help="Layer as NETWORK/LAYER, a NETWORK to map all its layers, or a Timeloop problem "
            "(YAML). NETWORK is a shipped network or a table of layers (.csv)."
        ),
    ],
    arch: Annotated[
        str,
        typer.Option(
            "--arch",
            help="Shipped architecture, a YAML file of ArchGym or Timeloop, or the folder of a "
            "study, for its best accelerator.",
        ),
    ] = "eyeriss-like",
    objective: Annotated[
        str, typer.Option("--objective", help="Quantity to minimise: edp, energy or cycles.")
    ] = "edp",
    tries: Annotated[
        int, typer.Option("--tries", min=1, help="Number of mappings to try.")
    ] = 400_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of the search.")] = 0,
    counts: Annotated[
        str,
        typer.Option(
            "--counts",
            help="Access counts: timeloop, or ideal (without Timeloop's approximations).",
        ),
    ] = "timeloop",
    bypass: Annotated[
        bool, typer.Option("--bypass", help="Also search the tensors that each level stores.")
    ] = False,
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--mapping",
            help="Evaluate this mapping (ArchGym or Timeloop), or the best one of a study of "
            "mappings, without a search.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the mapping to this JSON file (a new one).")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Map a layer of a network onto an accelerator.

    Writes the loop nest, its costs by level, and the lower bound of all mappings.
    """
    from archgym.cli.kit import announce_compilation, require_free, write_atomic
    from archgym.simulators.accelerator.formats.files import load_architecture, read_mapping
    from archgym.simulators.accelerator.formats.timeloop_yaml import read_timeloop_problem
    from archgym.simulators.accelerator.kernel.evaluation import evaluate_mapping
    from archgym.simulators.accelerator.mapping.bounds import lower_bound
    from archgym.simulators.accelerator.mapping.mapper import anneal_mapping, map_space
    from archgym.simulators.accelerator.workloads import NETWORKS, layer_named, load_network

    if out is not None:
        require_free(out)
    architecture = _best_accelerator(Path(arch)) if is_study(arch) else load_architecture(arch)
    announce_compilation()
    if layer in NETWORKS or layer.endswith(".csv"):
        if bypass or mapping or out:
            raise InvalidArgumentError(
                "`--bypass`, `--mapping` and `--out` need a layer, such as resnet-18/fc."
            )
        _map_network(load_network(layer), architecture, objective, tries, seed, counts, json)
        return
    if layer.endswith((".yaml", ".yml")):
        problem = read_timeloop_problem(Path(layer))
    else:
        problem = layer_named(layer).problem
    bound = lower_bound(problem, architecture, bypass=bypass)
    summary: dict[str, Any] = {"layer": layer, "architecture": architecture.name}
    if mapping is not None:
        if is_study(mapping):
            chosen = _best_mapping(mapping, problem, architecture)
        else:
            chosen = read_mapping(mapping, problem, architecture)
    else:
        space = map_space(problem, architecture, bypass=bypass)
        began = time.process_time()
        found = anneal_mapping(space, objective, tries=tries, seed=seed, counts=counts)
        summary |= {
            "tries": found.tries,
            "valid": found.valid,
            "seconds": time.process_time() - began,
            "is_optimal": found.is_optimal,
        }
        if found.mapping is None:
            say("No valid mapping was found.")
            raise typer.Exit(_INFEASIBLE_CODE)
        chosen = found.mapping
    cost = evaluate_mapping(problem, architecture, chosen, counts)
    if cost.infeasible is not None:
        say(f"The mapping is invalid: {cost.infeasible}.")
        raise typer.Exit(_INFEASIBLE_CODE)
    if out is not None:
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
    if out is not None:
        say(f"Written: {out}")


def _best(folder: Path) -> "tuple[AcceleratorSimulator, np.ndarray, Workload]":
    """Return the simulator, best design and first workload of a study of the simulator."""
    from archgym.cli.kit import best_of
    from archgym.simulators.accelerator.simulator import AcceleratorSimulator

    task, indices = best_of(folder, "", TaskOptions())
    if not isinstance(task.simulator, AcceleratorSimulator):
        raise InvalidArgumentError(
            f"A study must be one of the simulator 'accelerator'; {folder} is of {task.id}."
        )
    return task.simulator, indices, task.workloads[0].workload


def _best_accelerator(folder: Path) -> "Architecture":
    """Return the accelerator of the best design of a study."""
    simulator, indices, workload = _best(folder)
    return simulator.mapped(indices, workload, maps_layers=False)[0]


def _best_mapping(folder: Path, problem: "Problem", architecture: "Architecture") -> "Mapping":
    """Return the mapping of the best design of a study of mappings, if it fits."""
    simulator, indices, workload = _best(folder)
    built, layers = simulator.mapped(indices, workload, maps_layers=False)
    if not layers:
        raise InvalidArgumentError(
            f"A study must be one of mappings; the designs of {folder} are accelerators. "
            "Give it with --arch."
        )
    name, mapped, mapping = layers[0]
    if mapped.shape != problem.shape or built != architecture:
        raise InvalidArgumentError(
            f"The mapping of {folder} is for layer {name!r} on {built.name!r}; it does not fit "
            "LAYER and --arch."
        )
    return mapping


def _map_network(
    network: Any,
    architecture: Any,
    objective: str,
    tries: int,
    seed: int,
    counts: str,
    json: bool,
) -> None:
    from archgym.simulators.accelerator.mapping.mapper import anneal_mapping, map_space

    columns = ("layer", "count", "energy_uj", "cycles", "edp_over_bound", "seconds")
    rows = []
    for layer in network.layers:
        began = time.process_time()
        space = map_space(layer.problem, architecture)
        found = anneal_mapping(space, objective, tries=tries, seed=seed, counts=counts)
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


# ---- networks


workload_app = command_group("workload", "Show networks, and import them from ONNX models.")
_COLUMNS = ("layer", "count", "bounds", "operations", "weights")

commands.add_typer(workload_app)


@workload_app.command("show")
def show_network(
    network: Annotated[str, typer.Argument(help="Shipped network, or a table of layers (.csv).")],
    json: JsonOption = False,
) -> None:
    """Show the layers of a network."""
    from archgym.simulators.accelerator.workloads import load_network

    found = load_network(network)
    rows = [
        (
            layer.name,
            layer.count,
            " ".join(f"{d}{n}" for d, n in layer.problem.bounds.items() if n > 1),
            layer.problem.n_operations,
            layer.problem.tensor_size(0),
        )
        for layer in found.layers
    ]
    if json:
        write_json(
            {
                "network": found.name,
                "source": found.source,
                "layers": [dict(zip(_COLUMNS, row, strict=True)) for row in rows],
            }
        )
        return
    cells = [[c if isinstance(c, str) else str(c) for c in row] for row in rows]
    table(_COLUMNS, cells, right=("count", "operations", "weights"))
    say(f"{found.name}: {number(float(found.n_operations))} multiply-accumulates. {found.source}")


@workload_app.command("import")
def import_model(
    model: Annotated[Path, typer.Argument(help="File of the ONNX model.")],
    out: Annotated[Path, typer.Option("--out", help="Table of layers to write (.csv).")],
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size", help="Size of a named input dimension, such as batch=1; repeat for more."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a table of layers from an ONNX model.

    Use it as a workload: archgym search accelerator --workload FILE.csv. Requires archgym[onnx].
    """
    from archgym.cli.kit import assignments, require_free, write_atomic
    from archgym.simulators.accelerator.formats.onnx_model import read_onnx
    from archgym.simulators.accelerator.workloads import read_network

    given = assignments("--size", size or ())
    sizes = {name: parse_whole("--size", text, 1, 10**9) for name, text in given.items()}
    if out.suffix != ".csv":
        raise InvalidArgumentError(f"`--out` must name a .csv file; got {str(out)!r}.")
    require_free(out)
    found = read_onnx(model, sizes)
    with TemporaryDirectory() as folder:
        # Read back before writing: a layer may be larger than the simulator can count.
        path = Path(folder) / model.with_suffix(".csv").name
        path.write_text(found.table, encoding="utf-8")
        network = read_network(path)
    write_atomic(out, found.table)
    for kind, n in found.skipped.items():
        warn(f"{n} nodes {kind} are omitted, although they multiply.")
    if json:
        write_json(
            {
                "network": network.name,
                "layers": sum(layer.count for layer in network.layers),
                "different_shapes": len(network.layers),
                "multiply_accumulates": network.n_operations,
                "skipped": dict(found.skipped),
            }
        )
        return
    n_layers = sum(layer.count for layer in network.layers)
    say(
        f"{out}: {n_layers} layers of {len(network.layers)} shapes, "
        f"{number(float(network.n_operations))} multiply-accumulates."
    )
