"""Compiled back end: dispatch, scheduling, execution, loads and stores, retirement."""

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.channels import send
from archgym.simulators.cpu.kernel.layout import Words
from archgym.simulators.cpu.workloads import derivation as rec
from archgym.simulators.kit.kernels import helper, lowest_bit

_CHANNEL = lay.CHANNELS + lay.CHANNEL_SIZE * lay.CORE_L1D


@helper
def _set_bit(m: Words, bits: int, index: int) -> None:
    m[bits + (index >> 6)] |= 1 << (index & 63)


@helper
def _clear_bit(m: Words, bits: int, index: int) -> None:
    m[bits + (index >> 6)] &= ~(1 << (index & 63))


@helper
def _n_destinations(word: int) -> int:
    return (word >> rec.N_DESTINATIONS_BIT) & 3


@helper
def _n_sources(word: int) -> int:
    return (word >> rec.N_SOURCES_BIT) & 7


@helper
def retire(m: Words, now: int) -> int:
    """Retire completed instructions from the head of the ROB; return how many."""
    head, start = m[lay.G_HEAD], m[lay.G_HEAD]
    end = min(m[lay.G_ROB_TAIL], start + m[lay.G_RETIRE_WIDTH])
    while head < end:
        i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * (head & m[lay.G_MASK])
        if m[i + lay.I_FLAGS] & lay.COMPLETED == 0:
            break
        registers = m[i + lay.I_REGISTERS]
        for _ in range(_n_destinations(m[i + lay.I_WORD])):
            physical = registers & 255
            registers >>= 8
            number = m[lay.STANDS_FOR + physical]
            old = m[lay.BACK + number] - 1
            m[lay.BACK + number] = physical + 1
            if old >= 0:
                m[lay.FREE_RING + ((m[lay.G_FREE_HEAD] + m[lay.G_FREE_COUNT]) & 255)] = old
                m[lay.G_FREE_COUNT] += 1
                m[lay.VALID + old] = 0
        m[lay.NEED_COUNT + m[i + lay.I_NEED]] -= 1
        head += 1
    m[lay.G_HEAD] = head
    m[lay.G_RETIRED] += head - start
    return head - start


@helper
def _make_completable(m: Words, index: int) -> None:
    _set_bit(m, m[lay.G_CAN_COMPLETE], index)
    m[lay.G_N_COMPLETE] += 1


@helper
def _finish_memory(m: Words, instruction: int) -> None:
    """Note that one memory operation of an instruction has finished."""
    index = instruction & m[lay.G_MASK]
    i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * index
    m[i + lay.I_MEMORY] -= 1
    if m[i + lay.I_MEMORY] == 0 and m[i + lay.I_FLAGS] & lay.EXECUTED:
        _make_completable(m, index)


@helper
def complete(m: Words, now: int) -> int:
    """Complete executed instructions in program order; return how many."""
    budget = m[lay.G_EXECUTE_WIDTH]
    left = m[lay.G_N_COMPLETE]
    first = m[lay.G_HEAD] & m[lay.G_MASK]
    word = first >> 6
    bits = m[m[lay.G_CAN_COMPLETE] + word] & (-1 << (first & 63))
    done = 0
    while True:
        while bits != 0:
            index = (word << 6) + lowest_bit(bits)
            bits &= bits - 1
            left -= 1
            i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * index
            if m[i + lay.I_READY] <= now:
                _complete_one(m, i, index, now)
                done += 1
                if done == budget:
                    return done
        if left <= 0:
            return done
        word += 1
        if word == m[lay.G_WORDS]:
            word = 0
        bits = m[m[lay.G_CAN_COMPLETE] + word]
        if word == first >> 6:
            bits &= ~(-1 << (first & 63))


