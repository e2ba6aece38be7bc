"""Compiled front end: instructions enter, are fetched, decoded and handed to dispatch."""

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.branches import (
    find_entry,
    note_instruction,
    predict_direction,
    predict_target,
    touch_target,
    update_direction,
    update_target,
    victim_entry,
)
from archgym.simulators.cpu.kernel.channels import free_node, has_room, new_node, send
from archgym.simulators.cpu.kernel.layout import Words
from archgym.simulators.cpu.workloads import derivation as rec
from archgym.simulators.kit.kernels import helper

_CHANNEL = lay.CHANNELS + lay.CHANNEL_SIZE * lay.CORE_L1I
_DIB_SIZE = 2  # key + 1, stamp
# Bits 4-8 (counts of registers) and 16-63 (registers) of a record's second word.
_WITHOUT_REGISTERS = 0xFE0F


@helper
def take_fetched(m: Words, tr: Words) -> int:
    """Take the L1I's answers; return how many were looked at."""
    queue = _CHANNEL + lay.C_ANSWERS
    answers = m[lay.G_L1I_TAG_BW]
    budget = m[lay.G_FETCH_WIDTH]
    taken = 0
    while taken < answers and budget > 0 and m[queue + lay.Q_COUNT] > 0:
        at = m[queue + lay.Q_BUFFER] + lay.ANSWER_SIZE * m[queue + lay.Q_HEAD]
        block = m[at + lay.A_VIRTUAL] >> 6
        node = m[at + lay.A_IDS]
        while node != 0 and budget > 0:
            instruction = m[node + lay.N_START]
            if m[lay.G_DECODE_TAIL] <= instruction < m[lay.G_TAIL]:
                i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * (instruction & m[lay.G_MASK])
                if (
                    m[i + lay.I_FLAGS] & lay.FETCH_ISSUED
                    and tr[rec.T_SIZE * instruction] >> 6 == block
                ):
                    m[i + lay.I_FLAGS] |= lay.FETCH_DONE
                    budget -= 1
            m[node + lay.N_START] += 1
            m[node + lay.N_COUNT] -= 1
            if m[node + lay.N_COUNT] == 0:
                following = m[node + lay.N_NEXT]
                free_node(m, node)
                node = following
        m[at + lay.A_IDS] = node
        if node == 0:
            m[queue + lay.Q_HEAD] = (m[queue + lay.Q_HEAD] + 1) & m[queue + lay.Q_MASK]
            m[queue + lay.Q_COUNT] -= 1
        taken += 1
    return taken


@helper
def decode(m: Words, tr: Words, now: int) -> int:
    """Move decoded instructions to DISPATCH; return how many."""
    head, tail = m[lay.G_DISPATCH_TAIL], m[lay.G_DECODE_TAIL]
    budget = min(m[lay.G_DIB_INORDER_WIDTH], m[lay.G_DISPATCH_BUFFER] - (head - m[lay.G_ROB_TAIL]))
    if head == tail or budget <= 0:
        return 0
    decoders = m[lay.G_DECODE_WIDTH]
    latency = 0 if m[lay.G_WARM] else m[lay.G_DISPATCH_LATENCY]
    start = head
    while head < tail and head - start < budget:
        i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * (head & m[lay.G_MASK])
        flags = m[i + lay.I_FLAGS]
        if m[i + lay.I_READY] > now:
            break
        if flags & lay.DECODED:
            m[lay.G_N_DIB_HIT] -= 1
        else:
            if decoders == 0:
                break
            decoders -= 1
            m[lay.G_N_DECODE] -= 1
            _fill_dib(m, tr[rec.T_SIZE * head])
            if flags & (lay.MISPREDICTED | lay.EARLY) == lay.MISPREDICTED | lay.EARLY:
                m[i + lay.I_FLAGS] = flags & ~lay.MISPREDICTED
                m[lay.G_RESUME] = now + m[lay.G_MISPREDICT_PENALTY]
        m[i + lay.I_READY] = now + latency
        head += 1
    m[lay.G_DISPATCH_TAIL] = head
    return head - start


@helper
def _fill_dib(m: Words, ip: int) -> None:
    key = ip >> m[lay.G_DIB_SHIFT]
    at = m[lay.G_DIB_LAST]
    if m[at] != key + 1:
        ways = m[lay.G_DIB_WAYS]
        at = victim_entry(
            m, m[lay.G_DIB] + _DIB_SIZE * ways * (key & m[lay.G_DIB_MASK]), ways, _DIB_SIZE, key
        )
        m[at] = key + 1
        m[lay.G_DIB_LAST] = at
    m[lay.G_DIB_CLOCK] += 1
    m[at + 1] = m[lay.G_DIB_CLOCK]


@helper
def promote(m: Words, now: int) -> int:
    """Move fetched instructions to DECODE or DIBHIT; return how many."""
    head, tail = m[lay.G_DECODE_TAIL], m[lay.G_TAIL]
    room = min(
        m[lay.G_DIB_HIT_BUFFER] - m[lay.G_N_DIB_HIT], m[lay.G_DECODE_BUFFER] - m[lay.G_N_DECODE]
    )
    limit = min(min(m[lay.G_FETCH_WIDTH], room), tail - head)
    latency = 0 if m[lay.G_WARM] else m[lay.G_DECODE_LATENCY]
    moved = 0
    while moved < limit:
        i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * ((head + moved) & m[lay.G_MASK])
        flags = m[i + lay.I_FLAGS]
        if flags & lay.FETCH_DONE == 0 or m[i + lay.I_READY] > now:
            break
        if flags & lay.DECODED:
            m[lay.G_N_DIB_HIT] += 1
            m[i + lay.I_READY] = now + m[lay.G_DIB_HIT_LATENCY]
        else:
            m[lay.G_N_DECODE] += 1
            m[i + lay.I_READY] = now + latency
        moved += 1
    m[lay.G_DECODE_TAIL] = head + moved
    return moved


