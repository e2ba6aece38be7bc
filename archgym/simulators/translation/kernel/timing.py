"""Clock of a core with a reorder buffer; compiled.

Instructions are dispatched in order, a fixed time apart, and retire in order. An instruction waits
for its dispatch until the one a whole reorder buffer earlier has retired. An access to memory that
misses an L1 TLB or the L1 cache starts once it is dispatched, or later if the program has as many
such accesses in flight as its parallelism allows. Hits take no time of their own. A store retires
once it is translated. This is the window model of trace-driven memory simulators (S. Karkhanis,
J. Smith, ISCA 2004, describe it for analysis).
"""

from typing import Any

from archgym.simulators.kit.kernels import compiled, inlined, kept_apart
from archgym.simulators.translation.kernel.state import REORDER_RING

_RING = REORDER_RING - 1


@compiled
def begin(m: Any, instruction: Any) -> None:
    """Set the clock to the time at which a long access of an instruction starts."""
    kept_apart()
    m.clock = max(dispatched_at(m, instruction), m.chain_end[m.next_chain])


@compiled
def begin_fetch(m: Any, instruction: Any) -> None:
    """Set the clock to the time at which an instruction is fetched."""
    kept_apart()
    m.clock = dispatched_at(m, instruction)


@inlined
def dispatched_at(m: Any, instruction: Any) -> Any:
    """Return the time of an instruction's dispatch, and remember it."""
    time = m.dispatched + (instruction - m.dispatched_instruction) * m.dispatch_cycles
    last = instruction - m.reorder_entries
    while m.oldest < m.newest and m.held_instruction[m.oldest & _RING] <= last:
        # The instruction a reorder buffer later is dispatched when this one retires.
        behind = last - m.held_instruction[m.oldest & _RING]
        time = max(time, m.held_until[m.oldest & _RING] + behind * m.dispatch_cycles)
        m.oldest += 1
    m.dispatched = time
    m.dispatched_instruction = instruction
    return time


@compiled
def finish(m: Any, c: Any, instruction: Any, waited: Any, fetched: Any, is_store: Any) -> None:
    """End a long access.

    Args:
      m: Record of `MACHINE`, with the clock after the translation.
      c: Record of `COUNTS`.
      instruction: Instructions before it.
      waited: Cycles of the translation.
      fetched: Cycles of the data beyond the L1 cache.
      is_store: True if the instruction does not wait for the data.
    """
    kept_apart()
    # Hits in the L2 TLB and the L2 cache do not count as misses that run in parallel.
    if fetched > m.l2_cache_cycles or waited > m.l2_cycles + m.l2_cache_cycles:
        m.chain_end[m.next_chain] = m.clock + fetched
        m.next_chain = m.next_chain + 1 if m.next_chain + 1 < m.chains else 0
    # A store that waits for other misses waits in the store queue.
    done = m.dispatched + waited if is_store else m.clock + fetched
    total = waited if is_store else waited + fetched
    ready = max(m.retired, m.dispatched)
    if done > ready:
        if total > 0:
            c.translation_stall_cycles += int((done - ready) * waited / total)
        ready = done
    m.retired = ready
    if m.newest - m.oldest > _RING:
        m.dispatched = max(m.dispatched, m.held_until[m.oldest & _RING])
        m.oldest += 1
    m.held_instruction[m.newest & _RING] = instruction
    m.held_until[m.newest & _RING] = ready
    m.newest += 1


@compiled
def wait_in_front(m: Any, c: Any, waited: Any, fetched: Any) -> None:
    """Delay the dispatch of all later instructions by a fetch."""
    kept_apart()
    m.dispatched = max(m.dispatched, m.clock + fetched)
    c.translation_stall_cycles += waited


@compiled
def now(m: Any, instruction: Any) -> Any:
    """Return the time at which everything before `instruction` has retired."""
    kept_apart()
    return max(m.retired, dispatched_at(m, instruction))


@compiled
def restart(m: Any) -> None:
    """Begin a pass: the clock continues, and instructions count from 0."""
    kept_apart()
    m.dispatched = max(m.dispatched, m.retired)
    m.dispatched_instruction = 0
    m.oldest = m.newest
