"""Compiled back end: dispatch, scheduling, execution, loads and stores, retirement."""

from archgym.runtime.kernels import helper
from archgym.simulators.cpu.kernel_channels import lowest_bit, send
from archgym.simulators.cpu.layout import (
    ANSWER_SIZE,
    BACK,
    C_ANSWERS,
    C_READS,
    C_WRITES,
    CHANNEL_SIZE,
    CHANNELS,
    COMPLETED,
    CORE_L1D,
    EXECUTED,
    FREE_RING,
    FRONT,
    G_CAN_COMPLETE,
    G_CAN_EXECUTE,
    G_DISPATCH_TAIL,
    G_DISPATCH_WIDTH,
    G_EXECUTE_LATENCY,
    G_EXECUTE_WIDTH,
    G_FREE_COUNT,
    G_FREE_HEAD,
    G_HEAD,
    G_INSTRUCTIONS,
    G_L1D_TAG_BW,
    G_LOAD_FREE,
    G_LOAD_SEND,
    G_LOAD_SENT,
    G_LOAD_WORDS,
    G_LOADS,
    G_LQ_WIDTH,
    G_MASK,
    G_MISPREDICT_PENALTY,
    G_N_COMPLETE,
    G_N_EXECUTE,
    G_N_LOAD_FREE,
    G_N_LOAD_SEND,
    G_NEEDS_STALE,
    G_RESUME,
    G_RETIRE_WIDTH,
    G_RETIRED,
    G_ROB,
    G_ROB_TAIL,
    G_SCHEDULE_LATENCY,
    G_SCHEDULED,
    G_SCHEDULER,
    G_SQ,
    G_SQ_WIDTH,
    G_STORE_HASH,
    G_STORE_HEAD,
    G_STORE_ISSUED,
    G_STORE_MASK,
    G_STORE_TAIL,
    G_STORES,
    G_UNEXECUTED,
    G_WARM,
    G_WORDS,
    I_FLAGS,
    I_LOADS,
    I_MEMORY,
    I_NEED,
    I_PENDING,
    I_READY,
    I_REGISTERS,
    I_SIZE,
    I_STORE,
    I_WAIT,
    I_WORD,
    L_ADDRESS,
    L_ID,
    L_NEXT,
    L_READY,
    L_SIZE,
    LOAD,
    MISPREDICTED,
    N_DESTINATIONS,
    N_DESTINATIONS_BIT,
    N_FORWARDED,
    N_LOADS,
    N_READS_BIT,
    N_SOURCES,
    N_SOURCES_BIT,
    N_STORES,
    N_WRITES_BIT,
    NEED_COUNT,
    NEVER,
    NOT_WAITING,
    Q_BUFFER,
    Q_COUNT,
    Q_HEAD,
    Q_MASK,
    S_ADDRESS,
    S_ID,
    S_PREVIOUS,
    S_READY,
    S_SIZE,
    S_WAITERS,
    STANDS_FOR,
    STORE_HASH_SIZE,
    VALID,
    WAITERS,
    WRITE,
    Words,
)

__all__ = [
    "complete",
    "dispatch",
    "execute",
    "operate_loads",
    "operate_stores",
    "retire",
    "schedule",
    "take_loaded",
]

_CHANNEL = CHANNELS + CHANNEL_SIZE * CORE_L1D
_NO_SLOT = 0xFFFF


@helper
def _set_bit(m: Words, bits: int, index: int) -> None:
    m[bits + (index >> 6)] |= 1 << (index & 63)


@helper
def _clear_bit(m: Words, bits: int, index: int) -> None:
    m[bits + (index >> 6)] &= ~(1 << (index & 63))


@helper
def _n_destinations(word: int) -> int:
    return (word >> N_DESTINATIONS_BIT) & 3


@helper
def _n_sources(word: int) -> int:
    return (word >> N_SOURCES_BIT) & 7


@helper
def retire(m: Words, now: int) -> int:
    """Retire completed instructions from the head of the ROB; return how many."""
    head, start = m[G_HEAD], m[G_HEAD]
    end = min(m[G_ROB_TAIL], start + m[G_RETIRE_WIDTH])
    while head < end:
        i = m[G_INSTRUCTIONS] + I_SIZE * (head & m[G_MASK])
        if m[i + I_FLAGS] & COMPLETED == 0:
            break
        registers = m[i + I_REGISTERS]
        for _ in range(_n_destinations(m[i + I_WORD])):
            physical = registers & 255
            registers >>= 8
            number = m[STANDS_FOR + physical]
            old = m[BACK + number] - 1
            m[BACK + number] = physical + 1
            if old >= 0:
                m[FREE_RING + ((m[G_FREE_HEAD] + m[G_FREE_COUNT]) & 255)] = old
                m[G_FREE_COUNT] += 1
                m[VALID + old] = 0
        m[NEED_COUNT + m[i + I_NEED]] -= 1
        head += 1
    m[G_HEAD] = head
    m[G_RETIRED] += head - start
    return head - start


