"""Compiled DRAM controller: banks, refresh, read and write modes."""

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.channels import answer, free_request, pop
from archgym.simulators.cpu.kernel.layout import Words
from archgym.simulators.kit.kernels import helper, lowest_bit

_UPPER = lay.CHANNELS + lay.CHANNEL_SIZE * lay.LLC_DRAM


@helper
def _bit(mask: int, index: int) -> bool:
    return (mask >> index) & 1 != 0


@helper
def _row_of(m: Words, address: int) -> int:
    shift = 6 + m[lay.MEMORY + lay.M_CHANNEL_BITS] + 3 + 2 + 7 + m[lay.MEMORY + lay.M_RANK_BITS]
    return (address >> shift) & 0xFFFF


@helper
def _channel_of(m: Words, address: int) -> int:
    bits = m[lay.MEMORY + lay.M_CHANNEL_BITS]
    if bits == 0:
        return 0
    row = _row_of(m, address)
    row ^= row >> 8
    row ^= row >> 4
    row ^= row >> 2
    row ^= row >> 1
    return ((address >> 6) & ((1 << bits) - 1)) ^ (row & 1)


@helper
def _bank_of(m: Words, address: int) -> int:
    """Return the bank's index over ranks, groups and banks."""
    row = _row_of(m, address)
    above = address >> (6 + m[lay.MEMORY + lay.M_CHANNEL_BITS])
    group = (above ^ row ^ (row >> 5) ^ (row >> 10) ^ (row >> 15)) & 7
    bank = ((above >> 3) ^ (row >> 3) ^ (row >> 8) ^ (row >> 13)) & 3
    rank = (above >> 12) & ((1 << m[lay.MEMORY + lay.M_RANK_BITS]) - 1)
    return (rank * 8 + group) * 4 + bank


@helper
def _occupy(m: Words, request: int, slots: int, queue: int, limit: int, time: int) -> bool:
    """Put a request into the lowest free slot of a DRAM channel's queue; return False if full.

    Args:
      m: State.
      request: It is freed if it was put.
      slots: Base of the slots.
      queue: Base of the masks: occupied, waiting (not scheduled), new (not checked).
      limit: Number of slots.
      time: Time of the controller [ps].
    """
    slot = lowest_bit(~m[queue]) if m[queue] != -1 else 64
    if slot >= limit:
        return False
    address = m[request + lay.R_ADDRESS]
    at = slots + lay.X_SIZE * slot
    m[at + lay.X_BLOCK] = address >> 6
    m[at + lay.X_READY] = time
    m[at + lay.X_WANTED] = m[request + lay.R_WANTED]
    m[at + lay.X_BANK] = _bank_of(m, address)
    m[at + lay.X_ROW] = _row_of(m, address)
    m[at + lay.X_ADDRESS] = address
    for mask in range(3):
        m[queue + mask] |= 1 << slot
    return True


@helper
def _take_requests(m: Words, time: int, now: int) -> bool:
    """Move requests of the LLC into slots; return True if any came."""
    came = False
    m[lay.MEMORY + lay.M_BLOCKED] = 0
    for which in range(3):
        queue = _UPPER + lay.Q_SIZE * which
        while m[queue + lay.Q_COUNT] > 0:
            request = m[m[queue + lay.Q_BUFFER] + m[queue + lay.Q_HEAD]]
            d = lay.MEMORY_CHANNELS + lay.MEMORY_CHANNEL_SIZE * _channel_of(
                m, m[request + lay.R_ADDRESS]
            )
            slots, masks, limit = lay.D_READ_SLOTS, lay.D_READS, m[lay.MEMORY + lay.M_RQ]
            if which == 2:
                slots, masks, limit = lay.D_WRITE_SLOTS, lay.D_WRITES, m[lay.MEMORY + lay.M_WQ]
            if not _occupy(m, request, d + slots, d + masks, limit, time):
                if which == 2:
                    m[lay.MEMORY + lay.M_BLOCKED] = 1
                    m[lay.N_WRITES_FULL] += 1
                break
            pop(m, _UPPER, queue, now)
            free_request(m, request)
            came = True
    return came


