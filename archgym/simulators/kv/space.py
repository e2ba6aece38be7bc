"""Design spaces of prefix caches: engines as they are, and tiers of memory below them."""

from collections.abc import Collection
from typing import Final

from archgym.simulators.kit import (
    Categorical,
    Condition,
    Constraint,
    DesignSpace,
    Ordinal,
    P,
    Parameter,
    PowerOfTwo,
)
from archgym.simulators.kv.kernel.policies import (
    HOST_POLICIES,
    OFFERED,
    RADIX_POLICIES,
    ROUTING,
    TIER_POLICIES,
)

SPACE_NAMES: Final = ("vllm", "sglang", "offload", "serving")
GROUPS: Final = {
    "memory": ("cache_tokens", "host_tokens"),
    "tiers": ("dram_gb", "cxl_gb", "flash_gb", "remote_gb", "tier_policy", "write", "reload"),
    "policy": ("policy", "host_policy", "block_tokens", "prefetch"),
    "engine": ("workers", "prefill_workers", "tensor", "routing", "max_seqs", "token_budget"),
}
TIER_SIZES: Final = {
    "dram_gb": (0, 64, 128, 256, 512, 1024, 2048),
    "cxl_gb": (0, 256, 512, 1024, 2048, 4096),
    "flash_gb": (0, 1000, 2000, 4000, 8000, 16000),
    "remote_gb": (0, 1000, 4000, 16000),
}
"""Sizes of the tiers below the accelerators [GB]; chosen: what servers are sold with."""
_DOCS: Final = {
    "vllm": "vLLM's pool of blocks, with its own or another order of eviction.",
    "sglang": "SGLang's radix tree.",
    "offload": "vLLM's pool with a tier in host memory.",
    "serving": "Workers with tiers of memory, in time: latency, energy and cost.",
}


def design_space(name: str, given: Collection[str] = ()) -> DesignSpace:
    """Return the space with this name.

    Args:
      name: One of `SPACE_NAMES`.
      given: Parameters that an option of the simulator sets instead.
    """
    made = [each for each in _parameters(name) if each.name not in given]
    conditions, constraints = list[Condition](), list[Constraint]()
    if name == "serving":
        below = [P(name) for name in TIER_SIZES]
        has_tier = below[0] + below[1] + below[2] + below[3] > 0
        conditions = [Condition(each, has_tier) for each in ("tier_policy", "write", "reload")]
        # With one tier there is no farther one to bring blocks from.
        has_two = (
            ((below[0] > 0) & (below[1] + below[2] + below[3] > 0))
            | ((below[1] > 0) & (below[2] + below[3] > 0))
            | ((below[2] > 0) & (below[3] > 0))
        )
        conditions.append(Condition("prefetch", has_two))
        has_choice = (P("workers") > 1) | (P("prefill_workers") > 1)
        conditions.append(Condition("routing", has_choice))
        # The largest servers that are described have eight.
        few = (P("workers") + P("prefill_workers")) * P("tensor") <= 8
        constraints.append(Constraint("accelerators", few, "more than eight accelerators"))
    return DesignSpace(name, made, conditions=conditions, constraints=constraints, doc=_DOCS[name])


def _serving() -> tuple[Parameter, ...]:
    docs = {
        "dram_gb": "Memory of the host for keys and values.",
        "cxl_gb": "CXL memory.",
        "flash_gb": "Flash.",
        "remote_gb": "Memory of other servers, over the network.",
    }
    return (
        PowerOfTwo(
            name="block_tokens", low=16, high=256, default=64, unit="token", doc="Size of a block."
        ),
        PowerOfTwo(name="workers", low=1, high=8, default=1, doc="Engines behind the router."),
        Ordinal(
            "prefill_workers", (0, 1, 2, 4), default=0,
            doc="Engines that read prompts alone, and hand their keys and values to the others.",
        ),
        PowerOfTwo(name="tensor", low=1, high=8, default=1, doc="Accelerators of an engine."),
        *(
            Ordinal(name, levels, default=0, unit="GB", doc=docs[name])
            for name, levels in TIER_SIZES.items()
        ),
        Categorical(
            "policy",
            OFFERED,
            doc="Order in which free blocks are evicted.",
        ),
        Categorical("tier_policy", TIER_POLICIES, doc="Order of eviction in the tiers."),
        Categorical(
            "write", ("through", "on-eviction"), doc="Time at which blocks go to the tiers."
        ),
        Categorical(
            "reload",
            ("layerwise", "blocking"),
            doc="Layerwise starts to compute while later layers are loaded.",
        ),
        Categorical(
            "prefetch",
            ("off", "on"),
            doc="On copies the blocks of a request that arrives from lower tiers to the nearest.",
        ),
        Categorical("routing", ROUTING, doc="Choice of the worker of a request."),
        PowerOfTwo(
            name="max_seqs", low=8, high=256, default=64, doc="Requests that run at a time."
        ),
        PowerOfTwo(
            name="token_budget", low=1024, high=16384, default=8192, unit="token",
            doc="Tokens of a step at most.",
        ),
    )  # fmt: skip


def _parameters(name: str) -> tuple[Parameter, ...]:
    if name == "serving":
        return _serving()
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
    policy = Categorical("policy", OFFERED, doc="Order in which free blocks are evicted.")
    if name == "vllm":
        return (block, tokens, policy)
    host = PowerOfTwo(
        name="host_tokens", low=2**16, high=2**24, default=2**20, unit="token",
        doc="Tokens that host memory holds.",
    )  # fmt: skip
    of_host = Categorical("host_policy", HOST_POLICIES, doc="Policy of host memory.")
    return (block, tokens, host, policy, of_host)