@helper
def _make_completable(m: Words, index: int) -> None:
    _set_bit(m, m[G_CAN_COMPLETE], index)
    m[G_N_COMPLETE] += 1


@helper
def _finish_memory(m: Words, instruction: int) -> None:
    """Note that one memory operation of an instruction has finished."""
    index = instruction & m[G_MASK]
    i = m[G_INSTRUCTIONS] + I_SIZE * index
    m[i + I_MEMORY] -= 1
    if m[i + I_MEMORY] == 0 and m[i + I_FLAGS] & EXECUTED:
        _make_completable(m, index)


@helper
def complete(m: Words, now: int) -> int:
    """Complete executed instructions in program order; return how many."""
    budget = m[G_EXECUTE_WIDTH]
    left = m[G_N_COMPLETE]
    first = m[G_HEAD] & m[G_MASK]
    word = first >> 6
    bits = m[m[G_CAN_COMPLETE] + word] & (-1 << (first & 63))
    done = 0
    while True:
        while bits != 0:
            index = (word << 6) + lowest_bit(bits)
            bits &= bits - 1
            left -= 1
            i = m[G_INSTRUCTIONS] + I_SIZE * index
            if m[i + I_READY] <= now:
                _complete_one(m, i, index, now)
                done += 1
                if done == budget:
                    return done
        if left <= 0:
            return done
        word += 1
        if word == m[G_WORDS]:
            word = 0
        bits = m[m[G_CAN_COMPLETE] + word]
        if word == first >> 6:
            bits &= ~(-1 << (first & 63))


@helper
def _complete_one(m: Words, i: int, index: int, now: int) -> None:
    _clear_bit(m, m[G_CAN_COMPLETE], index)
    m[G_N_COMPLETE] -= 1
    m[i + I_FLAGS] |= COMPLETED
    registers = m[i + I_REGISTERS]
    for _ in range(_n_destinations(m[i + I_WORD])):
        physical = registers & 255
        registers >>= 8
        m[VALID + physical] = 1
        waiting = m[WAITERS + physical]
        m[WAITERS + physical] = 0
        while waiting != 0:
            # A waiting source is named by its place in the instruction's structure.
            following = m[waiting]
            other = (waiting - m[G_INSTRUCTIONS]) // I_SIZE
            j = m[G_INSTRUCTIONS] + I_SIZE * other
            m[j + I_PENDING] -= 1
            if m[j + I_PENDING] == 0:
                _set_bit(m, m[G_CAN_EXECUTE], other)
                m[G_N_EXECUTE] += 1
            waiting = following
    if m[i + I_FLAGS] & MISPREDICTED:
        m[G_RESUME] = now + m[G_MISPREDICT_PENALTY]


@helper
def execute(m: Words, now: int) -> int:
    """Execute instructions whose sources are valid, in program order; return how many."""
    budget = m[G_EXECUTE_WIDTH]
    left = m[G_N_EXECUTE]
    first = m[G_HEAD] & m[G_MASK]
    word = first >> 6
    bits = m[m[G_CAN_EXECUTE] + word] & (-1 << (first & 63))
    done = 0
    while True:
        while bits != 0:
            index = (word << 6) + lowest_bit(bits)
            bits &= bits - 1
            left -= 1
            _execute_one(m, index, now)
            done += 1
            if done == budget:
                return done
        if left <= 0:
            return done
        word += 1
        if word == m[G_WORDS]:
            word = 0
        bits = m[m[G_CAN_EXECUTE] + word]
        if word == first >> 6:
            bits &= ~(-1 << (first & 63))


