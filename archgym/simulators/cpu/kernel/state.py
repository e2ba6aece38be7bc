"""State of a machine before its first cycle, from the parameters of a design."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel import tage_layout
from archgym.simulators.cpu.kernel.layout import Ints
from archgym.simulators.cpu.machine import Machine, cycle_ps

_POOL: Final = 16384  # requests in flight; far more than the queues of any design hold
_NODES: Final = 4096
_ANSWERS: Final = 1024
_UNLIMITED: Final = 4096  # entries of queues that the model does not limit
_KEPT: Final = 4096  # writes being filled
_STRIDES: Final = 4 * lay.STRIDE_SETS * lay.STRIDE_WAYS

# By component: upper channels in order, channel below, translator's channel or 0.
_WIRES: Final[Mapping[int, tuple[tuple[int, ...], int, int]]] = {
    lay.L1I: ((lay.CORE_L1I,), lay.L1I_L2C, lay.L1I_ITLB),
    lay.L1D: ((lay.PTW_L1D, lay.CORE_L1D), lay.L1D_L2C, lay.L1D_DTLB),
    lay.L2C: ((lay.L1D_L2C, lay.L1I_L2C), lay.L2C_LLC, 0),
    lay.LLC: ((lay.L2C_LLC,), lay.LLC_DRAM, 0),
    lay.ITLB: ((lay.L1I_ITLB,), lay.ITLB_STLB, 0),
    lay.DTLB: ((lay.L1D_DTLB,), lay.DTLB_STLB, 0),
    lay.STLB: ((lay.DTLB_STLB, lay.ITLB_STLB, lay.L2C_STLB), lay.STLB_PTW, 0),
}
_TLBS: Final = (lay.ITLB, lay.DTLB, lay.STLB)
_CORE: Final = {
    lay.G_FETCH_WIDTH: "fetch_width", lay.G_DECODE_WIDTH: "decode_width",
    lay.G_DISPATCH_WIDTH: "dispatch_width", lay.G_EXECUTE_WIDTH: "execute_width",
    lay.G_LQ_WIDTH: "lq_width", lay.G_SQ_WIDTH: "sq_width", lay.G_RETIRE_WIDTH: "retire_width",
    lay.G_DIB_INORDER_WIDTH: "dib_inorder_width", lay.G_SCHEDULER: "scheduler",
    lay.G_IFETCH_BUFFER: "ifetch_buffer", lay.G_DECODE_BUFFER: "decode_buffer",
    lay.G_DISPATCH_BUFFER: "dispatch_buffer", lay.G_DIB_HIT_BUFFER: "dib_hit_buffer",
    lay.G_N_REGISTERS: "registers", lay.G_ROB: "rob", lay.G_LQ: "lq", lay.G_SQ: "sq",
    lay.G_MISPREDICT_PENALTY: "mispredict_penalty", lay.G_DECODE_LATENCY: "decode_latency",
    lay.G_DIB_HIT_LATENCY: "dib_hit_latency", lay.G_DISPATCH_LATENCY: "dispatch_latency",
    lay.G_SCHEDULE_LATENCY: "schedule_latency", lay.G_EXECUTE_LATENCY: "execute_latency",
    lay.G_DIB_WAYS: "dib_ways", lay.G_PREDICTOR: "branch_predictor",
}  # fmt: skip
_CACHE: Final = {
    lay.K_WAYS: "ways", lay.K_MSHR: "mshr", lay.K_HIT_LATENCY: "hit_latency",
    lay.K_FILL_LATENCY: "fill_latency", lay.K_TAG_BW: "tag_bw", lay.K_FILL_BW: "fill_bw",
    lay.K_PREFETCHER: "prefetcher", lay.K_REPLACEMENT: "replacement", lay.K_PQ: "pq",
    lay.K_SETS: "sets",
}  # fmt: skip
WEIGHTS: Final = (16384, 16384, 163 * 25, 16 * 4096, tage_layout.WEIGHTS, tage_layout.WEIGHTS)
"""Entries of the direction predictors, by number."""


class _Areas:
    """Areas of variable size, handed out one after another."""

    def __init__(self) -> None:
        self.end = lay.DYNAMIC

    def take(self, size: int) -> int:
        base = self.end
        # Every area starts at a cache line.
        self.end += (size + 7) // 8 * 8
        return base


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


def make_state(
    parameters: Machine, n_pages: int, n_events: int = 0, strides: tuple[int, ...] = ()
) -> Ints:
    """Return the state of a machine before its first cycle.

    Args:
      parameters: Every parameter of the model, such as `CPU.rob`.
      n_pages: Upper bound of the pages that the trace touches.
      n_events: Events of caches that are logged at most.
      strides: Caches with a table of the stride prefetcher, whatever theirs is.
    """
    areas = _Areas()
    words: dict[int, int] = {lay.WAKE + i: 1 for i in range(lay.N_COMPONENTS)}
    _core(parameters, areas, words)
    pages = _power_of_two(4 * n_pages + 1024)
    words[lay.G_PAGES], words[lay.G_PAGES_MASK] = areas.take(2 * pages), pages - 1
    words[lay.G_NEXT_PAGE] = 256
    words[lay.G_FAULT_PENALTY] = parameters["VMEM.fault_penalty"]
    for component in _WIRES:
        _cache(component, parameters, areas, words)
        if component in strides or parameters[f"{lay.COMPONENTS[component]}.prefetcher"] == 2:
            words[lay.CACHES + lay.CACHE_SIZE * component + lay.K_STRIDES] = areas.take(_STRIDES)
    _channels(parameters, areas, words)
    _walker(parameters, areas, words)
    _memory(parameters, words)
    words[lay.G_NODES_TOP] = areas.take(lay.N_SIZE * _NODES)
    words[lay.G_NODES_END] = areas.end
    words[lay.G_POOL_TOP] = areas.take(lay.R_SIZE * _POOL)
    words[lay.G_POOL_END] = areas.end
    words[lay.G_LOG] = words[lay.G_LOG_TOP] = areas.take(lay.EVENT_SIZE * n_events)
    words[lay.G_LOG_END] = words[lay.G_LOG] + lay.EVENT_SIZE * n_events
    state = np.zeros(areas.end + 8, dtype=np.int64)
    state[list(words)] = list(words.values())
    _fill_areas(parameters, state)
    return state


def make_weights(parameters: Machine) -> npt.NDArray[np.int8]:
    """Return the untrained weights of the direction predictor."""
    return np.zeros(WEIGHTS[parameters["CPU.branch_predictor"]], dtype=np.int8)


def _core(parameters: Machine, areas: _Areas, words: dict[int, int]) -> None:
    words |= {field: parameters[f"CPU.{name}"] for field, name in _CORE.items()}
    words[lay.G_L1I_TAG_BW] = parameters["L1I.tag_bw"]
    words[lay.G_L1D_TAG_BW] = parameters["L1D.tag_bw"]
    buffers = ("rob", "ifetch_buffer", "decode_buffer", "dispatch_buffer", "dib_hit_buffer")
    ring = max(64, _power_of_two(sum(parameters[f"CPU.{name}"] for name in buffers) + 16))
    words[lay.G_MASK], words[lay.G_WORDS] = ring - 1, ring // 64
    words[lay.G_INSTRUCTIONS] = areas.take(lay.I_SIZE * ring)
    words[lay.G_CAN_EXECUTE] = areas.take(ring // 64)
    words[lay.G_CAN_COMPLETE] = areas.take(ring // 64)
    lq, sq = parameters["CPU.lq"], parameters["CPU.sq"]
    n_words = (lq + 63) // 64
    words[lay.G_LOAD_WORDS] = n_words
    words[lay.G_LOADS] = areas.take(lay.L_SIZE * lq)
    for field in (lay.G_LOAD_FREE, lay.G_LOAD_SEND, lay.G_LOAD_SENT):
        words[field] = areas.take(n_words)
    words[lay.G_N_LOAD_FREE] = lq
    stores = _power_of_two(sq + 4)
    words[lay.G_STORES], words[lay.G_STORE_MASK] = areas.take(lay.S_SIZE * stores), stores - 1
    words[lay.G_STORE_HASH] = areas.take(lay.STORE_HASH_SIZE)
    words[lay.G_RESUME] = 2  # the input is empty in cycle 1
    words[lay.G_FREE_COUNT] = parameters["CPU.registers"]
    sets = parameters["CPU.dib_sets"]
    words[lay.G_DIB_MASK] = sets - 1
    words[lay.G_DIB_SHIFT] = int(math.log2(parameters["CPU.dib_window"]))
    words[lay.G_DIB] = areas.take(2 * sets * parameters["CPU.dib_ways"])
    words[lay.G_DIB_LAST] = words[lay.G_DIB]
    words[lay.G_TARGETS] = areas.take(1024 * 8 * 4)
    words[lay.G_INDIRECT] = areas.take(4096)
    words[lay.G_RETURN_STACK] = areas.take(64)
    words[lay.G_CALL_SIZES] = areas.take(1024)
    words[lay.G_PERCEPTRON_LIST] = areas.take(4 * 128)
    if parameters["CPU.branch_predictor"] >= 4:
        at = words[lay.G_TAGE] = areas.take(tage_layout.AREA)
        words |= {at + field: value for field, value in tage_layout.STARTS.items()}


def _cache(component: int, parameters: Machine, areas: _Areas, words: dict[int, int]) -> None:
    name = lay.COMPONENTS[component]
    k = lay.CACHES + lay.CACHE_SIZE * component
    words |= {k + field: parameters[f"{name}.{key}"] for field, key in _CACHE.items()}
    is_tlb = component in _TLBS
    uppers, below, translator = _WIRES[component]
    words[k + lay.K_SET_MASK] = parameters[f"{name}.sets"] - 1
    words[k + lay.K_OFFSET] = 12 if is_tlb else 6
    words[k + lay.K_IS_TLB] = int(is_tlb)
    words[k + lay.K_WHOLE] = (
        0 if component in (lay.L1I, lay.L1D, lay.ITLB, lay.DTLB) else words[k + lay.K_OFFSET]
    )
    words[k + lay.K_WRITES_FILL] = int(component in (lay.L2C, lay.LLC))
    words[k + lay.K_VIRTUAL_PREFETCH] = int(component == lay.L1I)
    words[k + lay.K_N_UPPER] = len(uppers)
    for i, channel in enumerate(uppers):
        words[k + lay.K_UPPER + i] = lay.CHANNELS + lay.CHANNEL_SIZE * channel
    words[k + lay.K_BELOW] = lay.CHANNELS + lay.CHANNEL_SIZE * below
    if translator:
        words[k + lay.K_TRANSLATOR] = lay.CHANNELS + lay.CHANNEL_SIZE * translator
    words[k + lay.K_COUNTERS] = lay.COUNTERS + lay.CACHE_COUNTERS * component
    words[k + lay.K_WAKE] = lay.WAKE + component
    n_sets = parameters[f"{name}.sets"]
    n_blocks = n_sets * parameters[f"{name}.ways"]
    for field in (lay.K_TAGS, lay.K_BLOCKS, lay.K_FLAGS, lay.K_RANKS):
        words[k + field] = areas.take(n_blocks)
    words[k + lay.K_N_VALID] = areas.take(n_sets)
    if is_tlb:
        words[k + lay.K_DATA] = areas.take(n_blocks)
    if parameters[f"{name}.replacement"] == 3:
        words[k + lay.K_SIGNATURES] = areas.take(n_blocks)
        words[k + lay.K_SHIP] = areas.take(16384)
    words[k + lay.K_PSEL] = 512
    mshr = _power_of_two(parameters[f"{name}.mshr"])
    words[k + lay.K_MSHR_MASK] = mshr - 1
    words[k + lay.K_MSHR_RING], words[k + lay.K_MSHR_BLOCKS] = areas.take(mshr), areas.take(mshr)
    words[k + lay.K_WRITING_RING], words[k + lay.K_WRITING_MASK] = areas.take(_KEPT), _KEPT - 1
    lookups = _power_of_two(parameters[f"{name}.tag_bw"] * parameters[f"{name}.hit_latency"] + 1)
    words[k + lay.K_LOOKUP_RING], words[k + lay.K_LOOKUP_MASK] = areas.take(lookups), lookups - 1
    stash = _power_of_two(parameters[f"{name}.mshr"] + lookups + 8)
    words[k + lay.K_STASH], words[k + lay.K_STASH_MASK] = areas.take(stash), stash - 1
    own = _power_of_two(parameters[f"{name}.pq"] + 1)
    words[k + lay.K_OWN_RING], words[k + lay.K_OWN_MASK] = areas.take(own), own - 1


def _channels(parameters: Machine, areas: _Areas, words: dict[int, int]) -> None:
    for number, (upper, lower) in enumerate(lay.CHANNEL_ENDS):
        channel = lay.CHANNELS + lay.CHANNEL_SIZE * number
        words[channel + lay.C_UPPER] = lay.WAKE + upper
        words[channel + lay.C_LOWER] = lay.WAKE + lower
        name = lay.COMPONENTS[lower]
        for queue, key in ((lay.C_READS, "rq"), (lay.C_PREFETCHES, "pq"), (lay.C_WRITES, "wq")):
            capacity = _UNLIMITED if lower == lay.DRAM else parameters.get(f"{name}.{key}", 0)
            size = _power_of_two(max(1, capacity))
            words[channel + queue + lay.Q_CAPACITY] = capacity
            words[channel + queue + lay.Q_MASK] = size - 1
            words[channel + queue + lay.Q_BUFFER] = areas.take(size)
        words[channel + lay.C_ANSWERS + lay.Q_MASK] = _ANSWERS - 1
        words[channel + lay.C_ANSWERS + lay.Q_BUFFER] = areas.take(lay.ANSWER_SIZE * _ANSWERS)


def _walker(parameters: Machine, areas: _Areas, words: dict[int, int]) -> None:
    for field in (lay.P_WALKS, lay.P_FINISHED, lay.P_COMPLETED):
        words[lay.WALKER + field] = areas.take(lay.WALK_LIST)
    words[lay.WALKER + lay.P_MAX_READ] = parameters["PTW.max_read"]
    words[lay.WALKER + lay.P_MAX_WRITE] = parameters["PTW.max_write"]
    entries = sum(s * w for s, w in zip(lay.WALK_SETS, lay.WALK_WAYS, strict=True))
    words[lay.WALKER + lay.P_CACHES] = areas.take(lay.WALK_ENTRY * entries)


def _memory(parameters: Machine, words: dict[int, int]) -> None:
    rate = parameters["DRAM.data_rate"]
    period, burst = 2_000_000 // rate, 1_000_000 // rate
    t_ras = parameters["DRAM.tRAS"] * period
    channels, ranks = parameters["DRAM.channels"], parameters["DRAM.ranks"]
    words |= {
        lay.MEMORY + field: value
        for field, value in (
            (lay.M_PERIOD, period),
            (lay.M_CYCLE, cycle_ps(parameters)),
            (lay.M_BURST, burst),
            (lay.M_N_CHANNELS, channels),
            (lay.M_CHANNEL_BITS, channels.bit_length() - 1),
            (lay.M_RANK_BITS, ranks.bit_length() - 1),
            (lay.M_RQ, parameters["DRAM.rq"]),
            (lay.M_WQ, parameters["DRAM.wq"]),
            (lay.M_T_CAS, parameters["DRAM.tCAS"] * period),
            (lay.M_T_RCD, parameters["DRAM.tRCD"] * period),
            (lay.M_T_RP, parameters["DRAM.tRP"] * period),
            (lay.M_T_RAS, t_ras),
            (lay.M_T_REF, _refresh_ps(parameters)),
            (lay.M_T_RFC, 4 * t_ras),
            (lay.M_RETURN, 8 * burst),
            (lay.M_STALL, 2 * burst),
            (lay.M_N_BANKS, 32 * ranks),
        )
    }


def _refresh_ps(parameters: Machine) -> int:
    """Return the time between refreshes in whole microseconds, as the tool has it [ps]."""
    return 1000 * parameters["DRAM.refresh_ms"] // 8192 * 1_000_000


def _fill_areas(parameters: Machine, state: Ints) -> None:
    """Set the areas that do not start as zeros."""
    registers = parameters["CPU.registers"]
    state[lay.FREE_RING : lay.FREE_RING + registers] = np.arange(registers)
    state[state[lay.G_CALL_SIZES] : state[lay.G_CALL_SIZES] + 1024] = 4
    lq = parameters["CPU.lq"]
    for word in range((lq + 63) // 64):
        bits = min(64, lq - 64 * word)
        state[state[lay.G_LOAD_FREE] + word] = -1 if bits == 64 else (1 << bits) - 1
    loads = state[lay.G_LOADS]
    state[loads + lay.L_ID : loads + lay.L_SIZE * lq : lay.L_SIZE] = -1
    for component in _WIRES:
        name = lay.COMPONENTS[component]
        k = lay.CACHES + lay.CACHE_SIZE * component
        n_blocks = parameters[f"{name}.sets"] * parameters[f"{name}.ways"]
        policy = parameters[f"{name}.replacement"]
        if policy not in (0, 5):
            state[state[k + lay.K_RANKS] : state[k + lay.K_RANKS] + n_blocks] = 3
        if policy == 3:
            state[state[k + lay.K_SHIP] : state[k + lay.K_SHIP] + 16384] = 1