@helper
def _answer_slot(m: Words, at: int, now: int) -> None:
    if m[at + lay.X_WANTED]:
        answer(m, _UPPER, m[at + lay.X_ADDRESS], 0, 0, 0, now)


@helper
def _release(m: Words, queue: int, slot: int) -> None:
    keep = ~(1 << slot)
    for mask in range(3):
        m[queue + mask] &= keep


@helper
def _find_block(m: Words, slots: int, occupied: int, block: int, but: int) -> int:
    """Return the first occupied slot other than `but` that has this block, or -1."""
    while occupied != 0:
        slot = lowest_bit(occupied)
        occupied &= occupied - 1
        if slot != but and m[slots + lay.X_SIZE * slot + lay.X_BLOCK] == block:
            return slot
    return -1


@helper
def _check_new(m: Words, d: int, now: int) -> None:
    """Drop what another write replaces, and answer what a write or another read answers."""
    reads, writes = d + lay.D_READ_SLOTS, d + lay.D_WRITE_SLOTS
    new = m[d + lay.D_WRITES_NEW]
    while new != 0:
        slot = lowest_bit(new)
        new &= new - 1
        block = m[writes + lay.X_SIZE * slot + lay.X_BLOCK]
        if _find_block(m, writes, m[d + lay.D_WRITES], block, slot) >= 0:
            _release(m, d + lay.D_WRITES, slot)
    m[d + lay.D_WRITES_NEW] = 0
    new = m[d + lay.D_READS_NEW]
    while new != 0:
        slot = lowest_bit(new)
        new &= new - 1
        at = reads + lay.X_SIZE * slot
        if _find_block(m, writes, m[d + lay.D_WRITES], m[at + lay.X_BLOCK], -1) >= 0:
            _answer_slot(m, at, now)
            _release(m, d + lay.D_READS, slot)
            continue
        other = _find_block(m, reads, m[d + lay.D_READS], m[at + lay.X_BLOCK], slot)
        if other >= 0:
            m[reads + lay.X_SIZE * other + lay.X_WANTED] |= m[at + lay.X_WANTED]
            _release(m, d + lay.D_READS, slot)
    m[d + lay.D_READS_NEW] = 0


@helper
def _slot_of(m: Words, d: int, bank: int) -> int:
    """Return the base of the slot whose request a bank serves."""
    slot = m[d + lay.D_BANKS + lay.B_SIZE * bank + lay.B_SLOT]
    if slot >= 64:
        return d + lay.D_WRITE_SLOTS + lay.X_SIZE * (slot - 64)
    return d + lay.D_READ_SLOTS + lay.X_SIZE * slot


@helper
def _finish_active(m: Words, d: int, now: int) -> None:
    bank = m[d + lay.D_ACTIVE] - 1
    slot = m[d + lay.D_BANKS + lay.B_SIZE * bank + lay.B_SLOT]
    if slot >= 64:
        _release(m, d + lay.D_WRITES, slot - 64)
    else:
        _answer_slot(m, _slot_of(m, d, bank), now)
        _release(m, d + lay.D_READS, slot)
    m[d + lay.D_VALID] &= ~(1 << bank)
    m[d + lay.D_ACTIVE] = 0


@helper
def _count_bits(mask: int) -> int:
    count = 0
    while mask != 0:
        mask &= mask - 1
        count += 1
    return count


