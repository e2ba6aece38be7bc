"""Efficiency of GPU kernels relative to their peak rates."""

from dataclasses import dataclass
from typing import Final, final

from archgym.simulators.moe.machine.hardware import Gpu


@final
@dataclass(frozen=True)
class Efficiency:
    """Shares of an accelerator's peaks that kernels reach, and fixed costs of kernels.

    Attributes:
      memory: Share of the memory's bandwidth. 0.75 to 0.85 is measured for fused experts on H100,
        L40S, RTX PRO 6000 (AIConfigurator, LLMServingSim).
      dense: Share of the peak that large dense matrix products reach: 0.77 for the queries, keys
        and values of Qwen3-30B with 32,768 tokens on H100 (AIConfigurator), rounded down.
      experts: Share of the peak that fused experts reach with many tokens: 0.35 to 0.6 is measured.
      kernel_ns: A fused experts kernel with its sorting of tokens [ns]: 5 to 25 us are measured.
      launch_ns: One kernel [ns]; a layer has six besides its experts: two norms, queries keys and
        values, attention, output, router.
      tile: Tokens that a kernel computes at least for each expert that has any: Triton's smallest
        tile in vLLM.
      passes: Times that a routed copy of a token's vector passes through memory: written by the
        second product, read and reduced.
    """

    memory: float = 0.80
    dense: float = 0.70
    experts: float = 0.50
    kernel_ns: float = 20_000.0
    launch_ns: float = 5_000.0
    tile: int = 16
    passes: float = 3.0


# SambaNova, *SN40L*, MICRO 2024: 85 % of the bandwidth in decoding; a whole model is one kernel.
_OF_GPU: Final = {"sn40l": Efficiency(memory=0.85, kernel_ns=5_000.0, launch_ns=1_000.0)}


# Share of the host's memory bandwidth that experts on the processor reach: 8 and 6 experts of
# DeepSeek-V3 differ by 4.5 ms a token and expert on two sockets of 307 GB/s each (KTransformers:
# 12.2 and 13.7 tokens/s), which is 284 GB/s of 614.
HOST_MEMORY: Final = 0.46
# What one core of a server's processor streams from memory [GB/s]; chosen: 10 to 14 are usual for
# STREAM on one core. Experts on few cores are bound by it, and so are copies from pageable memory,
# which the driver makes through a pinned buffer, one after the other with the transfer (CUDA C++
# Best Practices Guide, section 10.1.1).
CORE_GB_PER_S: Final = 12.0
# DeepSeek-AI, *DeepSeek-V3*, 2024, section 3.3: tokens are sent out in 8 bits and come back in 16.
DISPATCH_BYTES: Final = 1
COMBINE_BYTES: Final = 2
# A vector of activations has 16 bits, whatever the weights have.
ACTIVATION_BYTES: Final = 2


def efficiency(gpu: Gpu) -> Efficiency:
    """Return the efficiency of an accelerator."""
    return _OF_GPU.get(gpu.name, Efficiency())
