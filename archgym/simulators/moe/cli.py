"""Commands `archgym moe`: models, hardware and routing of mixture-of-experts serving."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.terminal import notice, number, say, table, write_json
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import assignments, named_path
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.simulators.moe.workloads.routing import Routing

commands = typer.Typer()
moe_app = typer.Typer(
    name="moe",
    help="Inspect models, hardware and routing of mixture-of-experts serving.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
commands.add_typer(moe_app)


@moe_app.callback()
def _group() -> None:
    """Inspect models, hardware and routing of mixture-of-experts serving."""


def _say_progress(text: str) -> None:
    notice(f"{text} …")


OutOption = Annotated[
    Path,
    typer.Option(
        "--out", help="Routing trace to write (.routing.npz).", parser=named_path, metavar="FILE"
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Random seed of the trace.", min=0)]


@moe_app.command()
def models(json: JsonOption = False) -> None:
    """List the described models with the sizes of their weights."""
    from archgym.simulators.moe.machine.presets import model, model_names

    found = [model(name) for name in model_names()]
    rows = [
        {
            "model": item.name,
            "layers": item.layers,
            "moe_layers": item.moe_layers,
            "experts": item.experts,
            "top_k": item.top_k,
            "expert_mb": item.expert_bytes() / 1e6,
            "experts_gb": item.moe_layers * item.experts * item.expert_bytes() / 1e9,
            "rest_gb": item.other_bytes() / 1e9,
            "active_billion": item.active_parameters / 1e9,
            "kv_bytes_per_token": item.kv_bytes_per_token(),
            "routing": item.routing,
            "source": item.source,
        }
        for item in found
    ]
    if json:
        write_json(rows)
        return
    _write(rows, ("source",))
    say("Weights, keys and values have 16 bits. Use --json for sources.")


@moe_app.command()
def hardware(json: JsonOption = False) -> None:
    """List the described servers."""
    from archgym.simulators.moe.machine.hardware import node, node_names

    found = [node(name) for name in node_names()]
    rows = [
        {
            "hardware": item.name,
            "gpu": item.gpu.name,
            "n_gpus": item.n_gpus,
            "bf16_tflops": item.gpu.bf16_tflops,
            "memory_gb_per_s": item.gpu.memory_gb_per_s,
            "memory_gb": item.gpu.memory_gb,
            "host_to_gpu_gb_per_s": item.host_to_gpu.gb_per_s,
            "gpu_to_gpu_gb_per_s": item.gpu_to_gpu.gb_per_s if item.gpu_to_gpu else None,
            "network_gb_per_s": item.network.gb_per_s if item.network else None,
            "host_memory_gb": item.host.memory_gb,
            "ssd_gb_per_s": item.ssd.gb_per_s,
            "source": item.gpu.source,
        }
        for item in found
    ]
    if json:
        write_json(rows)
        return
    _write(rows, ("source",))
    say("Figures are per accelerator and per direction. Use --json for sources.")


def _write(rows: list[dict[str, Any]], left_out: tuple[str, ...] = ()) -> None:
    """Write records as a table."""
    columns = [name for name in rows[0] if name not in left_out]
    cells = [
        [row[name] if isinstance(row[name], str) else number(row[name]) for name in columns]
        for row in rows
    ]
    # Headings of words can break between words in a wide table.
    headings = [name.replace("_gb_per_s", " GB/s").replace("_", " ") for name in columns]
    texts = [isinstance(rows[0][name], str) for name in columns]
    right = [text for text, is_text in zip(headings, texts, strict=True) if not is_text]
    table(headings, cells, right=right)


@moe_app.command()
def generate(
    out: OutOption,
    model: Annotated[
        str, typer.Option("--model", help="Model name or file, for its layers and routing.")
    ] = "qwen3-30b-a3b",
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="Routing preset or file (default: that of the model)."),
    ] = None,
    documents: Annotated[
        int, typer.Option("--documents", help="Number of documents to draw.", min=1)
    ] = 64,
    tokens: Annotated[
        int, typer.Option("--tokens", help="Number of tokens per document.", min=1)
    ] = 512,
    layers: Annotated[
        int | None,
        typer.Option(
            "--layers",
            help="Number of layers with experts (default: that of the model).",
            min=1,
            max=1000,
        ),
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Draw a routing trace from a calibrated process."""
    from dataclasses import replace

    from archgym.cli.console.progress import announce_compilation
    from archgym.simulators.moe.formats.routing_trace import check_ending, write_routing
    from archgym.simulators.moe.machine.presets import model as find_model
    from archgym.simulators.moe.workloads.routing import check_size, routing_preset
    from archgym.simulators.moe.workloads.routing import generate as draw

    check_ending(out)
    described = find_model(model)
    process = routing_preset(preset or described.routing)
    if preset is None:
        # Models may share the routing of another number of experts.
        process = replace(process, n_experts=described.experts, top_k=described.top_k)
    n_layers = layers or described.moe_layers
    # Checked before a list of so many documents is made.
    check_size(documents * tokens, n_layers, process.top_k)
    announce_compilation()
    routing = draw(process, seed, [tokens] * documents, n_layers)
    write_routing(out, routing)
    _say_routing(routing, out, json)


