"""Commands `archgym moe`: models and hardware of mixture-of-experts serving."""

from typing import Any

import typer

from archgym.cli.console.terminal import number, say, table, write_json
from archgym.cli.options.task import JsonOption

commands = typer.Typer()
moe_app = typer.Typer(
    name="moe",
    no_args_is_help=True,
    rich_markup_mode=None,
)
commands.add_typer(moe_app)


@moe_app.callback()
def _group() -> None:
    """List models and hardware of mixture-of-experts serving."""


@moe_app.command()
def models(json: JsonOption = False) -> None:
    """List the described models with the sizes of their weights."""
    from archgym.simulators.moe.machine.presets import model, model_names

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
