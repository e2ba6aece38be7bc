"""Rooflines: from a model, a server and a way of serving to the times that the kernel adds up.

Whatever an accelerator does takes the longer of its bytes over the memory bandwidth that is reached
and its operations over the throughput that is reached; a kernel costs something anyway.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.moe.machine.clock import Dimensions, dimensions, engine_costs
from archgym.simulators.moe.machine.columns import COSTS
from archgym.simulators.moe.machine.engines import calibration, labels, precision_of
from archgym.simulators.moe.machine.hardware import (
    ACTIVATION_BYTES,
    COMBINE_BYTES,
    CORE_GB_PER_S,
    DISPATCH_BYTES,
    HOST_MEMORY,
    Efficiency,
    Gpu,
    NodePreset,
    efficiency,
)
from archgym.simulators.moe.workloads.models import MoeModel

if TYPE_CHECKING:
    from archgym.simulators.moe.machine.serving import Serving

_BITS_PER_BYTE: Final = 8
_NS_PER_S: Final = 1e9
_TERA: Final = 1e12


# chosen: two norms, the products before and after attention, attention itself, and the router.
LAYER_KERNELS: Final = 6
# Two norms with their residuals read two vectors and write two: 4 passes each, as AIConfigurator's
# add_norm on H100 has it.
NORM_PASSES: Final = 8


@final
@dataclass(frozen=True)
class _Rates:
    """An accelerator's rates, per ns."""

    bytes: float
    dense: float
    experts: float
    scores: float


def _rates(gpu: Gpu, reached: Efficiency, eight_bit_math: bool) -> _Rates:
    flops = gpu.bf16_tflops * _TERA / _NS_PER_S
    faster = 2.0 if eight_bit_math else 1.0
    return _Rates(
        reached.memory * gpu.memory_gb_per_s,
        reached.dense * flops * faster,
        reached.experts * flops * faster,
        # Attention's own products are of 16 bits, whatever the weights' are.
        reached.dense * flops,
    )


def layer_costs(
    model: MoeModel, node: NodePreset, serving: "Serving", contention: float = 1.0
) -> npt.NDArray[np.float64]:
    """Return the kernel's costs.

    Args:
      model: Model that is served.
      node: On what; several of them where the accelerators are more than it has.
      serving: Settings of the engine.
      contention: Time of the network's busiest link as a multiple of an average one's.

    Returns:
      (len(COSTS),) float64 by `COSTS`.
    """
    reached = serving.reached if serving.reached is not None else efficiency(node.gpu)
    rates = _rates(node.gpu, reached, serving.eight_bit_math)
    costs = dict.fromkeys(COSTS, 0.0)
    _add_attention(costs, model, serving, reached, rates)
    _add_experts(costs, model, serving, reached, rates)
    _add_host(costs, model, node, serving)
    _add_exchange(costs, model, node, serving, contention)
    if serving.engine != "ideal":
        costs |= _engine(costs, model, node, serving)
    return np.array([costs[name] for name in COSTS])


# What an engine does not change: host, drive, network and predictors.
OUTSIDE: Final = (
    "load_ns", "load_fixed_ns", "low_load_ns", "chunk_ns", "ssd_ns", "ssd_fixed_ns",
    "to_host_token_ns", "from_host_token_ns", "to_host_fixed_ns",
    "cpu_weight_ns", "cpu_token_ns", "cpu_fixed_ns",
    "inter_dispatch_token_ns", "inter_combine_token_ns", "inter_fixed_ns",
    "accuracy", "accuracy_decay", "prompt_weight_ns", "prompt_token_ns",
)  # fmt: skip


def engine_dimensions(model: MoeModel, node: NodePreset, serving: "Serving") -> Dimensions:
    """Return the sizes that an engine's costs follow from."""
    link = node.gpu_to_gpu.gb_per_s if node.gpu_to_gpu is not None else node.host_to_gpu.gb_per_s
    plain_bits = model.plain_bits(serving.attention_bits, serving.expert_bits)
    is_widened = engine_labels(model, node, serving)["format"] == "widened"
    narrower = plain_bits < serving.attention_bits
    return dimensions(
        model, node.gpu, link_gb_per_s=link, tensor=serving.tensor, data=serving.data,
        expert=serving.expert, expert_bits=serving.expert_bits,
        attention_bits=serving.attention_bits, kv_bits=serving.kv_bits, plain_bits=plain_bits,
        plain_math_bits=16.0 if narrower and is_widened else plain_bits, widens=is_widened,
    )  # fmt: skip