@helper
def fetch(m: Words, tr: Words, now: int) -> int:
    """Send reads of instruction blocks to the L1I; return how many were taken."""
    x = max(m[lay.G_FETCHED], m[lay.G_DECODE_TAIL])
    end = m[lay.G_TAIL]
    limit = m[lay.G_LOOKED_UP]
    base, mask = m[lay.G_INSTRUCTIONS], m[lay.G_MASK]
    taken = 0
    refused = False
    for _ in range(m[lay.G_L1I_TAG_BW]):
        while x < limit and m[base + lay.I_SIZE * (x & mask) + lay.I_FLAGS] & lay.FETCH_ISSUED:
            x += 1
        if not refused:
            m[lay.G_FETCHED] = x
        if x >= limit:
            break
        ip = tr[rec.T_SIZE * x]
        after = x + 1
        while after < end and tr[rec.T_SIZE * after] >> 6 == ip >> 6:
            after += 1
        if has_room(m, _CHANNEL + lay.C_READS):
            request = send(m, _CHANNEL, _CHANNEL + lay.C_READS, ip, ip, ip, lay.LOAD, 0, 1, now)
            m[request + lay.R_IDS] = new_node(m, x, after - x)
            for instruction in range(x, after):
                m[base + lay.I_SIZE * (instruction & mask) + lay.I_FLAGS] |= lay.FETCH_ISSUED
            taken += 1
        else:
            refused = True
        x = after
    return taken


@helper
def look_into_dib(m: Words, tr: Words, now: int) -> int:
    """Look new instructions up in the decoded-instruction buffer; return how many."""
    first = m[lay.G_LOOKED_UP]
    last = min(first + m[lay.G_FETCH_WIDTH], m[lay.G_TAIL])
    ways, shift = m[lay.G_DIB_WAYS], m[lay.G_DIB_SHIFT]
    for instruction in range(first, last):
        key = tr[rec.T_SIZE * instruction] >> shift
        at = m[lay.G_DIB_LAST]
        if m[at] != key + 1:
            entries = m[lay.G_DIB] + _DIB_SIZE * ways * (key & m[lay.G_DIB_MASK])
            at = find_entry(m, entries, ways, _DIB_SIZE, key)
            if at == 0:
                continue
            m[lay.G_DIB_LAST] = at
        m[lay.G_DIB_CLOCK] += 1
        m[at + 1] = m[lay.G_DIB_CLOCK]
        m[lay.N_DIB_HITS] += 1
        i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * (instruction & m[lay.G_MASK])
        m[i + lay.I_FLAGS] |= lay.FETCH_DONE | lay.DECODED
        m[i + lay.I_READY] = now
    m[lay.G_LOOKED_UP] = last
    m[lay.N_DIB_LOOKUPS] += last - first
    return last - first


@helper
def enter(m: Words, w: Words, tr: Words, now: int) -> int:
    """Predict and append new instructions; return how many."""
    if now < m[lay.G_RESUME]:
        return 0
    tail = m[lay.G_TAIL]
    limit = min(m[lay.G_FETCH_WIDTH], m[lay.G_IFETCH_BUFFER] - (tail - m[lay.G_DECODE_TAIL]))
    limit = min(limit, m[lay.G_N_RECORDS] - tail)
    entered = 0
    while entered < limit:
        instruction = tail + entered
        record = rec.T_SIZE * instruction
        ip, word = tr[record + rec.T_IP], tr[record + rec.T_WORD]
        i = m[lay.G_INSTRUCTIONS] + lay.I_SIZE * (instruction & m[lay.G_MASK])
        m[i + lay.I_READY] = now
        m[i + lay.I_WORD] = word & _WITHOUT_REGISTERS if m[lay.G_WARM] else word
        m[i + lay.I_ID] = instruction
        m[i + lay.I_FLAGS] = 0
        entered += 1
        if word & 7 == 7:
            if m[lay.G_PREDICTOR] == 2:
                note_instruction(m, w, ip)
            if (word >> rec.NEAR_BRANCH_BIT) & 1:
                touch_target(m, ip)
            continue
        if _branch(m, w, ip, word, tr[record + rec.T_SIZE], i, now):
            break
    m[lay.G_TAIL] = tail + entered
    return entered


@helper
def _branch(m: Words, w: Words, ip: int, word: int, following: int, i: int, now: int) -> bool:
    """Predict a branch, compare and learn; return True if nothing more enters in this cycle."""
    kind, taken = word & 7, (word >> rec.TAKEN_BIT) & 1
    target = following if taken else 0
    guess, always = predict_target(m, ip)
    direction = predict_direction(m, w, ip, kind) | always
    if direction == 0:
        guess = 0
    decides = kind == 2 or kind == 6
    wrong = guess != target or (decides and direction != taken)
    if m[lay.G_IDEAL_BRANCHES]:
        wrong = False
    m[lay.N_BRANCH + kind] += 1
    stop = False
    if wrong:
        m[lay.N_MISPREDICTED + kind] += 1
        m[lay.N_ROB_OCCUPANCY] += m[lay.G_ROB_TAIL] - m[lay.G_HEAD]
        if m[lay.G_WARM] == 0:
            m[lay.G_RESUME] = lay.NEVER
            early = kind == 0 or kind == 3 or (decides and direction == taken)
            m[i + lay.I_FLAGS] = lay.MISPREDICTED | (lay.EARLY if early else 0)
            stop = True
    elif taken:
        stop = True
    update_target(m, ip, target, taken, kind)
    update_direction(m, w, ip, kind, taken, following)
    return stop