@helper
def _execute_one(m: Words, index: int, now: int) -> None:
    i = m[G_INSTRUCTIONS] + I_SIZE * index
    _clear_bit(m, m[G_CAN_EXECUTE], index)
    m[G_N_EXECUTE] -= 1
    m[G_UNEXECUTED] -= 1
    m[i + I_FLAGS] |= EXECUTED
    ready = now if m[G_WARM] else now + m[G_EXECUTE_LATENCY]
    m[i + I_READY] = ready
    if m[i + I_MEMORY] == 0:
        _make_completable(m, index)
    word = m[i + I_WORD]
    slots = m[i + I_LOADS]
    for _ in range((word >> N_READS_BIT) & 7):
        slot = slots & _NO_SLOT
        slots >>= 16
        if slot == _NO_SLOT:
            continue
        at = m[G_LOADS] + L_SIZE * slot
        # The slot may have finished by a store, and serve another instruction by now.
        if m[at + L_ID] & m[G_MASK] == index and m[at + L_ID] >= m[G_HEAD]:
            m[at + L_READY] = ready
            if m[at + L_NEXT] == NOT_WAITING:
                _set_bit(m, m[G_LOAD_SEND], slot)
                m[G_N_LOAD_SEND] += 1
    for store in range(m[i + I_STORE], m[i + I_STORE] + ((word >> N_WRITES_BIT) & 3)):
        m[m[G_STORES] + S_SIZE * (store & m[G_STORE_MASK]) + S_READY] = ready


@helper
def _need(m: Words, registers: int, word: int) -> int:
    """Return the physical registers that scheduling an instruction is held to need."""
    n_destinations = _n_destinations(word)
    need = n_destinations
    registers >>= 16
    for _ in range(_n_sources(word)):
        if m[FRONT + (registers & 255)] == 0:
            need += 1
        registers >>= 8
    return need


@helper
def _renew_needs(m: Words) -> None:
    """Count the needs of the scheduled instructions again, after the front table has grown."""
    for need in range(8):
        m[NEED_COUNT + need] = 0
    for instruction in range(m[G_HEAD], m[G_SCHEDULED]):
        i = m[G_INSTRUCTIONS] + I_SIZE * (instruction & m[G_MASK])
        m[i + I_NEED] = _need(m, m[i + I_REGISTERS], m[i + I_WORD])
        m[NEED_COUNT + m[i + I_NEED]] += 1
    m[G_NEEDS_STALE] = 0


@helper
def _take_register(m: Words) -> int:
    physical = m[FREE_RING + m[G_FREE_HEAD]]
    m[G_FREE_HEAD] = (m[G_FREE_HEAD] + 1) & 255
    m[G_FREE_COUNT] -= 1
    return physical


@helper
def schedule(m: Words, now: int) -> int:
    """Rename and schedule instructions in program order; return how many."""
    if m[G_SCHEDULED] == m[G_ROB_TAIL] or m[G_UNEXECUTED] >= m[G_SCHEDULER]:
        return 0
    if m[G_NEEDS_STALE]:
        _renew_needs(m)
    # Scheduled instructions stop the scan, too, where they are held to need too much.
    for need in range(m[G_FREE_COUNT] + 1, 7):
        if m[NEED_COUNT + need] > 0:
            return 0
    instruction = m[G_SCHEDULED]
    while instruction < m[G_ROB_TAIL] and m[G_UNEXECUTED] < m[G_SCHEDULER]:
        index = instruction & m[G_MASK]
        i = m[G_INSTRUCTIONS] + I_SIZE * index
        word = m[i + I_WORD]
        # The record's registers, destinations at bits 16 and 24, sources from bit 32.
        if _need(m, word >> 16, word) > m[G_FREE_COUNT] or m[i + I_READY] > now:
            break
        _rename(m, i, index, word)
        instruction += 1
    done = instruction - m[G_SCHEDULED]
    m[G_SCHEDULED] = instruction
    return done


@helper
def _rename(m: Words, i: int, index: int, word: int) -> None:
    n_sources, n_destinations = _n_sources(word), _n_destinations(word)
    registers = 0
    pending = 0
    for k in range(n_sources):
        number = (word >> (32 + 8 * k)) & 255
        physical = m[FRONT + number] - 1
        if physical < 0:
            physical = _take_register(m)
            m[FRONT + number] = physical + 1
            m[BACK + number] = physical + 1
            m[VALID + physical] = 1
            m[STANDS_FOR + physical] = number
            m[G_NEEDS_STALE] = 1
        elif m[VALID + physical] == 0:
            m[i + I_WAIT + k] = m[WAITERS + physical]
            m[WAITERS + physical] = i + I_WAIT + k
            pending += 1
        registers |= physical << (16 + 8 * k)
    for k in range(n_destinations):
        number = (word >> (16 + 8 * k)) & 255
        physical = _take_register(m)
        if m[FRONT + number] == 0:
            m[G_NEEDS_STALE] = 1
        m[FRONT + number] = physical + 1
        m[VALID + physical] = 0
        m[STANDS_FOR + physical] = number
        registers |= physical << (8 * k)
    m[i + I_REGISTERS] = registers
    m[i + I_PENDING] = pending
    need = _need(m, registers, word)
    m[i + I_NEED] = need
    m[NEED_COUNT + need] += 1
    m[G_UNEXECUTED] += 1
    m[N_SOURCES] += n_sources
    m[N_DESTINATIONS] += n_destinations
    if pending == 0:
        _set_bit(m, m[G_CAN_EXECUTE], index)
        m[G_N_EXECUTE] += 1


