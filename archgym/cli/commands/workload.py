"""`archgym workload`: networks as tables of layers."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from archgym.cli.console.terminal import number, say, table, warn, write_json
from archgym.cli.options.task import JsonOption
from archgym.errors import InvalidArgumentError

__all__ = ["workload_app"]

workload_app = typer.Typer(
    name="workload",
    help="Show networks, and make one of an ONNX model.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_COLUMNS = ("layer", "count", "bounds", "operations", "weights")


@workload_app.callback()
def _group() -> None:
    """Show networks, and make one of an ONNX model."""


@workload_app.command("show")
def show_network(
    network: Annotated[str, typer.Argument(help="A network that ships, or a table of layers.")],
    json: JsonOption = False,
) -> None:
    """Show the layers of a network."""
    from archgym.simulators.accelerator.networks import load_network

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
    model: Annotated[Path, typer.Argument(help="An ONNX model.")],
    out: Annotated[Path, typer.Option("--out", help="The table of layers to write (.csv).")],
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size", help="Size of a named dimension of the inputs: batch=1. Repeatable."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a table of layers of an ONNX model.

    Use it as a workload: archgym search accelerator --workload FILE.csv. Needs archgym[onnx].
    """
    from archgym.cli.options.values import assignments
    from archgym.files.storage import write_atomic
    from archgym.simulators.accelerator.networks import read_network
    from archgym.simulators.accelerator.onnx_model import read_onnx

    sizes = {}
    for name, text in assignments("--size", size or ()).items():
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:10]) <= 10**9):
            raise InvalidArgumentError(f"`--size` must be a whole number above 0; got {text!r}.")
        sizes[name] = int(text)
    if out.suffix != ".csv":
        raise InvalidArgumentError(f"`--out` must name a .csv file; got {str(out)!r}.")
    if out.exists():
        raise InvalidArgumentError(f"`--out` must not exist; {out} does. Choose another name.")
    found = read_onnx(model, sizes)
    with TemporaryDirectory() as folder:
        # Read back before anything is written: a layer may be larger than the model counts.
        path = Path(folder) / model.with_suffix(".csv").name
        path.write_text(found.table, encoding="utf-8")
        network = read_network(path)
    write_atomic(out, found.table)
    for kind, n in found.skipped.items():
        warn(f"{n} nodes {kind} multiply and are left out.")
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
