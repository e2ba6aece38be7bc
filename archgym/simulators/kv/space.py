"""Design spaces of prefix caches: engines as they are, and tiers of memory below them."""

from collections.abc import Collection
from typing import Final

from archgym.simulators.kv.kernel.pool import POLICIES
from archgym.simulators.kv.kernel.run import HOST_POLICIES, RADIX_POLICIES
from archgym.spaces.parameter import Categorical, Parameter, PowerOfTwo
from archgym.spaces.space import DesignSpace

SPACE_NAMES: Final = ("vllm", "sglang", "offload")
GROUPS: Final = {
    "memory": ("cache_tokens", "host_tokens"),
    "policy": ("policy", "host_policy", "block_tokens"),
}
_DOCS: Final = {
    "vllm": "vLLM's pool of blocks, with its own or another order of eviction.",
    "sglang": "SGLang's radix tree.",
    "offload": "vLLM's pool with a tier in host memory.",
}


def design_space(name: str, given: Collection[str] = ()) -> DesignSpace:
    """Return the space with this name.

    Args:
      name: One of `SPACE_NAMES`.
      given: Parameters that an option of the simulator sets instead.
    """
    made = [each for each in _parameters(name) if each.name not in given]
    return DesignSpace(name, made, doc=_DOCS[name])


def _parameters(name: str) -> tuple[Parameter, ...]:
    block = PowerOfTwo(
        name="block_tokens", low=16, high=1024, default=64, unit="token",
        doc="Size of a block; SGLang's page.",
    )  # fmt: skip
    tokens = PowerOfTwo(
        name="cache_tokens", low=2**16, high=2**22, default=2**18, unit="token",
        doc="Tokens whose keys and values the memory of the GPU holds.",
    )  # fmt: skip
    if name == "sglang":
        policy = Categorical("policy", RADIX_POLICIES, doc="Order in which leaves are evicted.")
        return (block, tokens, policy)
    policy = Categorical("policy", POLICIES, doc="Order in which free blocks are evicted.")
    if name == "vllm":
        return (block, tokens, policy)
    host = PowerOfTwo(
        name="host_tokens", low=2**16, high=2**24, default=2**20, unit="token",
        doc="Tokens that host memory holds.",
    )  # fmt: skip
    of_host = Categorical("host_policy", HOST_POLICIES, doc="Policy of host memory.")
    return (block, tokens, host, policy, of_host)