@helper
def _free_load(m: Words, slot: int) -> None:
    m[m[G_LOADS] + L_SIZE * slot + L_ID] = -1
    _set_bit(m, m[G_LOAD_FREE], slot)
    m[G_N_LOAD_FREE] += 1


@helper
def take_loaded(m: Words) -> int:
    """Take the L1D's answers; return how many."""
    queue = _CHANNEL + C_ANSWERS
    taken = min(m[G_L1D_TAG_BW], m[queue + Q_COUNT])
    for _ in range(taken):
        at = m[queue + Q_BUFFER] + ANSWER_SIZE * m[queue + Q_HEAD]
        block = m[at + 1] >> 6
        m[queue + Q_HEAD] = (m[queue + Q_HEAD] + 1) & m[queue + Q_MASK]
        m[queue + Q_COUNT] -= 1
        for word in range(m[G_LOAD_WORDS]):
            bits = m[m[G_LOAD_SENT] + word]
            while bits != 0:
                slot = (word << 6) + lowest_bit(bits)
                bits &= bits - 1
                load = m[G_LOADS] + L_SIZE * slot
                if m[load + L_ADDRESS] >> 6 == block:
                    _clear_bit(m, m[G_LOAD_SENT], slot)
                    _finish_memory(m, m[load + L_ID])
                    _free_load(m, slot)
    return taken


@helper
def operate_stores(m: Words, tr: Words, now: int) -> int:
    """Issue executed stores, and hand retired ones to the L1D; return how many of both."""
    budget = m[G_SQ_WIDTH]
    issued = m[G_STORE_ISSUED]
    while budget > 0 and issued < m[G_STORE_TAIL]:
        store = m[G_STORES] + S_SIZE * (issued & m[G_STORE_MASK])
        if m[store + S_READY] > now:
            break
        m[store + S_READY] = now
        _finish_memory(m, m[store + S_ID])
        slot = m[store + S_WAITERS]
        while slot >= 0:
            load = m[G_LOADS] + L_SIZE * slot
            following = m[load + L_NEXT]
            _finish_memory(m, m[load + L_ID])
            _free_load(m, slot)
            slot = following
        issued += 1
        budget -= 1
    done = issued - m[G_STORE_ISSUED]
    m[G_STORE_ISSUED] = issued
    queue = _CHANNEL + C_WRITES
    while budget > 0 and m[G_STORE_HEAD] < issued:
        store = m[G_STORES] + S_SIZE * (m[G_STORE_HEAD] & m[G_STORE_MASK])
        if m[store + S_ID] >= m[G_HEAD]:
            break
        address, ip = m[store + S_ADDRESS], tr[8 * m[store + S_ID]]
        if send(m, _CHANNEL, queue, address, address, ip, WRITE, 0, 0, now) == 0:
            break
        m[G_STORE_HEAD] += 1
        budget -= 1
        done += 1
    return done


@helper
def operate_loads(m: Words, tr: Words, now: int) -> int:
    """Send loads to the L1D in the order of their slots; return how many."""
    budget = m[G_LQ_WIDTH]
    sent = 0
    queue = _CHANNEL + C_READS
    for word in range(m[G_LOAD_WORDS]):
        bits = m[m[G_LOAD_SEND] + word]
        while bits != 0:
            slot = (word << 6) + lowest_bit(bits)
            bits &= bits - 1
            load = m[G_LOADS] + L_SIZE * slot
            if m[load + L_READY] >= now:
                continue
            address, ip = m[load + L_ADDRESS], tr[8 * m[load + L_ID]]
            if send(m, _CHANNEL, queue, address, address, ip, LOAD, 0, 1, now) == 0:
                return sent
            _clear_bit(m, m[G_LOAD_SEND], slot)
            m[G_N_LOAD_SEND] -= 1
            _set_bit(m, m[G_LOAD_SENT], slot)
            sent += 1
            if sent == budget:
                return sent
    return sent


