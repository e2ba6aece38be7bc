"""State of a machine before its first cycle, from the parameters of a design."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cpu import layout as at

__all__ = ["make_state", "make_weights"]

_POOL: Final = 16384  # requests in flight; far more than the queues of any design hold
_NODES: Final = 4096
_ANSWERS: Final = 1024
_UNLIMITED: Final = 4096  # entries of queues that the model does not limit
_KEPT: Final = 4096  # writes being filled

# By component: upper channels in order, channel below, translator's channel or 0.
_WIRES: Final[Mapping[int, tuple[tuple[int, ...], int, int]]] = {
    at.L1I: ((at.CORE_L1I,), at.L1I_L2C, at.L1I_ITLB),
    at.L1D: ((at.PTW_L1D, at.CORE_L1D), at.L1D_L2C, at.L1D_DTLB),
    at.L2C: ((at.L1D_L2C, at.L1I_L2C), at.L2C_LLC, 0),
    at.LLC: ((at.L2C_LLC,), at.LLC_DRAM, 0),
    at.ITLB: ((at.L1I_ITLB,), at.ITLB_STLB, 0),
    at.DTLB: ((at.L1D_DTLB,), at.DTLB_STLB, 0),
    at.STLB: ((at.DTLB_STLB, at.ITLB_STLB, at.L2C_STLB), at.STLB_PTW, 0),
}
_TLBS: Final = (at.ITLB, at.DTLB, at.STLB)
_CORE: Final = {
    at.G_FETCH_WIDTH: "fetch_width",
    at.G_DECODE_WIDTH: "decode_width",
    at.G_DISPATCH_WIDTH: "dispatch_width",
    at.G_EXECUTE_WIDTH: "execute_width",
    at.G_LQ_WIDTH: "lq_width",
    at.G_SQ_WIDTH: "sq_width",
    at.G_RETIRE_WIDTH: "retire_width",
    at.G_DIB_INORDER_WIDTH: "dib_inorder_width",
    at.G_SCHEDULER: "scheduler",
    at.G_IFETCH_BUFFER: "ifetch_buffer",
    at.G_DECODE_BUFFER: "decode_buffer",
    at.G_DISPATCH_BUFFER: "dispatch_buffer",
    at.G_DIB_HIT_BUFFER: "dib_hit_buffer",
    at.G_N_REGISTERS: "registers",
    at.G_ROB: "rob",
    at.G_LQ: "lq",
    at.G_SQ: "sq",
    at.G_MISPREDICT_PENALTY: "mispredict_penalty",
    at.G_DECODE_LATENCY: "decode_latency",
    at.G_DIB_HIT_LATENCY: "dib_hit_latency",
    at.G_DISPATCH_LATENCY: "dispatch_latency",
    at.G_SCHEDULE_LATENCY: "schedule_latency",
    at.G_EXECUTE_LATENCY: "execute_latency",
    at.G_DIB_WAYS: "dib_ways",
    at.G_PREDICTOR: "branch_predictor",
}
_CACHE: Final = {
    at.K_WAYS: "ways",
    at.K_MSHR: "mshr",
    at.K_HIT_LATENCY: "hit_latency",
    at.K_FILL_LATENCY: "fill_latency",
    at.K_TAG_BW: "tag_bw",
    at.K_FILL_BW: "fill_bw",
    at.K_PREFETCHER: "prefetcher",
    at.K_REPLACEMENT: "replacement",
    at.K_PQ: "pq",
    at.K_SETS: "sets",
}
WEIGHTS: Final = (16384, 16384, 163 * 25, 16 * 4096)
"""Entries of the direction predictors, by number."""


class _Areas:
    """Areas of variable size, handed out one after another."""

    def __init__(self) -> None:
        self.end = at.DYNAMIC

    def take(self, size: int) -> int:
        base = self.end
        # Every area starts at a cache line.
        self.end += (size + 7) // 8 * 8
        return base


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


def make_state(parameters: Mapping[str, int], n_pages: int) -> npt.NDArray[np.int64]:
    """Return the state of a machine before its first cycle.

    Args:
      parameters: Every parameter of the model, such as `CPU.rob`.
      n_pages: Upper bound of the pages that the trace touches.
    """
    areas = _Areas()
    words: dict[int, int] = {at.WAKE + i: 1 for i in range(at.N_COMPONENTS)}
    _core(parameters, areas, words)
    pages = _power_of_two(4 * n_pages + 1024)
    words[at.G_PAGES], words[at.G_PAGES_MASK] = areas.take(2 * pages), pages - 1
    words[at.G_NEXT_PAGE] = 256
    words[at.G_FAULT_PENALTY] = parameters["VMEM.fault_penalty"]
    for component in _WIRES:
        _cache(component, parameters, areas, words)
    _channels(parameters, areas, words)
    _walker(parameters, areas, words)
    _memory(parameters, words)
    words[at.G_NODES_TOP] = areas.take(at.N_SIZE * _NODES)
    words[at.G_NODES_END] = areas.end
    words[at.G_POOL_TOP] = areas.take(at.R_SIZE * _POOL)
    words[at.G_POOL_END] = areas.end
    state = np.zeros(areas.end + 8, dtype=np.int64)
    state[list(words)] = list(words.values())
    _fill_areas(parameters, state)
    return state


def make_weights(parameters: Mapping[str, int]) -> npt.NDArray[np.int8]:
    """Return the untrained weights of the direction predictor."""
    return np.zeros(WEIGHTS[parameters["CPU.branch_predictor"]], dtype=np.int8)


def _core(parameters: Mapping[str, int], areas: _Areas, words: dict[int, int]) -> None:
    words |= {field: parameters[f"CPU.{name}"] for field, name in _CORE.items()}
    words[at.G_L1I_TAG_BW] = parameters["L1I.tag_bw"]
    words[at.G_L1D_TAG_BW] = parameters["L1D.tag_bw"]
    buffers = ("rob", "ifetch_buffer", "decode_buffer", "dispatch_buffer", "dib_hit_buffer")
    ring = max(64, _power_of_two(sum(parameters[f"CPU.{name}"] for name in buffers) + 16))
    words[at.G_MASK], words[at.G_WORDS] = ring - 1, ring // 64
    words[at.G_INSTRUCTIONS] = areas.take(at.I_SIZE * ring)
    words[at.G_CAN_EXECUTE] = areas.take(ring // 64)
    words[at.G_CAN_COMPLETE] = areas.take(ring // 64)
    lq, sq = parameters["CPU.lq"], parameters["CPU.sq"]
    n_words = (lq + 63) // 64
    words[at.G_LOAD_WORDS] = n_words
    words[at.G_LOADS] = areas.take(at.L_SIZE * lq)
    for field in (at.G_LOAD_FREE, at.G_LOAD_SEND, at.G_LOAD_SENT):
        words[field] = areas.take(n_words)
    words[at.G_N_LOAD_FREE] = lq
    stores = _power_of_two(sq + 4)
    words[at.G_STORES], words[at.G_STORE_MASK] = areas.take(at.S_SIZE * stores), stores - 1
    words[at.G_STORE_HASH] = areas.take(at.STORE_HASH_SIZE)
    words[at.G_RESUME] = 2  # the input is empty in cycle 1
    words[at.G_FREE_COUNT] = parameters["CPU.registers"]
    sets = parameters["CPU.dib_sets"]
    words[at.G_DIB_MASK] = sets - 1
    words[at.G_DIB_SHIFT] = int(math.log2(parameters["CPU.dib_window"]))
    words[at.G_DIB] = areas.take(2 * sets * parameters["CPU.dib_ways"])
    words[at.G_DIB_LAST] = words[at.G_DIB]
    words[at.G_TARGETS] = areas.take(1024 * 8 * 4)
    words[at.G_INDIRECT] = areas.take(4096)
    words[at.G_RETURN_STACK] = areas.take(64)
    words[at.G_CALL_SIZES] = areas.take(1024)
    words[at.G_PERCEPTRON_LIST] = areas.take(4 * 128)


def _cache(
    component: int, parameters: Mapping[str, int], areas: _Areas, words: dict[int, int]
) -> None:
    name = at.COMPONENTS[component]
    k = at.CACHES + at.CACHE_SIZE * component
    words |= {k + field: parameters[f"{name}.{key}"] for field, key in _CACHE.items()}
    is_tlb = component in _TLBS
    uppers, below, translator = _WIRES[component]
    words[k + at.K_SET_MASK] = parameters[f"{name}.sets"] - 1
    words[k + at.K_OFFSET] = 12 if is_tlb else 6
    words[k + at.K_IS_TLB] = int(is_tlb)
    words[k + at.K_WHOLE] = (
        0 if component in (at.L1I, at.L1D, at.ITLB, at.DTLB) else words[k + at.K_OFFSET]
    )
    words[k + at.K_WRITES_FILL] = int(component in (at.L2C, at.LLC))
    words[k + at.K_VIRTUAL_PREFETCH] = int(component == at.L1I)
    words[k + at.K_N_UPPER] = len(uppers)
    for i, channel in enumerate(uppers):
        words[k + at.K_UPPER + i] = at.CHANNELS + at.CHANNEL_SIZE * channel
    words[k + at.K_BELOW] = at.CHANNELS + at.CHANNEL_SIZE * below
    if translator:
        words[k + at.K_TRANSLATOR] = at.CHANNELS + at.CHANNEL_SIZE * translator
    words[k + at.K_COUNTERS] = at.COUNTERS + at.CACHE_COUNTERS * component
    words[k + at.K_WAKE] = at.WAKE + component
    n_sets = parameters[f"{name}.sets"]
    n_blocks = n_sets * parameters[f"{name}.ways"]
    for field in (at.K_TAGS, at.K_BLOCKS, at.K_FLAGS, at.K_RANKS):
        words[k + field] = areas.take(n_blocks)
    words[k + at.K_N_VALID] = areas.take(n_sets)
    if is_tlb:
        words[k + at.K_DATA] = areas.take(n_blocks)
    if parameters[f"{name}.replacement"] == 3:
        words[k + at.K_SIGNATURES] = areas.take(n_blocks)
        words[k + at.K_SHIP] = areas.take(16384)
    words[k + at.K_PSEL] = 512
    mshr = _power_of_two(parameters[f"{name}.mshr"])
    words[k + at.K_MSHR_MASK] = mshr - 1
    words[k + at.K_MSHR_RING], words[k + at.K_MSHR_BLOCKS] = areas.take(mshr), areas.take(mshr)
    words[k + at.K_WRITING_RING], words[k + at.K_WRITING_MASK] = areas.take(_KEPT), _KEPT - 1
    lookups = _power_of_two(parameters[f"{name}.tag_bw"] * parameters[f"{name}.hit_latency"] + 1)
    words[k + at.K_LOOKUP_RING], words[k + at.K_LOOKUP_MASK] = areas.take(lookups), lookups - 1
    stash = _power_of_two(parameters[f"{name}.mshr"] + lookups + 8)
    words[k + at.K_STASH], words[k + at.K_STASH_MASK] = areas.take(stash), stash - 1
    own = _power_of_two(parameters[f"{name}.pq"] + 1)
    words[k + at.K_OWN_RING], words[k + at.K_OWN_MASK] = areas.take(own), own - 1
    if parameters[f"{name}.prefetcher"] == 2:
        words[k + at.K_STRIDES] = areas.take(4 * at.STRIDE_SETS * at.STRIDE_WAYS)


def _channels(parameters: Mapping[str, int], areas: _Areas, words: dict[int, int]) -> None:
    for number, (upper, lower) in enumerate(at.CHANNEL_ENDS):
        channel = at.CHANNELS + at.CHANNEL_SIZE * number
        words[channel + at.C_UPPER] = at.WAKE + upper
        words[channel + at.C_LOWER] = at.WAKE + lower
        name = at.COMPONENTS[lower]
        for queue, key in ((at.C_READS, "rq"), (at.C_PREFETCHES, "pq"), (at.C_WRITES, "wq")):
            capacity = _UNLIMITED if lower == at.DRAM else parameters.get(f"{name}.{key}", 0)
            size = _power_of_two(max(1, capacity))
            words[channel + queue + at.Q_CAPACITY] = capacity
            words[channel + queue + at.Q_MASK] = size - 1
            words[channel + queue + at.Q_BUFFER] = areas.take(size)
        words[channel + at.C_ANSWERS + at.Q_MASK] = _ANSWERS - 1
        words[channel + at.C_ANSWERS + at.Q_BUFFER] = areas.take(at.ANSWER_SIZE * _ANSWERS)


def _walker(parameters: Mapping[str, int], areas: _Areas, words: dict[int, int]) -> None:
    for field in (at.P_WALKS, at.P_FINISHED, at.P_COMPLETED):
        words[at.WALKER + field] = areas.take(at.WALK_LIST)
    words[at.WALKER + at.P_MAX_READ] = parameters["PTW.max_read"]
    words[at.WALKER + at.P_MAX_WRITE] = parameters["PTW.max_write"]
    entries = sum(s * w for s, w in zip(at.WALK_SETS, at.WALK_WAYS, strict=True))
    words[at.WALKER + at.P_CACHES] = areas.take(at.WALK_ENTRY * entries)


def _memory(parameters: Mapping[str, int], words: dict[int, int]) -> None:
    rate = parameters["DRAM.data_rate"]
    period, burst = 2_000_000 // rate, 1_000_000 // rate
    t_ras = parameters["DRAM.tRAS"] * period
    channels, ranks = parameters["DRAM.channels"], parameters["DRAM.ranks"]
    words |= {
        at.MEMORY + field: value
        for field, value in (
            (at.M_PERIOD, period),
            (at.M_BURST, burst),
            (at.M_N_CHANNELS, channels),
            (at.M_CHANNEL_BITS, channels.bit_length() - 1),
            (at.M_RANK_BITS, ranks.bit_length() - 1),
            (at.M_RQ, parameters["DRAM.rq"]),
            (at.M_WQ, parameters["DRAM.wq"]),
            (at.M_T_CAS, parameters["DRAM.tCAS"] * period),
            (at.M_T_RCD, parameters["DRAM.tRCD"] * period),
            (at.M_T_RP, parameters["DRAM.tRP"] * period),
            (at.M_T_RAS, t_ras),
            # In whole microseconds, as the tool has it.
            (at.M_T_REF, 1000 * parameters["DRAM.refresh_ms"] // 8192 * 1_000_000),
            (at.M_T_RFC, 4 * t_ras),
            (at.M_RETURN, 8 * burst),
            (at.M_STALL, 2 * burst),
            (at.M_N_BANKS, 32 * ranks),
        )
    }


def _fill_areas(parameters: Mapping[str, int], state: npt.NDArray[np.int64]) -> None:
    """Set the areas that do not start as zeros."""
    registers = parameters["CPU.registers"]
    state[at.FREE_RING : at.FREE_RING + registers] = np.arange(registers)
    state[state[at.G_CALL_SIZES] : state[at.G_CALL_SIZES] + 1024] = 4
    lq = parameters["CPU.lq"]
    for word in range((lq + 63) // 64):
        bits = min(64, lq - 64 * word)
        state[state[at.G_LOAD_FREE] + word] = -1 if bits == 64 else (1 << bits) - 1
    loads = state[at.G_LOADS]
    state[loads + at.L_ID : loads + at.L_SIZE * lq : at.L_SIZE] = -1
    for component in _WIRES:
        name = at.COMPONENTS[component]
        k = at.CACHES + at.CACHE_SIZE * component
        n_blocks = parameters[f"{name}.sets"] * parameters[f"{name}.ways"]
        policy = parameters[f"{name}.replacement"]
        if policy not in (0, 5):
            state[state[k + at.K_RANKS] : state[k + at.K_RANKS] + n_blocks] = 3
        if policy == 3:
            state[state[k + at.K_SHIP] : state[k + at.K_SHIP] + 16384] = 1