@helper
def _change_mode(m: Words, d: int, time: int) -> bool:
    """Switch between reads and writes if the queues ask for it."""
    if m[d + lay.D_WRITES] == 0 and m[d + lay.D_WRITE_MODE] == 0:
        return False
    w, has_reads = _count_bits(m[d + lay.D_WRITES]), m[d + lay.D_READS] != 0
    high, low = 7 * m[lay.MEMORY + lay.M_WQ] // 8, 6 * m[lay.MEMORY + lay.M_WQ] // 8
    if m[d + lay.D_WRITE_MODE] == 0:
        if not (w >= high or (not has_reads and w > 0)):
            return False
    elif not (w == 0 or (has_reads and w < low)):
        return False
    active = m[d + lay.D_ACTIVE] - 1
    valid = m[d + lay.D_VALID]
    while valid != 0:
        bank = lowest_bit(valid)
        valid &= valid - 1
        if bank == active:
            continue
        at = d + lay.D_BANKS + lay.B_SIZE * bank
        if m[at + lay.B_READY] < time + m[lay.MEMORY + lay.M_T_CAS]:
            m[at + lay.B_ROW] = 0
        m[d + lay.D_VALID] &= ~(1 << bank)
        m[_slot_of(m, d, bank) + lay.X_READY] = time
        slot = m[at + lay.B_SLOT]
        if slot >= 64:
            m[d + lay.D_WRITES_WAITING] |= 1 << (slot - 64)
        else:
            m[d + lay.D_READS_WAITING] |= 1 << slot
    free = time
    if active >= 0:
        free = m[d + lay.D_BANKS + lay.B_SIZE * active + lay.B_READY]
    m[d + lay.D_BUS_FREE] = free + m[lay.MEMORY + lay.M_T_RAS]
    m[d + lay.D_WRITE_MODE] = 1 - m[d + lay.D_WRITE_MODE]
    return True


@helper
def _refresh(m: Words, d: int, time: int) -> bool:
    changed = False
    if time >= m[d + lay.D_LAST_REFRESH] + m[lay.MEMORY + lay.M_T_REF]:
        m[d + lay.D_LAST_REFRESH] = time
        m[d + lay.D_REFRESH_NEEDED] = -1
        m[lay.N_REFRESHES] += 1
        changed = True
    if m[d + lay.D_REFRESH_NEEDED] == 0 and m[d + lay.D_UNDER_REFRESH] == 0:
        return changed
    for bank in range(m[lay.MEMORY + lay.M_N_BANKS]):
        at = d + lay.D_BANKS + lay.B_SIZE * bank
        if _bit(m[d + lay.D_REFRESH_NEEDED] & ~m[d + lay.D_VALID], bank):
            m[at + lay.B_READY] = time + m[lay.MEMORY + lay.M_T_RFC]
            m[d + lay.D_REFRESH_NEEDED] &= ~(1 << bank)
            m[d + lay.D_UNDER_REFRESH] |= 1 << bank
            changed = True
        elif _bit(m[d + lay.D_UNDER_REFRESH], bank) and m[at + lay.B_READY] <= time:
            m[d + lay.D_UNDER_REFRESH] &= ~(1 << bank)
            m[at + lay.B_ROW] = 0
            changed = True
    if m[lay.MEMORY + lay.M_N_BANKS] < 64:
        m[d + lay.D_REFRESH_NEEDED] &= (1 << m[lay.MEMORY + lay.M_N_BANKS]) - 1
    return changed


@helper
def _start_transfer(m: Words, d: int, time: int) -> bool:
    """Let the first ready bank use the bus; remember congestion."""
    m[d + lay.D_CONGESTED] = 0
    valid = m[d + lay.D_VALID]
    if valid == 0:
        return False
    best = lowest_bit(valid)
    ready = m[d + lay.D_BANKS + lay.B_SIZE * best + lay.B_READY]
    valid &= valid - 1
    while valid != 0:
        bank = lowest_bit(valid)
        valid &= valid - 1
        if m[d + lay.D_BANKS + lay.B_SIZE * bank + lay.B_READY] < ready:
            best = bank
            ready = m[d + lay.D_BANKS + lay.B_SIZE * bank + lay.B_READY]
    if ready > time:
        return False
    if m[d + lay.D_ACTIVE] != 0 or m[d + lay.D_BUS_FREE] > time:
        until = m[d + lay.D_BUS_FREE]
        if m[d + lay.D_ACTIVE] != 0:
            until = m[d + lay.D_BANKS + lay.B_SIZE * (m[d + lay.D_ACTIVE] - 1) + lay.B_READY]
        m[d + lay.D_CONGESTED] = until
        m[lay.N_CONGESTED_COUNT] += 1
        m[lay.N_CONGESTED_CYCLES] += (until - time) // m[lay.MEMORY + lay.M_BURST]
        return False
    at = d + lay.D_BANKS + lay.B_SIZE * best
    group = d + lay.D_GROUP_READY + (best >> 2)
    m[at + lay.B_READY] = max(time, m[group]) + m[lay.MEMORY + lay.M_RETURN]
    m[group] = time + m[lay.MEMORY + lay.M_RETURN] + m[lay.MEMORY + lay.M_STALL]
    m[d + lay.D_ACTIVE] = best + 1
    hit = m[at + lay.B_HIT]
    if m[d + lay.D_WRITE_MODE]:
        m[lay.N_WRITE_ROW_HIT] += hit
        m[lay.N_WRITE_ROW_MISS] += 1 - hit
    else:
        m[lay.N_READ_ROW_HIT] += hit
        m[lay.N_READ_ROW_MISS] += 1 - hit
    return True