@helper
def _complete_one(m: Words, i: int, index: int, now: int) -> None:
    _clear_bit(m, m[lay.G_CAN_COMPLETE], index)
    m[lay.G_N_COMPLETE] -= 1
    m[i + lay.I_FLAGS] |= lay.COMPLETED
    registers = m[i + lay.I_REGISTERS]
    for _ in range(_n_destinations(m[i + lay.I_WORD])):
        physical = registers & 255
        registers >>= 8
        m[lay.VALID + physical] = 1
        waiting = m[lay.WAITERS + physical]
        m[lay.WAITERS + physical] = 0
        while waiting != 0:
            # A waiting source is named by its place in the instruction's structure.
            following = m[waiting]
            other = (waiting - m[lay.G_INSTRUCTIONS]) // lay.I_SIZE
            j = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * other
            m[j + lay.I_PENDING] -= 1
            if m[j + lay.I_PENDING] == 0:
                _set_bit(m, m[lay.G_CAN_EXECUTE], other)
                m[lay.G_N_EXECUTE] += 1
            waiting = following
    if m[i + lay.I_FLAGS] & lay.MISPREDICTED:
        m[lay.G_RESUME] = now + m[lay.G_MISPREDICT_PENALTY]


@helper
def execute(m: Words, now: int) -> int:
    """Execute instructions whose sources are valid, in program order; return how many."""
    budget = m[lay.G_EXECUTE_WIDTH]
    left = m[lay.G_N_EXECUTE]
    first = m[lay.G_HEAD] & m[lay.G_MASK]
    word = first >> 6
    bits = m[m[lay.G_CAN_EXECUTE] + word] & (-1 << (first & 63))
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
        if word == m[lay.G_WORDS]:
            word = 0
        bits = m[m[lay.G_CAN_EXECUTE] + word]
        if word == first >> 6:
            bits &= ~(-1 << (first & 63))


@helper
def _execute_one(m: Words, index: int, now: int) -> None:
    i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * index
    _clear_bit(m, m[lay.G_CAN_EXECUTE], index)
    m[lay.G_N_EXECUTE] -= 1
    m[lay.G_UNEXECUTED] -= 1
    m[i + lay.I_FLAGS] |= lay.EXECUTED
    ready = now if m[lay.G_WARM] else now + m[lay.G_EXECUTE_LATENCY]
    m[i + lay.I_READY] = ready
    if m[i + lay.I_MEMORY] == 0:
        _make_completable(m, index)
    word = m[i + lay.I_WORD]
    slots = m[i + lay.I_LOADS]
    for _ in range((word >> rec.N_READS_BIT) & 7):
        slot = slots & lay.NO_LOAD_SLOT
        slots >>= lay.LOAD_SLOT_BITS
        if slot == lay.NO_LOAD_SLOT:
            continue
        at = m[lay.G_LOADS] + lay.L_SIZE * slot
        # The slot may have finished by a store, and serve another instruction by now.
        if m[at + lay.L_ID] & m[lay.G_MASK] == index and m[at + lay.L_ID] >= m[lay.G_HEAD]:
            m[at + lay.L_READY] = ready
            if m[at + lay.L_NEXT] == lay.NOT_WAITING:
                _set_bit(m, m[lay.G_LOAD_SEND], slot)
                m[lay.G_N_LOAD_SEND] += 1
    for store in range(m[i + lay.I_STORE], m[i + lay.I_STORE] + ((word >> rec.N_WRITES_BIT) & 3)):
        m[m[lay.G_STORES] + lay.S_SIZE * (store & m[lay.G_STORE_MASK]) + lay.S_READY] = ready


@helper
def _need(m: Words, registers: int, word: int) -> int:
    """Return the physical registers that scheduling an instruction is held to need."""
    n_destinations = _n_destinations(word)
    need = n_destinations
    registers >>= 16
    for _ in range(_n_sources(word)):
        if m[lay.FRONT + (registers & 255)] == 0:
            need += 1
        registers >>= 8
    return need


@helper
def _renew_needs(m: Words) -> None:
    """Count the needs of the scheduled instructions again, after the front table has grown."""
    for need in range(8):
        m[lay.NEED_COUNT + need] = 0
    for instruction in range(m[lay.G_HEAD], m[lay.G_SCHEDULED]):
        i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * (instruction & m[lay.G_MASK])
        m[i + lay.I_NEED] = _need(m, m[i + lay.I_REGISTERS], m[i + lay.I_WORD])
        m[lay.NEED_COUNT + m[i + lay.I_NEED]] += 1
    m[lay.G_NEEDS_STALE] = 0


@helper
def _take_register(m: Words) -> int:
    physical = m[lay.FREE_RING + m[lay.G_FREE_HEAD]]
    m[lay.G_FREE_HEAD] = (m[lay.G_FREE_HEAD] + 1) & 255
    m[lay.G_FREE_COUNT] -= 1
    return physical