def engine_labels(model: MoeModel, node: NodePreset, serving: "Serving") -> dict[str, str]:
    """Return the labels that decide an engine's constants."""
    precision = serving.precision or precision_of(serving.expert_bits, node.gpu, model)
    return labels(
        model, node.gpu, serving.engine, precision,
        release=serving.release, grouped=serving.data > 1, spread=serving.expert > 1,
        polls=serving.poll_steps > 1,
    )  # fmt: skip


def _engine(
    costs: dict[str, float], model: MoeModel, node: NodePreset, serving: "Serving"
) -> dict[str, float]:
    """Return the costs that an engine's measured constants replace."""
    known = calibration().constants(engine_labels(model, node, serving))
    known = known._replace(**dict(serving.constants))
    sizes = engine_dimensions(model, node, serving)
    found = dict(zip(COSTS, engine_costs(sizes, known, serving.graphs).tolist(), strict=True))
    found["layer_ns"] += serving.layer_software_ns
    found["step_ns"] += serving.step_software_ns
    return {name: value for name, value in found.items() if name not in OUTSIDE}


def _add_attention(
    costs: dict[str, float],
    model: MoeModel,
    serving: "Serving",
    reached: Efficiency,
    rates: _Rates,
) -> None:
    tensor = serving.tensor
    byte = serving.attention_bits / _BITS_PER_BYTE
    hidden_bytes = model.hidden * ACTIVATION_BYTES

    plain_byte = model.plain_bits(serving.attention_bits, serving.expert_bits) / _BITS_PER_BYTE

    def weight(parameters: float, byte: float = byte) -> float:
        return parameters / tensor * byte / rates.bytes

    def token(parameters: float) -> float:
        return 2.0 * parameters / tensor / rates.dense

    attention = model.attention_parameters + model.router_parameters
    if model.latent is None:
        score_size = 2.0 * model.heads * model.head_size
    else:
        latent = model.latent
        score_size = model.heads * (latent.nope_size + latent.rope_size + latent.value_size)
    kv_bytes = model.kv_bytes_per_token(serving.kv_bits) / model.layers
    vocabulary = model.vocabulary * model.hidden
    costs |= {
        "layer_ns": LAYER_KERNELS * reached.launch_ns + serving.layer_software_ns,
        "attention_weight_ns": weight(attention),
        "attention_token_ns": token(attention),
        "norm_token_ns": NORM_PASSES * hidden_bytes / rates.bytes,
        "context_ns": kv_bytes / model.kv_shares(tensor) / rates.bytes,
        "pair_ns": 2.0 * score_size / tensor / rates.scores,
        "dense_weight_ns": weight(model.dense_parameters, plain_byte),
        "dense_token_ns": token(model.dense_parameters),
        "shared_weight_ns": weight(model.shared_parameters),
        "shared_token_ns": token(model.shared_parameters),
        "head_weight_ns": weight(vocabulary),
        "head_token_ns": token(vocabulary),
        "step_ns": serving.step_software_ns,
    }


def _add_experts(
    costs: dict[str, float],
    model: MoeModel,
    serving: "Serving",
    reached: Efficiency,
    rates: _Rates,
) -> None:
    share = 1.0 if serving.expert > 1 else float(serving.tensor)
    parameters = model.expert_parameters / share
    inner = model.expert_inner / share
    moved = ACTIVATION_BYTES * (reached.passes * model.hidden + 3 * inner)
    costs |= {
        "experts_ns": reached.kernel_ns,
        "launch_ns": reached.launch_ns,
        "expert_weight_ns": parameters * serving.expert_bits / _BITS_PER_BYTE / rates.bytes,
        "expert_token_ns": 2.0 * parameters / rates.experts,
        "routed_token_ns": moved / rates.bytes,
        "accuracy": serving.accuracy,
        "accuracy_decay": serving.accuracy_decay,
    }