@helper
def _schedule(m: Words, d: int, time: int) -> bool:
    """Start the bank of the best waiting request."""
    write = m[d + lay.D_WRITE_MODE]
    queue = d + (lay.D_WRITES if write else lay.D_READS)
    slots = d + (lay.D_WRITE_SLOTS if write else lay.D_READ_SLOTS)
    waiting = m[queue + 1]
    if waiting == 0:
        return False
    valid = m[d + lay.D_VALID]
    best = lowest_bit(waiting)
    waiting &= waiting - 1
    at = slots + lay.X_SIZE * best
    ready = m[at + lay.X_READY]
    busy = (valid >> m[at + lay.X_BANK]) & 1
    while waiting != 0:
        slot = lowest_bit(waiting)
        waiting &= waiting - 1
        other = slots + lay.X_SIZE * slot
        other_busy = (valid >> m[other + lay.X_BANK]) & 1
        if other_busy < busy or (other_busy == busy and m[other + lay.X_READY] <= ready):
            best, at, busy = slot, other, other_busy
            ready = m[other + lay.X_READY]
    bank = m[at + lay.X_BANK]
    if ready > time or busy or _bit(m[d + lay.D_UNDER_REFRESH], bank):
        return False
    b = d + lay.D_BANKS + lay.B_SIZE * bank
    row = m[at + lay.X_ROW] + 1
    hit = 1 if m[b + lay.B_ROW] == row else 0
    delay = 0
    if not hit:
        delay = m[lay.MEMORY + lay.M_T_RCD] + (
            m[lay.MEMORY + lay.M_T_RP] if m[b + lay.B_ROW] != 0 else 0
        )
    m[d + lay.D_VALID] |= 1 << bank
    m[d + lay.D_REFRESH_NEEDED] &= ~(1 << bank)
    m[b + lay.B_ROW] = row
    m[b + lay.B_READY] = time + m[lay.MEMORY + lay.M_T_CAS] + delay
    m[b + lay.B_SLOT] = best + (64 if write else 0)
    m[b + lay.B_HIT] = hit
    m[queue + 1] &= ~(1 << best)
    m[at + lay.X_READY] = lay.NEVER
    return True


@helper
def _next_time(m: Words, d: int, time: int) -> int:
    """Return the first time after `time` at which an unchanged channel may act."""
    following = m[d + lay.D_LAST_REFRESH] + m[lay.MEMORY + lay.M_T_REF]
    if m[d + lay.D_BUS_FREE] > time:
        following = min(following, m[d + lay.D_BUS_FREE])
    pending = m[d + lay.D_VALID] | m[d + lay.D_UNDER_REFRESH]
    while pending != 0:
        bank = lowest_bit(pending)
        pending &= pending - 1
        ready = m[d + lay.D_BANKS + lay.B_SIZE * bank + lay.B_READY]
        if ready > time:
            following = min(following, ready)
    return following


