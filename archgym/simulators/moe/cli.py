"""Commands `archgym moe`: models and hardware of mixture-of-experts serving, and its speed."""

from typing import Annotated, Any

import typer

from archgym.cli.kit import (
    InvalidArgumentError,
    JsonOption,
    further_assignments,
    number,
    say,
    table,
    write_json,
)

_OWN = {
    **{name: f"--{name}" for name in ("model", "hardware", "engine", "precision", "clients")},
    "lengths": "--prompt and --output",
}
commands = typer.Typer()
moe_app = typer.Typer(
    name="moe",
    no_args_is_help=True,
    rich_markup_mode=None,
)
commands.add_typer(moe_app)


@moe_app.callback()
def _group() -> None:
    """List models and hardware of mixture-of-experts serving, and predict its speed."""


@moe_app.command()
def models(json: JsonOption = False) -> None:
    """List the described models with the sizes of their weights."""
    from archgym.simulators.moe.workloads.presets import model, model_names

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
        for item in map(model, model_names())
    ]
    _write(rows, json, "Weights, keys and values have 16 bits.")


@moe_app.command()
def hardware(json: JsonOption = False) -> None:
    """List the described servers."""
    from archgym.simulators.moe.machine.hardware import node, node_names

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
        for item in map(node, node_names())
    ]
    _write(rows, json, "Figures are per accelerator and per direction.")


def _write(rows: list[dict[str, Any]], as_json: bool, note: str) -> None:
    """Write records as JSON, or as a table without their sources and a note on it."""
    if as_json:
        write_json(rows)
        return
    columns = [name for name in rows[0] if name != "source"]
    cells = [
        [row[name] if isinstance(row[name], str) else number(row[name]) for name in columns]
        for row in rows
    ]
    # Headings of words can break between words in a wide table.
    headings = [name.replace("_gb_per_s", " GB/s").replace("_", " ") for name in columns]
    texts = [isinstance(rows[0][name], str) for name in columns]
    right = [text for text, is_text in zip(headings, texts, strict=True) if not is_text]
    table(headings, cells, right=right)
    say(f"{note} Use --json for sources.")


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
        str, typer.Option("--precision", help="Format of weights of experts, or of dense networks.")
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
    Lengths are uniform from 80 % of the longest (`--option shortest=0.8`).
    """
    from archgym.cli.kit import announce_compilation
    from archgym.simulators.kit import default_workload, make_simulator
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
        **further_assignments("--option", option or (), _OWN),
    }
    simulator = make_simulator(MoeSimulator, "closed-loop", None, options)
    design = {
        **simulator.space.default,
        "tensor": tensor,
        "data": data,
        "kv_bits": kv_bits,
    }
    if "spread" in simulator.space.names:
        design["spread"] = "yes" if spread else "no"
    elif spread:
        raise InvalidArgumentError(f"--spread needs a model with experts; {name} is dense.")
    found = simulator.evaluate(design, simulator.workload(default_workload(simulator)))
    if found.infeasible is not None:
        raise InvalidArgumentError(
            f"The server must hold the model and its longest request: {found.infeasible}. Use "
            "more GPUs (--tensor), fewer bits (--precision) or shorter requests."
        )
    names = ("ttft_mean_ms", "tpot_mean_ms", "output_per_s", "memory_gb", "n_gpus")
    per_gpu = {"output_per_s_and_gpu": found["output_per_s"] / found["n_gpus"]}
    values = {key: found[key] for key in names} | per_gpu
    if json:
        write_json(values)
        return
    table(
        ["what", "value"], [[key, number(value)] for key, value in values.items()], right=["value"]
    )