@helper
def schedule(m: Words, now: int) -> int:
    """Rename and schedule instructions in program order; return how many."""
    if m[lay.G_SCHEDULED] == m[lay.G_ROB_TAIL] or m[lay.G_UNEXECUTED] >= m[lay.G_SCHEDULER]:
        return 0
    if m[lay.G_NEEDS_STALE]:
        _renew_needs(m)
    # Scheduled instructions stop the scan, too, where they are held to need too much.
    for need in range(m[lay.G_FREE_COUNT] + 1, 7):
        if m[lay.NEED_COUNT + need] > 0:
            return 0
    instruction = m[lay.G_SCHEDULED]
    while instruction < m[lay.G_ROB_TAIL] and m[lay.G_UNEXECUTED] < m[lay.G_SCHEDULER]:
        index = instruction & m[lay.G_MASK]
        i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * index
        word = m[i + lay.I_WORD]
        # The record's registers, destinations at bits 16 and 24, sources from bit 32.
        if _need(m, word >> 16, word) > m[lay.G_FREE_COUNT] or m[i + lay.I_READY] > now:
            break
        _rename(m, i, index, word)
        instruction += 1
    done = instruction - m[lay.G_SCHEDULED]
    m[lay.G_SCHEDULED] = instruction
    return done


@helper
def _rename(m: Words, i: int, index: int, word: int) -> None:
    n_sources, n_destinations = _n_sources(word), _n_destinations(word)
    registers = 0
    pending = 0
    for k in range(n_sources):
        number = (word >> (32 + 8 * k)) & 255
        physical = m[lay.FRONT + number] - 1
        if physical < 0:
            physical = _take_register(m)
            m[lay.FRONT + number] = physical + 1
            m[lay.BACK + number] = physical + 1
            m[lay.VALID + physical] = 1
            m[lay.STANDS_FOR + physical] = number
            m[lay.G_NEEDS_STALE] = 1
        elif m[lay.VALID + physical] == 0:
            m[i + lay.I_WAIT + k] = m[lay.WAITERS + physical]
            m[lay.WAITERS + physical] = i + lay.I_WAIT + k
            pending += 1
        registers |= physical << (16 + 8 * k)
    for k in range(n_destinations):
        number = (word >> (16 + 8 * k)) & 255
        physical = _take_register(m)
        if m[lay.FRONT + number] == 0:
            m[lay.G_NEEDS_STALE] = 1
        m[lay.FRONT + number] = physical + 1
        m[lay.VALID + physical] = 0
        m[lay.STANDS_FOR + physical] = number
        registers |= physical << (8 * k)
    m[i + lay.I_REGISTERS] = registers
    m[i + lay.I_PENDING] = pending
    need = _need(m, registers, word)
    m[i + lay.I_NEED] = need
    m[lay.NEED_COUNT + need] += 1
    m[lay.G_UNEXECUTED] += 1
    m[lay.N_SOURCES] += n_sources
    m[lay.N_DESTINATIONS] += n_destinations
    if pending == 0:
        _set_bit(m, m[lay.G_CAN_EXECUTE], index)
        m[lay.G_N_EXECUTE] += 1


@helper
def _free_load(m: Words, slot: int) -> None:
    m[m[lay.G_LOADS] + lay.L_SIZE * slot + lay.L_ID] = -1
    _set_bit(m, m[lay.G_LOAD_FREE], slot)
    m[lay.G_N_LOAD_FREE] += 1


@helper
def take_loaded(m: Words) -> int:
    """Take the L1D's answers; return how many."""
    queue = _CHANNEL + lay.C_ANSWERS
    taken = min(m[lay.G_L1D_TAG_BW], m[queue + lay.Q_COUNT])
    for _ in range(taken):
        at = m[queue + lay.Q_BUFFER] + lay.ANSWER_SIZE * m[queue + lay.Q_HEAD]
        block = m[at + lay.A_VIRTUAL] >> 6
        m[queue + lay.Q_HEAD] = (m[queue + lay.Q_HEAD] + 1) & m[queue + lay.Q_MASK]
        m[queue + lay.Q_COUNT] -= 1
        for word in range(m[lay.G_LOAD_WORDS]):
            bits = m[m[lay.G_LOAD_SENT] + word]
            while bits != 0:
                slot = (word << 6) + lowest_bit(bits)
                bits &= bits - 1
                load = m[lay.G_LOADS] + lay.L_SIZE * slot
                if m[load + lay.L_ADDRESS] >> 6 == block:
                    _clear_bit(m, m[lay.G_LOAD_SENT], slot)
                    _finish_memory(m, m[load + lay.L_ID])
                    _free_load(m, slot)
    return taken