@helper
def _step_channel(m: Words, d: int, time: int, now: int) -> bool:
    """Run one DRAM channel once; return True if it changed."""
    changed = False
    if m[lay.G_WARM]:
        occupied = m[d + lay.D_READS]
        while occupied != 0:
            slot = lowest_bit(occupied)
            occupied &= occupied - 1
            _answer_slot(m, d + lay.D_READ_SLOTS + lay.X_SIZE * slot, now)
        for mask in range(3):
            m[d + lay.D_READS + mask] = 0
            m[d + lay.D_WRITES + mask] = 0
    if m[d + lay.D_READS_NEW] | m[d + lay.D_WRITES_NEW] != 0:
        _check_new(m, d, now)
        changed = True
    active = m[d + lay.D_ACTIVE]
    if active != 0 and m[d + lay.D_BANKS + lay.B_SIZE * (active - 1) + lay.B_READY] <= time:
        _finish_active(m, d, now)
        changed = True
    changed |= _change_mode(m, d, time)
    changed |= _refresh(m, d, time)
    changed |= _start_transfer(m, d, time)
    changed |= _schedule(m, d, time)
    return changed


@helper
def catch_up(m: Words, time: int) -> None:
    """Account for the controller's runs before `time` that could only count congestion."""
    period = m[lay.MEMORY + lay.M_PERIOD]
    skipped = (time - m[lay.MEMORY + lay.M_TIME]) // period - 1
    if skipped <= 0:
        return
    for channel in range(m[lay.MEMORY + lay.M_N_CHANNELS]):
        until = m[lay.MEMORY_CHANNELS + lay.MEMORY_CHANNEL_SIZE * channel + lay.D_CONGESTED]
        if until != 0:
            at = m[lay.MEMORY + lay.M_TIME]
            for _ in range(skipped):
                at += period
                m[lay.N_CONGESTED_CYCLES] += (until - at) // m[lay.MEMORY + lay.M_BURST]
            m[lay.N_CONGESTED_COUNT] += skipped
    if m[lay.MEMORY + lay.M_BLOCKED]:
        m[lay.N_WRITES_FULL] += skipped
    m[lay.MEMORY + lay.M_TIME] += skipped * period


@helper
def last_run(m: Words, now: int, is_last: bool) -> int:
    """Return the time of the controller's last run in a cycle.

    Where the controller is faster than the core, a phase ends with the core's step, so that the
    cycle's other runs are the next phase's.
    """
    period, cycle = m[lay.MEMORY + lay.M_PERIOD], m[lay.MEMORY + lay.M_CYCLE]
    end, tick = cycle * now, min(cycle, period)
    if is_last:
        end = (cycle * (now - 1) // tick + 1) * tick
    return (end + period - 1) // period * period


@helper
def step_memory(m: Words, now: int, is_last: bool) -> None:
    """Run the controller as often as it runs in this cycle, and set when it is to run next.

    The controller runs at multiples of its period; the runs since the last call that could do
    nothing but count congestion are caught up with.

    Args:
      m: State.
      now: Cycle.
      is_last: True if a phase ends in this cycle; see `last_run`.
    """
    period, cycle = m[lay.MEMORY + lay.M_PERIOD], m[lay.MEMORY + lay.M_CYCLE]
    # Earlier runs began before this cycle's requests.
    catch_up(m, ((cycle * (now - 1) + period - 1) // period + 1) * period)
    last, time = last_run(m, now, is_last), m[lay.MEMORY + lay.M_TIME] + period
    while time <= last:
        m[lay.MEMORY + lay.M_TIME] = time
        changed = _take_requests(m, time, now)
        following = lay.NEVER
        for channel in range(m[lay.MEMORY + lay.M_N_CHANNELS]):
            d = lay.MEMORY_CHANNELS + lay.MEMORY_CHANNEL_SIZE * channel
            changed |= _step_channel(m, d, time, now)
            following = min(following, _next_time(m, d, time))
        following = time + period if changed else following
        time = (following + period - 1) // period * period
        if time <= last:
            catch_up(m, time)
    # The run at a time happens in the first cycle that ends after it begins, a period before.
    m[lay.WAKE + lay.DRAM] = (time - period) // cycle + 1
