"""Commands `archgym moe`: models and hardware of mixture-of-experts serving, and its speed."""

from contextlib import suppress
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
    Lengths are uniform from 80 % of the longest, as InferenceX's clients draw them.
    """
    from archgym.cli.kit import announce_compilation
    from archgym.simulators.kit import default_workload
    from archgym.simulators.moe.intervals import interval, news
    from archgym.simulators.moe.sizing import simulator_of

    announce_compilation()
    options = {
        "model": name,
        "hardware": hardware,
        "engine": engine,
        "precision": precision,
        "clients": str(clients),
        "lengths": f"{prompt}+{output}",
        **further_assignments("--option", option or (), _OWN),
    }
    simulator = simulator_of(options)
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
    new = news(simulator)
    names = (
        "ttft_mean_ms", "ttft_server_ms", "ttft_queue_ms", "ttft_prefill_ms", "tpot_mean_ms",
        "output_per_s", "memory_gb", "n_gpus",
    )  # fmt: skip
    per_gpu = {"output_per_s_and_gpu": found["output_per_s"] / found["n_gpus"]}
    values = {key: found[key] for key in names} | per_gpu
    ends = {key: interval(simulator, key, values[key]) for key in ("ttft_mean_ms", "tpot_mean_ms")}
    if json:
        write_json({**values, "interval_90": ends, "not_measured": list(new)})
        return
    table(
        ["what", "value", "90 % interval"],
        [
            [key, number(value), " to ".join(map(number, ends[key])) if key in ends else ""]
            for key, value in values.items()
        ],
        right=["value"],
    )
    say(f"Intervals are those{_not_measured(new) or ' of what was measured'}.")


def _not_measured(new: tuple[str, ...]) -> str:
    """Return what no constants were fitted to, as an addition to a sentence."""
    return f" for a {', '.join(new)} without measurements" if new else ""


_UNITS_MS = {"ms": 1.0, "s": 1000.0}


def _milliseconds(name: str, text: str) -> float:
    """Return a time such as 30ms or 2s [ms]."""
    unit = "ms" if text.endswith("ms") else text[-1:]
    try:
        value = float(text.removesuffix(unit)) * _UNITS_MS[unit]
    except (KeyError, ValueError):
        value = 0.0
    if not 0.0 < value < 1e9:
        raise InvalidArgumentError(f"`--{name}` must be a time such as 30ms or 2s; got {text!r}.")
    return value


@moe_app.command()
def size(
    name: Annotated[
        str, typer.Option("--model", help="Model, or the path of a Hugging Face config.json.")
    ],
    hardware: Annotated[str, typer.Option("--hardware", help="Server of each replica.")],
    rate: Annotated[float, typer.Option("--rate", help="Requests a second.", min=1e-6)],
    prompt: Annotated[int, typer.Option("--prompt", help="Longest prompt, in tokens.", min=1)],
    output: Annotated[int, typer.Option("--output", help="Longest output, in tokens.", min=1)],
    ttft_p99: Annotated[
        str, typer.Option("--ttft-p99", help="Time to the first token that 99 % meet.")
    ] = "2s",
    tpot_p99: Annotated[
        str, typer.Option("--tpot-p99", help="Time per further token that 99 % meet.")
    ] = "50ms",
    engine: Annotated[
        str, typer.Option("--engine", help="Serving engine to model, or a file with one.")
    ] = "vllm",
    precision: Annotated[
        str, typer.Option("--precision", help="Format of weights of experts, or of dense networks.")
    ] = "fp8",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            help="Further option of the simulator, such as gpu_usd_per_hour=2; repeat for more.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Size a fleet: replicas, settings, dollars and headroom for a load and two targets.

    Requests come at random (Poisson) and spread over the replicas. Lengths are uniform from 80 %
    of the longest.
    """
    from archgym.cli.kit import announce_compilation
    from archgym.simulators.moe.intervals import interval, news
    from archgym.simulators.moe.metrics import UNDERSTATED
    from archgym.simulators.moe.sizing import simulator_of
    from archgym.simulators.moe.sizing import size as sized

    announce_compilation()
    options = {
        "model": name, "hardware": hardware, "engine": engine, "precision": precision,
        "lengths": f"{prompt}+{output}",
        **further_assignments("--option", option or (), {**_OWN, "request_rate": "--rate"}),
    }  # fmt: skip
    targets = _milliseconds("ttft-p99", ttft_p99), _milliseconds("tpot-p99", tpot_p99)
    found = sized(options, rate, *targets)
    # Without a release: what a user writes is what intervals were learned on.
    simulator = simulator_of({**options, "request_rate": str(rate)})
    later = [interval(simulator, metric, 1.0)[1] for metric in ("ttft_p99_ms", "tpot_p99_ms")]
    careful: int | None = None
    with suppress(InvalidArgumentError):
        careful = sized(options, rate, targets[0] / later[0], targets[1] / later[1]).n_gpus
    shown = (
        "ttft_p99_ms", "ttft_server_ms", "ttft_queue_ms", "ttft_prefill_ms", "tpot_p99_ms",
        "output_per_s", "usd_per_mtoken", "usd_per_mtoken_input", "usd_per_mtoken_output",
        "watts", "tokens_per_joule",
    )  # fmt: skip
    values: dict[str, Any] = {
        "replicas": found.replicas,
        "accelerators": found.n_gpus,
        **{key: found.design[key] for key in ("tensor", "data", "spread") if key in found.design},
        "capacity_per_replica_per_s": found.capacity_per_s,
        "headroom_percent": found.headroom_percent,
        "breaks_first": found.breaks_first,
        **{key: found.metrics[key] for key in shown if key in found.metrics},
        "accelerators_at_the_ends_of_intervals": careful,
        "ttft_may_be_longer_by_percent": 100.0 * (later[0] - 1.0),
        "tpot_may_be_longer_by_percent": 100.0 * (later[1] - 1.0),
    }
    if json:
        write_json(values)
        return
    cells = {
        key: "none" if value is None else value if isinstance(value, str) else number(value)
        for key, value in values.items()
    }
    table(["what", "value"], [[key, cell] for key, cell in cells.items()])
    say(
        "Times, rates and power are those of one replica. The last rows are the ends of 90 % "
        f"intervals{_not_measured(news(simulator))}, and accelerators if times are so long."
    )
    say(f"Power is too low: {UNDERSTATED}.")