def _add_host(
    costs: dict[str, float], model: MoeModel, node: NodePreset, serving: "Serving"
) -> None:
    expert_bytes = model.expert_bytes(serving.expert_bits)
    low_bits = serving.low_bits if serving.low_bits else serving.expert_bits
    vector_bytes = model.hidden * ACTIVATION_BYTES
    to_gpu, to_host, drive, host = node.host_to_gpu, node.gpu_to_host, node.ssd, node.host
    # Where accelerators hold a slice of each expert, each loads its own over its own link.
    slices = 1 if serving.spreads_experts else serving.tensor
    loads_gb_per_s = to_gpu.gb_per_s
    if not serving.pinned:
        loads_gb_per_s = 1.0 / (1.0 / to_gpu.gb_per_s + 1.0 / CORE_GB_PER_S)
    host_gb_per_s, gflops = HOST_MEMORY * host.memory_gb_per_s, host.gflops
    if serving.cpu_cores and host.cores:
        cores = min(serving.cpu_cores, host.cores)
        host_gb_per_s = min(host_gb_per_s, cores * CORE_GB_PER_S)
        gflops *= cores / host.cores
    chunk_bytes = serving.chunk_kib * 1024
    costs |= {
        "load_ns": expert_bytes / slices / loads_gb_per_s,
        "load_fixed_ns": to_gpu.latency_ns,
        "low_load_ns": model.expert_bytes(low_bits) / slices / loads_gb_per_s,
        "chunk_ns": chunk_bytes / loads_gb_per_s,
        "ssd_ns": expert_bytes / drive.gb_per_s,
        "ssd_fixed_ns": drive.latency_ns,
        "to_host_token_ns": vector_bytes / to_host.gb_per_s,
        "from_host_token_ns": vector_bytes / to_gpu.gb_per_s,
        "to_host_fixed_ns": to_host.latency_ns,
        "cpu_weight_ns": expert_bytes / host_gb_per_s,
        "cpu_token_ns": 2.0 * model.expert_parameters / gflops,
        "cpu_fixed_ns": serving.cpu_software_ns,
    }


def _add_exchange(
    costs: dict[str, float],
    model: MoeModel,
    node: NodePreset,
    serving: "Serving",
    contention: float,
) -> None:
    tensor, expert = serving.tensor, serving.expert
    if serving.n_gpus == 1 or node.gpu_to_gpu is None:
        return
    inside = node.gpu_to_gpu
    vector = model.hidden
    if tensor > 1:
        # A ring reduces and gathers: each passes (t - 1) / t of the vector.
        passed = 2.0 * (tensor - 1) / tensor * vector * ACTIVATION_BYTES
        costs["reduce_token_ns"] = passed / inside.gb_per_s
        costs["reduce_fixed_ns"] = 2.0 * inside.latency_ns
        # Slices of experts are added up as those of attention are.
        costs["gather_token_ns"] = costs["reduce_token_ns"]
        costs["gather_fixed_ns"] = costs["reduce_fixed_ns"]
    if expert == 1:
        return
    n_servers = -(-serving.n_gpus // node.n_gpus)
    # The accelerators and servers that hold an expert of a token, if experts spread evenly.
    gpus = expert * (1.0 - (1.0 - 1.0 / expert) ** model.top_k)
    inside_copies = gpus * (1.0 - 1.0 / min(node.n_gpus, serving.n_gpus)) / tensor
    costs["intra_dispatch_token_ns"] = inside_copies * vector * DISPATCH_BYTES / inside.gb_per_s
    costs["intra_combine_token_ns"] = inside_copies * vector * COMBINE_BYTES / inside.gb_per_s
    costs["intra_fixed_ns"] = inside.latency_ns
    if n_servers > 1 and node.network is not None:
        servers = n_servers * (1.0 - (1.0 - 1.0 / n_servers) ** model.top_k)
        copies = servers * (1.0 - 1.0 / n_servers) / tensor * contention
        costs["inter_dispatch_token_ns"] = copies * vector * DISPATCH_BYTES / node.network.gb_per_s
        costs["inter_combine_token_ns"] = copies * vector * COMBINE_BYTES / node.network.gb_per_s
        costs["inter_fixed_ns"] = node.network.latency_ns