@helper
def dispatch(m: Words, tr: Words, now: int) -> int:
    """Move instructions into the ROB and the load and store queues; return how many."""
    tail = m[G_ROB_TAIL]
    start = tail
    limit = min(m[G_DISPATCH_TAIL], start + m[G_DISPATCH_WIDTH])
    limit = min(limit, m[G_HEAD] + m[G_ROB])
    latency = 0 if m[G_WARM] else m[G_SCHEDULE_LATENCY]
    while tail < limit:
        i = m[G_INSTRUCTIONS] + I_SIZE * (tail & m[G_MASK])
        if m[i + I_READY] > now:
            break
        word = m[i + I_WORD]
        n_reads, n_writes = (word >> N_READS_BIT) & 7, (word >> N_WRITES_BIT) & 3
        m[i + I_MEMORY] = n_reads + n_writes
        if n_reads + n_writes > 0:
            if n_reads > m[G_N_LOAD_FREE]:
                break
            if m[G_STORE_TAIL] - m[G_STORE_HEAD] + n_writes > m[G_SQ]:
                break
            _enter_memory(m, tr, i, tail, n_reads, n_writes)
        m[i + I_READY] = now + latency
        tail += 1
    m[G_ROB_TAIL] = tail
    return tail - start


@helper
def _find_store(m: Words, address: int) -> int:
    """Return the number of the youngest store of this address in the queue, or -1."""
    head = m[G_STORE_HEAD]
    store = m[m[G_STORE_HASH] + _hash(address)] - 1
    while store >= head:
        at = m[G_STORES] + S_SIZE * (store & m[G_STORE_MASK])
        if m[at + S_ADDRESS] == address:
            if store > head:
                before = m[G_STORES] + S_SIZE * ((store - 1) & m[G_STORE_MASK])
                if m[before + S_ADDRESS] == address and m[before + S_ID] == m[at + S_ID]:
                    return store - 1
            return store
        store = m[at + S_PREVIOUS]
    return -1


@helper
def _hash(address: int) -> int:
    return (address ^ (address >> 3) ^ (address >> 13)) & (STORE_HASH_SIZE - 1)


@helper
def _lowest_free_load(m: Words) -> int:
    word = 0
    while m[m[G_LOAD_FREE] + word] == 0:
        word += 1
    slot = (word << 6) + lowest_bit(m[m[G_LOAD_FREE] + word])
    _clear_bit(m, m[G_LOAD_FREE], slot)
    m[G_N_LOAD_FREE] -= 1
    return slot


@helper
def _enter_memory(
    m: Words, tr: Words, i: int, instruction: int, n_reads: int, n_writes: int
) -> None:
    """Enter an instruction's reads and writes into the load and store queues."""
    slots = 0
    for k in range(n_reads):
        address = tr[8 * instruction + 4 + k]
        store = _find_store(m, address)
        slot = _NO_SLOT
        if store >= 0 and store < m[G_STORE_ISSUED]:
            m[i + I_MEMORY] -= 1
            m[N_FORWARDED] += 1
        else:
            slot = _lowest_free_load(m)
            load = m[G_LOADS] + L_SIZE * slot
            m[load + L_ID] = instruction
            m[load + L_ADDRESS] = address
            m[load + L_READY] = NEVER
            m[load + L_NEXT] = NOT_WAITING
            if store >= 0:
                at = m[G_STORES] + S_SIZE * (store & m[G_STORE_MASK])
                m[load + L_NEXT] = m[at + S_WAITERS]
                m[at + S_WAITERS] = slot
                m[N_FORWARDED] += 1
        slots |= slot << (16 * k)
    m[i + I_LOADS] = slots
    m[i + I_STORE] = m[G_STORE_TAIL]
    for k in range(n_writes):
        address = tr[8 * instruction + 2 + k]
        store = m[G_STORE_TAIL]
        at = m[G_STORES] + S_SIZE * (store & m[G_STORE_MASK])
        bucket = m[G_STORE_HASH] + _hash(address)
        m[at + S_ID] = instruction
        m[at + S_ADDRESS] = address
        m[at + S_READY] = NEVER
        m[at + S_PREVIOUS] = m[bucket] - 1
        m[at + S_WAITERS] = -1
        m[bucket] = store + 1
        m[G_STORE_TAIL] = store + 1
    m[N_LOADS] += n_reads
    m[N_STORES] += n_writes
