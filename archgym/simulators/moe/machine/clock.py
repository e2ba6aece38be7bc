"""Costs of a serving engine: from dimensions and constants to what both clocks add up.

The arithmetic is that of a roofline with launches: bytes over the bandwidth that is reached,
operations over the peak that is reached, a fixed time for each kernel and each all-reduce, and
software time for each step and sequence. Every argument may be a number or an array with one entry
per deployment, so that a fit evaluates all deployments at once.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.simulators.moe.machine.columns import COSTS
from archgym.simulators.moe.machine.hardware import (
    ACTIVATION_BYTES,
    COMBINE_BYTES,
    DISPATCH_BYTES,
    Gpu,
)
from archgym.simulators.moe.workloads.models import MoeModel

Number = Any  # float, or an array of one entry per deployment

_GIGA: Final = 1e3  # TFLOP/s to FLOP/ns
# Share of the memory bandwidth that norms, the output head and copies of activations reach:
# 0.75 to 0.85 is measured on four GPUs (AIConfigurator, LLMServingSim).
_STREAM: Final = 0.8
# Share of the 16-bit peak that products of 64 MB of weights and 1,024 to 8,192 tokens reach: the
# median of six GPUs (0.58 on L40S to 0.84 on RTX PRO 6000; the same tables).
_LARGE_PRODUCTS: Final = 0.78
# Two norms with their residuals read two vectors and write two each (AIConfigurator, add_norm).
_NORM_PASSES: Final = 8
# A routed copy of a token is written, read and reduced once.
_COPY_PASSES: Final = 3
# Share of the 16-bit peak that decoding reaches in multi-head latent attention, where 128 heads
# share one key: 0.4 on H100 and B200 (kernel tables, 128 heads, batches of 64 and more).
_LATENT_DECODE: Final = 0.4
# A collective over n GPUs costs the floor of two GPUs once, and a quarter more per doubling:
# custom all-reduce tables go from 2.4 us (2 GPUs) to 3.3 us (8 GPUs) on H100.
_FLOOR_BASE, _FLOOR_PER_DOUBLING = 0.5, 0.25
# Gathers and scatters of groups run over NCCL's ring, whose floor grows with each GPU: 1.6, 2.1 and
# 3.1 times the custom all-reduce of four on 2, 4 and 8 GPUs (H100, H200 and B200 alike). Many GPUs
# send tokens to experts instead: 10 to 16 us with DeepEP's kernels for few tokens, 3 times.
_RING_BASE, _RING_PER_GPU, _RING_MOST = 1.1, 0.25, 3.0
# Kernels of prompts that run without captured graphs: the experts' sorting and products too.
_EXPERT_KERNELS: Final = 5
# Linear attention reads prompts in chunks: norms of queries and keys, sums of gates, products of
# keys, their inverse, its two products, states, and outputs, in place of one kernel of decoding
# (flash-linear-attention, `chunk_gated_delta_rule_fwd`).
_CHUNK_KERNELS: Final = 7
# Widening weights takes multiprocessors time: H200, whose memory is 1.43 times as fast as that of
# H100 with the same 132 of them, gains 1.12 (tables of sliced experts, TensorRT-LLM 1.3: 79 and
# 62 % of the bandwidth; experiments/moe-errors.md). The rate of each is that of H100 [GB/s].
_WIDENED_EACH: Final = 3350 / 132
_WIDENING: Final = 0.67
_LEAST: Final = 2.0
# Datasheet rule of fixed times: shorter on larger dies, by the 16-bit peak. The peak is that of
# H100. Tables of dense products of at most 16 tokens in 16 bits (AIConfigurator; SGLang 0.5.14,
# TensorRT-LLM 1.3, vLLM 0.24) have least times of 3.5 us on L40S, 3.5 us on RTX PRO 6000, 3.3 us on
# H100, 3.4 us on H200 and 2.7 us on B200; memory, in which H100 and H200 differ, has no effect.
_REFERENCE_PEAK, _FIXED_EXPONENT = 989e3, 0.15


class Constants(NamedTuple):
    """Constants of an engine on a GPU, numbers or arrays; see `engines` for their values.

    Attributes:
      dense_memory: Share of the memory bandwidth that dense products reach.
      expert_memory: Share that fused experts reach.
      cache_memory: Share that decode attention reaches on keys and values.
      dense_flops: Share of the peak that dense products reach.
      expert_flops: Share that fused experts reach.
      padded_flops: Share of the peak that experts' products reach which are padded to whole tiles.
      attention_flops: Share of the 16-bit peak that prompt attention reaches.
      kernel_ns: One small kernel in a captured graph, on a die of H100's size [ns].
      experts_ns: Fixed time of a layer's fused experts, on a die of H100's size [ns].
      reduce_ns: Floor of an all-reduce over four GPUs [ns].
      link: Share of the link bandwidth that collectives reach.
      step_ns: Software time of a step [ns].
      sequence_ns: Software time of a sequence in a step [ns].
      prompt_step_ns: Further software time of a step with prompt tokens [ns].
      prompt_kernel_ns: Launch of one kernel outside captured graphs, in steps with prompts [ns].
      first_ns: Request handling before a prompt can be scheduled [ns].
      wait_steps: Steps that a new request waits for scheduling and delivery.
    """

    dense_memory: Number
    expert_memory: Number
    cache_memory: Number
    dense_flops: Number
    expert_flops: Number
    padded_flops: Number
    attention_flops: Number
    kernel_ns: Number
    experts_ns: Number
    reduce_ns: Number
    link: Number
    step_ns: Number
    sequence_ns: Number
    prompt_step_ns: Number
    prompt_kernel_ns: Number
    first_ns: Number
    wait_steps: Number


CONSTANT_NAMES: Final = Constants._fields


class Dimensions(NamedTuple):
    """Sizes of a deployment, numbers or arrays. Weights are those of one layer.

    Attributes:
      bandwidth: Memory bandwidth of a GPU [bytes/ns].
      expert_bandwidth: Of that, what kernels of experts can use [bytes/ns].
      peak_dense, peak_experts, peak_wide: Peaks of dense products, experts, 16 bits [FLOP/ns].
      peak_plain: Peak of the products of plain feed-forward networks [FLOP/ns].
      link: Bandwidth between GPUs, one direction [bytes/ns].
      tensor, data: GPUs that share attention, and groups of those.
      slices: GPUs that share an expert.
      hidden: Size of a token's vector.
      attention, dense, shared, expert, head: Weights.
      attention_bytes, expert_bytes, plain_bytes: Bytes of a weight.
      context_bytes: Bytes of keys and values that a token of context costs a GPU, layer average.
      sequence_bytes: Bytes that a sequence costs a GPU whatever its context, layer average.
      pair_flops: Operations of a pair of prompt token and context on a GPU, layer average.
      decode_flops: Operations of a token of context in decoding on a GPU, layer average.
      kernels: Small kernels of a layer.
      prompt_launches: Kernels of a layer in steps with prompts, experts included.
      further_reduces: All-reduces of a layer beyond two.
      inner: Inner size of an expert.
      top_k: Experts that a token uses.
      least_share: Least share of the memory bandwidth that dense products reach.
      least_flops: Least share of the peak that dense products reach.
    """

    bandwidth: Number
    expert_bandwidth: Number
    peak_dense: Number
    peak_experts: Number
    peak_wide: Number
    peak_plain: Number
    link: Number
    tensor: Number
    data: Number
    slices: Number
    hidden: Number
    attention: Number
    dense: Number
    shared: Number
    expert: Number
    head: Number
    attention_bytes: Number
    expert_bytes: Number
    plain_bytes: Number
    context_bytes: Number
    sequence_bytes: Number
    pair_flops: Number
    decode_flops: Number
    kernels: Number
    prompt_launches: Number
    further_reduces: Number
    inner: Number
    top_k: Number
    least_share: Number
    least_flops: Number


def kernels(model: MoeModel, attention_bits: float) -> int:
    """Return the small kernels of a layer, without experts and all-reduces.

    Two norms, queries with keys and values, rotation with the cache, attention, output, router and
    top-k; then norms of queries, quantisation of two activations, what latent and linear attention
    add, and shared experts.

    Source:
      Kernels of a decode step of DeepSeek-R1 counted on B200 and MI355X (InferenceX, issue 863):
      16 and 27 a layer, of which these are 15 and 20.
    """
    is_narrow = attention_bits < 16
    # A dense model has no router and top-k, but two products and an activation.
    found = (8 if model.moe_layers else 9) + (model.query_norm != "none") + 2 * is_narrow
    if model.latent is not None:
        found += 5
    if model.linear is not None:
        found += 3
    if model.shared_inner:
        found += 3 + is_narrow
    return found


def _widening_gb_per_s(gpu: Gpu) -> float:
    """Return the bandwidth of memory that kernels which widen weights can use [GB/s]."""
    if not gpu.multiprocessors:
        return gpu.memory_gb_per_s
    each = gpu.memory_gb_per_s / gpu.multiprocessors
    return float(gpu.memory_gb_per_s * min(1.0, _WIDENED_EACH / each) ** _WIDENING)


def dimensions(
    model: MoeModel,
    gpu: Gpu,
    *,
    link_gb_per_s: float,
    tensor: int,
    data: int,
    expert: int,
    expert_bits: float,
    attention_bits: float,
    kv_bits: float,
    plain_bits: float,
    plain_math_bits: float,
    widens: bool,
) -> Dimensions:
    """Return the sizes of a model on equal GPUs.

    Args:
      model: Model that is served.
      gpu: Each GPU.
      link_gb_per_s: Bandwidth from one GPU to the others [GB/s].
      tensor: GPUs that share attention.
      data: Groups of those with requests of their own.
      expert: Groups of GPUs that hold different experts; 1 where all hold slices of each.
      expert_bits: Bits of an expert's weight.
      attention_bits: Bits of any other weight but those of plain networks.
      kv_bits: Bits of a key or value.
      plain_bits: Bits of a plain feed-forward network's weight.
      plain_math_bits: Bits in which its products are computed.
      widens: True if experts of 4 bits are computed in 16.
    """
    n_gpus = tensor * data
    heads_shared = model.kv_shares(tensor)
    full = model.full_layers / model.layers
    row_bytes = model.kv_row_size * kv_bits / 8 / heads_shared
    sequence_bytes = (1.0 - full) * model.window * row_bytes
    if model.linear is not None:
        # A state of 32 bits is read and written.
        sequence_bytes = (1.0 - full) * 2 * 4 * model.linear.state_size / tensor
    return Dimensions(
        bandwidth=gpu.memory_gb_per_s,
        expert_bandwidth=_widening_gb_per_s(gpu) if widens else gpu.memory_gb_per_s,
        peak_dense=gpu.tflops(attention_bits) * _GIGA,
        peak_experts=gpu.tflops(expert_bits) * _GIGA,
        peak_wide=gpu.bf16_tflops * _GIGA,
        peak_plain=gpu.tflops(plain_math_bits) * _GIGA,
        link=link_gb_per_s,
        tensor=float(tensor),
        data=float(data),
        slices=n_gpus / expert,
        hidden=float(model.hidden),
        attention=float(model.attention_parameters + model.router_parameters),
        dense=float(model.dense_parameters),
        shared=float(model.shared_parameters),
        expert=float(model.expert_parameters),
        head=float(model.vocabulary * model.hidden),
        attention_bytes=attention_bits / 8,
        expert_bytes=expert_bits / 8,
        plain_bytes=plain_bits / 8,
        context_bytes=full * row_bytes,
        sequence_bytes=sequence_bytes,
        pair_flops=full * 2.0 * model.score_size / tensor,
        decode_flops=full * model.decode_flops / tensor,
        kernels=float(kernels(model, attention_bits)),
        prompt_launches=kernels(model, attention_bits)
        + _EXPERT_KERNELS
        + (_CHUNK_KERNELS * (1.0 - full) if model.linear is not None else 0.0),
        further_reduces=1.0 if model.query_norm == "all" else 0.0,
        inner=float(model.expert_inner),
        top_k=float(model.top_k),
        # Products of a dense model have tens of megabytes each: tables of products of 16 tokens and
        # more reach 0.72 to 0.89 of the bandwidth with 128 MB and more, and half of it with 16 MB,
        # as mixtures of experts have them, on which the constants were fitted.
        least_share=0.0 if model.moe_layers else _STREAM,
        least_flops=0.0 if model.moe_layers else _LARGE_PRODUCTS,
    )


def _weights(parameters: Number, size: Number, share: Number, d: Dimensions) -> Number:
    return parameters / d.tensor * size / (share * d.bandwidth)


def _products(parameters: Number, share: Number, peak: Number, d: Dimensions) -> Number:
    return 2.0 * parameters / d.tensor / (share * peak)


def _floor(n_gpus: Number, reduce_ns: Number) -> Number:
    """Return the floor of an all-reduce, 0 for one GPU."""
    doublings = np.log2(np.maximum(n_gpus, _LEAST))
    return np.where(n_gpus > 1, reduce_ns * (_FLOOR_BASE + _FLOOR_PER_DOUBLING * doublings), 0.0)


def engine_costs(d: Dimensions, k: Constants, graphs: bool = True) -> npt.NDArray[np.float64]:
    """Return costs by `COSTS`: (len(COSTS),), or (n, len(COSTS)) where arguments are arrays.

    Without captured graphs every step pays for the launches that steps with prompts pay for.
    """
    n_gpus = d.tensor * d.data
    shorter = (_REFERENCE_PEAK / d.peak_wide) ** _FIXED_EXPONENT
    kernel_ns = k.kernel_ns * shorter
    stream = _STREAM * d.bandwidth
    vector = d.hidden * ACTIVATION_BYTES
    reduce_floor = _floor(d.tensor, k.reduce_ns)
    decode = np.maximum(
        d.context_bytes / (k.cache_memory * d.bandwidth),
        d.decode_flops / (_LATENT_DECODE * d.peak_wide),
    )
    # Attention in groups gathers tokens before the experts and scatters them after.
    ring = k.reduce_ns * np.minimum(_RING_BASE + _RING_PER_GPU * n_gpus, _RING_MOST)
    gather_floor = np.where(d.data > 1, 2.0 * ring, _floor(n_gpus, k.reduce_ns))
    moved = ACTIVATION_BYTES * _COPY_PASSES * (d.hidden + d.inner / d.slices)
    reduce_token = 2.0 * (d.tensor - 1) / d.tensor * vector / (k.link * d.link)
    # Groups gather all tokens, or send each to its experts in 8 bits and get it back in 16,
    # whichever takes less (DeepEP; an all-to-all counts the tokens of one group).
    sent = d.top_k * (DISPATCH_BYTES + COMBINE_BYTES) / ACTIVATION_BYTES / d.data
    gathered = 2.0 * (n_gpus - 1) / n_gpus
    gathered = np.where(d.data > 1, np.minimum(gathered, sent), gathered)
    gather_token = gathered * vector / (k.link * d.link)
    # A row of padding: products read it in 8 bits and write it in 16; the activation between them
    # reads both halves in 16 bits and writes one in 8. Products and activation do not overlap.
    padded_row = (DISPATCH_BYTES + ACTIVATION_BYTES) * d.hidden + (
        2 * 2 * ACTIVATION_BYTES + 2 * DISPATCH_BYTES
    ) * d.inner / d.slices
    eager = k.prompt_kernel_ns * d.prompt_launches
    dense_memory = np.maximum(k.dense_memory, d.least_share)
    dense_flops = np.maximum(k.dense_flops, d.least_flops)
    costs = {
        "layer_ns": kernel_ns * d.kernels
        + d.further_reduces * reduce_floor
        + (0.0 if graphs else eager),
        "attention_weight_ns": _weights(d.attention, d.attention_bytes, dense_memory, d),
        "attention_token_ns": _products(d.attention, dense_flops, d.peak_dense, d),
        "norm_token_ns": _NORM_PASSES * vector / stream,
        "context_ns": decode,
        "pair_ns": d.pair_flops / (k.attention_flops * d.peak_wide),
        "sequence_layer_ns": d.sequence_bytes / (k.cache_memory * d.bandwidth),
        "dense_weight_ns": _weights(d.dense, d.plain_bytes, dense_memory, d),
        "dense_token_ns": _products(d.dense, dense_flops, d.peak_plain, d),
        "shared_weight_ns": _weights(d.shared, d.attention_bytes, dense_memory, d),
        "shared_token_ns": _products(d.shared, dense_flops, d.peak_dense, d),
        "head_weight_ns": d.head * ACTIVATION_BYTES / d.tensor / stream,
        "head_token_ns": _products(d.head, dense_flops, d.peak_wide, d),
        "step_ns": k.step_ns,
        "sequence_ns": k.sequence_ns,
        "experts_ns": k.experts_ns * shorter,
        "launch_ns": kernel_ns,
        "expert_weight_ns": d.expert
        / d.slices
        * d.expert_bytes
        / (k.expert_memory * d.expert_bandwidth),
        "expert_token_ns": 2.0 * d.expert / d.slices / (k.expert_flops * d.peak_experts),
        "routed_token_ns": moved / stream,
        "reduce_fixed_ns": reduce_floor,
        "reduce_token_ns": reduce_token,
        "gather_fixed_ns": gather_floor,
        "gather_token_ns": gather_token,
        # Dispatch and combine of the serving kernel, which counts the tokens of one group.
        "intra_fixed_ns": gather_floor / 2.0,
        "intra_dispatch_token_ns": gather_token * d.data / 2.0,
        "intra_combine_token_ns": gather_token * d.data / 2.0,
        "prompt_step_ns": k.prompt_step_ns,
        "prompt_layer_ns": eager if graphs else 0.0,
        "first_ns": k.first_ns,
        "wait_steps": k.wait_steps,
        "padded_token_ns": 2.0 * d.expert / d.slices / (k.padded_flops * d.peak_experts),
        "padded_row_ns": padded_row / stream,
    }
    zero = np.zeros_like(np.asarray(d.bandwidth, dtype=np.float64) * k.step_ns)
    columns = [zero + costs.get(name, 0.0) for name in COSTS]
    return np.ascontiguousarray(np.stack(columns, axis=-1))