def _say_routing(routing: "Routing", path: Path, json: bool) -> None:
    summary = {
        "path": str(path),
        "documents": routing.n_documents,
        "tokens": routing.n_tokens,
        "layers": routing.n_layers,
        "experts": routing.n_experts,
        "top_k": routing.top_k,
        "digest": routing.digest,
    }
    if json:
        write_json(summary)
        return
    say(
        f"{path}: {routing.n_documents:,} documents, {routing.n_tokens:,} tokens, "
        f"{routing.n_layers} layers, {routing.top_k} of {routing.n_experts} experts."
    )


@moe_app.command()
def accuracy(
    reference: Annotated[
        Path, typer.Option("--reference", help="Folder with measured serving.", metavar="FOLDER")
    ],
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            help="Draw measured over predicted values into this .png, .svg or .pdf file.",
            parser=named_path,
            metavar="FILE",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show errors of the clock on measured serving, by model, GPU and engine.

    Each table fits the constants again without the rows that it predicts.
    """
    from archgym.cli.commands.validate import evidence_of
    from archgym.cli.console.progress import announce_compilation
    from archgym.cli.views.validation import write_error_tables
    from archgym.report.plots import check_plot

    if picture is not None:
        check_plot("--picture", picture)
    announce_compilation()
    evidence = evidence_of("moe")
    tables = evidence.serving_accuracy(reference, _say_progress)
    if picture is not None:
        evidence.draw_accuracy(reference, picture, _say_progress)
    if json:
        write_json([found.to_json() for found in tables])
        return
    write_error_tables(tables)
    if picture is not None:
        say(f"Picture: {picture}")


@moe_app.command()
def serve(
    name: Annotated[
        str, typer.Option("--model", help="Model, or the path of a Hugging Face config.json.")
    ] = "gpt-oss-120b",
    hardware: Annotated[
        str, typer.Option("--hardware", help="Server that hosts the model.")
    ] = "hgx-h200",
    engine: Annotated[
        str, typer.Option("--engine", help="Serving engine to model, or a file with one.")
    ] = "vllm",
    precision: Annotated[
        str, typer.Option("--precision", help="Format of the experts' weights.")
    ] = "fp8",
    tensor: Annotated[int, typer.Option("--tensor", help="GPUs that share attention.", min=1)] = 1,
    data: Annotated[int, typer.Option("--data", help="Groups of those.", min=1)] = 1,
    spread: Annotated[
        bool, typer.Option("--spread", help="Spread whole experts over GPUs instead of slices.")
    ] = False,
    kv_bits: Annotated[int, typer.Option("--kv-bits", help="Bits of a key or value.")] = 16,
    clients: Annotated[int, typer.Option("--clients", help="Requests in flight.", min=1)] = 16,
    prompt: Annotated[int, typer.Option("--prompt", help="Longest prompt, in tokens.", min=1)] = (
        1024
    ),
    output: Annotated[int, typer.Option("--output", help="Longest output, in tokens.", min=1)] = (
        1024
    ),
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            help="Further option of the simulator, such as draft_tokens=1; repeat for more.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Predict a closed-loop benchmark: TTFT, TPOT and tokens per second.

    This is `archgym evaluate moe --space closed-loop` with the engine's defaults, in few words.
    """
    from archgym.cli.console.progress import announce_compilation
    from archgym.evaluation.factory import make_simulator
    from archgym.simulators.moe.simulator import MoeSimulator

    announce_compilation()
    options = {
        "model": name,
        "hardware": hardware,
        "engine": engine,
        "precision": precision,
        "clients": str(clients),
        "lengths": f"{prompt}+{output}",
        "shortest": "0.8",
        **assignments("--option", option or ()),
    }
    simulator = make_simulator(MoeSimulator, "closed-loop", None, options)
    design = {
        **simulator.space.design_at(simulator.space.default_indices),
        "tensor": tensor,
        "data": data,
        "spread": "yes" if spread else "no",
        "kv_bits": kv_bits,
    }
    found = simulator.evaluate(design, simulator.workload(simulator.default_workload))
    if found.infeasible is not None:
        raise InvalidArgumentError(
            f"The server must hold the model and its longest request: {found.infeasible}. Use "
            "more GPUs (--tensor), fewer bits (--precision) or shorter requests."
        )
    shown = ("ttft_mean_ms", "tpot_mean_ms", "output_per_s", "memory_gb", "n_gpus")
    values = {key: found[key] for key in shown}
    values["output_per_s_and_gpu"] = found["output_per_s"] / found["n_gpus"]
    if json:
        write_json(values)
        return
    table(
        ["what", "value"], [[key, number(value)] for key, value in values.items()], right=["value"]
    )