@helper
def operate_stores(m: Words, tr: Words, now: int) -> int:
    """Issue executed stores, and hand retired ones to the L1D; return how many of both."""
    budget = m[lay.G_SQ_WIDTH]
    issued = m[lay.G_STORE_ISSUED]
    while budget > 0 and issued < m[lay.G_STORE_TAIL]:
        store = m[lay.G_STORES] + lay.S_SIZE * (issued & m[lay.G_STORE_MASK])
        if m[store + lay.S_READY] > now:
            break
        m[store + lay.S_READY] = now
        _finish_memory(m, m[store + lay.S_ID])
        slot = m[store + lay.S_WAITERS]
        while slot >= 0:
            load = m[lay.G_LOADS] + lay.L_SIZE * slot
            following = m[load + lay.L_NEXT]
            _finish_memory(m, m[load + lay.L_ID])
            _free_load(m, slot)
            slot = following
        issued += 1
        budget -= 1
    done = issued - m[lay.G_STORE_ISSUED]
    m[lay.G_STORE_ISSUED] = issued
    queue = _CHANNEL + lay.C_WRITES
    while budget > 0 and m[lay.G_STORE_HEAD] < issued:
        store = m[lay.G_STORES] + lay.S_SIZE * (m[lay.G_STORE_HEAD] & m[lay.G_STORE_MASK])
        if m[store + lay.S_ID] >= m[lay.G_HEAD]:
            break
        address, ip = m[store + lay.S_ADDRESS], tr[rec.T_SIZE * m[store + lay.S_ID]]
        if send(m, _CHANNEL, queue, address, address, ip, lay.WRITE, 0, 0, now) == 0:
            break
        m[lay.G_STORE_HEAD] += 1
        budget -= 1
        done += 1
    return done


@helper
def operate_loads(m: Words, tr: Words, now: int) -> int:
    """Send loads to the L1D in the order of their slots; return how many."""
    budget = m[lay.G_LQ_WIDTH]
    sent = 0
    queue = _CHANNEL + lay.C_READS
    for word in range(m[lay.G_LOAD_WORDS]):
        bits = m[m[lay.G_LOAD_SEND] + word]
        while bits != 0:
            slot = (word << 6) + lowest_bit(bits)
            bits &= bits - 1
            load = m[lay.G_LOADS] + lay.L_SIZE * slot
            if m[load + lay.L_READY] >= now:
                continue
            address, ip = m[load + lay.L_ADDRESS], tr[rec.T_SIZE * m[load + lay.L_ID]]
            if send(m, _CHANNEL, queue, address, address, ip, lay.LOAD, 0, 1, now) == 0:
                return sent
            _clear_bit(m, m[lay.G_LOAD_SEND], slot)
            m[lay.G_N_LOAD_SEND] -= 1
            _set_bit(m, m[lay.G_LOAD_SENT], slot)
            sent += 1
            if sent == budget:
                return sent
    return sent


@helper
def dispatch(m: Words, tr: Words, now: int) -> int:
    """Move instructions into the ROB and the load and store queues; return how many."""
    tail = m[lay.G_ROB_TAIL]
    start = tail
    limit = min(m[lay.G_DISPATCH_TAIL], start + m[lay.G_DISPATCH_WIDTH])
    limit = min(limit, m[lay.G_HEAD] + m[lay.G_ROB])
    latency = 0 if m[lay.G_WARM] else m[lay.G_SCHEDULE_LATENCY]
    while tail < limit:
        i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * (tail & m[lay.G_MASK])
        if m[i + lay.I_READY] > now:
            break
        word = m[i + lay.I_WORD]
        n_reads, n_writes = (word >> rec.N_READS_BIT) & 7, (word >> rec.N_WRITES_BIT) & 3
        m[i + lay.I_MEMORY] = n_reads + n_writes
        if n_reads + n_writes > 0:
            if n_reads > m[lay.G_N_LOAD_FREE]:
                break
            if m[lay.G_STORE_TAIL] - m[lay.G_STORE_HEAD] + n_writes > m[lay.G_SQ]:
                break
            _enter_memory(m, tr, i, tail, n_reads, n_writes)
        m[i + lay.I_READY] = now + latency
        tail += 1
    m[lay.G_ROB_TAIL] = tail
    return tail - start


