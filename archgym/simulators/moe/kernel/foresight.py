"""Future requests of running sequences, for policies that know them; compiled.

`belady` drops what is needed last, `sch` what is needed least often, in the next tokens of the
requests that run. Requests that have not come yet are not foreseen.

Source:
  Read-ME, NeurIPS 2024: evict what the queued tokens need last. SCH: *Not All Models Suit Expert
  Offloading*, ICLR 2026.
"""

from typing import Any

import numpy.typing as npt

from archgym.runtime.kernels import helper
from archgym.simulators.moe.kernel.batching import token_row
from archgym.simulators.moe.kernel.caches import (
    BELADY,
    NEVER,
    CacheState,
)
from archgym.simulators.moe.kernel.columns import (
    LOOKAHEAD,
    N_EXPERTS,
    N_LAYERS,
    N_ROUNDS,
    REPLACEMENT,
    TOP_K,
)
from archgym.simulators.moe.kernel.state import (
    BATCH,
    BATCH_COUNT,
    BATCH_FROM,
    FOUND_FOR,
    GATHERED,
    GENERATED,
    N_BATCH,
    N_RUNNING,
    ORDER,
    OUTPUT,
    PREFILLED,
    PROMPT,
    STALE,
    State,
    Work,
    whole,
)

Array = npt.NDArray[Any]

_NONE = 2**30


@helper
def foresee(choices: Array, work: Work, state: State, cache: CacheState) -> None:
    """At a step's start: ranks all blocks by their uses to come.

    A use d steps ahead in layer l stands at time d * n_layers + l, the step's own at d = 0.
    """
    n_layers, n_experts, top_k = choices[N_LAYERS], choices[N_EXPERTS], choices[TOP_K]
    is_belady = choices[REPLACEMENT] == BELADY
    later = state.blocks
    for block in range(n_layers * n_experts):
        later[GATHERED, block] = _NONE if is_belady else 0
    for place in range(state.numbers[N_RUNNING]):
        request = state.requests[ORDER, place]
        first = _after_this_step(work, state, request)
        last = work.requests[PROMPT, request] + work.requests[OUTPUT, request] - 2
        for step in range(1, min(choices[LOOKAHEAD], last - first + 1) + 1):
            row = token_row(work, request, first + step - 1)
            for layer in range(n_layers):
                for rank in range(top_k):
                    block = layer * n_experts + work.routing[row, layer, rank]
                    if is_belady:
                        later[GATHERED, block] = min(
                            later[GATHERED, block], step * n_layers + layer
                        )
                    else:
                        later[GATHERED, block] -= 1
    for block in range(n_layers * n_experts):
        cache.next_use[block] = NEVER if later[GATHERED, block] == _NONE else later[GATHERED, block]
    if is_belady:
        for event in range(n_layers * choices[N_ROUNDS]):
            layer = event // choices[N_ROUNDS]
            for place in range(state.n_members[event]):
                expert = whole(state.members[event * n_experts + place])
                cache.next_use[layer * n_experts + expert] = layer


@helper
def _after_this_step(work: Work, state: State, request: int) -> int:
    """Return the first token of a request that the step's batch does not hold."""
    for place in range(state.numbers[N_BATCH]):
        if state.requests[BATCH, place] == request:
            return int(state.requests[BATCH_FROM, place] + state.requests[BATCH_COUNT, place])
    if state.requests[PREFILLED, request] >= work.requests[PROMPT, request]:
        return int(work.requests[PROMPT, request] + state.requests[GENERATED, request] - 1)
    return int(state.requests[PREFILLED, request])


@helper
def forget_current(choices: Array, state: State, cache: CacheState, event: int) -> None:
    """At an event: what it asks for is needed next in a later step."""
    n_experts = choices[N_EXPERTS]
    layer = event // choices[N_ROUNDS]
    for place in range(state.n_members[event]):
        block = layer * n_experts + state.members[event * n_experts + place]
        later = state.blocks[GATHERED, block]
        cache.next_use[block] = NEVER if later == _NONE else later
    state.layers[FOUND_FOR, layer] = STALE