@helper
def _find_store(m: Words, address: int) -> int:
    """Return the number of the youngest store of this address in the queue, or -1."""
    head = m[lay.G_STORE_HEAD]
    store = m[m[lay.G_STORE_HASH] + _hash(address)] - 1
    while store >= head:
        at = m[lay.G_STORES] + lay.S_SIZE * (store & m[lay.G_STORE_MASK])
        if m[at + lay.S_ADDRESS] == address:
            if store > head:
                before = m[lay.G_STORES] + lay.S_SIZE * ((store - 1) & m[lay.G_STORE_MASK])
                if (
                    m[before + lay.S_ADDRESS] == address
                    and m[before + lay.S_ID] == m[at + lay.S_ID]
                ):
                    return store - 1
            return store
        store = m[at + lay.S_PREVIOUS]
    return -1


@helper
def _hash(address: int) -> int:
    return (address ^ (address >> 3) ^ (address >> 13)) & (lay.STORE_HASH_SIZE - 1)


@helper
def _lowest_free_load(m: Words) -> int:
    word = 0
    while m[m[lay.G_LOAD_FREE] + word] == 0:
        word += 1
    slot = (word << 6) + lowest_bit(m[m[lay.G_LOAD_FREE] + word])
    _clear_bit(m, m[lay.G_LOAD_FREE], slot)
    m[lay.G_N_LOAD_FREE] -= 1
    return slot


@helper
def _enter_memory(
    m: Words, tr: Words, i: int, instruction: int, n_reads: int, n_writes: int
) -> None:
    """Enter an instruction's reads and writes into the load and store queues."""
    record = rec.T_SIZE * instruction
    slots = 0
    for k in range(n_reads):
        address = tr[record + rec.T_READS + k]
        store = _find_store(m, address)
        slot = lay.NO_LOAD_SLOT
        if store >= 0 and store < m[lay.G_STORE_ISSUED]:
            m[i + lay.I_MEMORY] -= 1
            m[lay.N_FORWARDED] += 1
        else:
            slot = _lowest_free_load(m)
            load = m[lay.G_LOADS] + lay.L_SIZE * slot
            m[load + lay.L_ID] = instruction
            m[load + lay.L_ADDRESS] = address
            m[load + lay.L_READY] = lay.NEVER
            m[load + lay.L_NEXT] = lay.NOT_WAITING
            if store >= 0:
                at = m[lay.G_STORES] + lay.S_SIZE * (store & m[lay.G_STORE_MASK])
                m[load + lay.L_NEXT] = m[at + lay.S_WAITERS]
                m[at + lay.S_WAITERS] = slot
                m[lay.N_FORWARDED] += 1
        slots |= slot << (lay.LOAD_SLOT_BITS * k)
    m[i + lay.I_LOADS] = slots
    m[i + lay.I_STORE] = m[lay.G_STORE_TAIL]
    for k in range(n_writes):
        address = tr[record + rec.T_WRITES + k]
        store = m[lay.G_STORE_TAIL]
        at = m[lay.G_STORES] + lay.S_SIZE * (store & m[lay.G_STORE_MASK])
        bucket = m[lay.G_STORE_HASH] + _hash(address)
        m[at + lay.S_ID] = instruction
        m[at + lay.S_ADDRESS] = address
        m[at + lay.S_READY] = lay.NEVER
        m[at + lay.S_PREVIOUS] = m[bucket] - 1
        m[at + lay.S_WAITERS] = -1
        m[bucket] = store + 1
        m[lay.G_STORE_TAIL] = store + 1
    m[lay.N_LOADS] += n_reads
    m[lay.N_STORES] += n_writes
