"""Compiled front end: instructions enter, are fetched, decoded and handed to dispatch."""

from archgym.runtime.kernels import helper
from archgym.simulators.cpu.kernel_branches import (
    find_entry,
    note_instruction,
    predict_direction,
    predict_target,
    touch_target,
    update_direction,
    update_target,
    victim_entry,
)
from archgym.simulators.cpu.kernel_channels import free_node, has_room, new_node, send
from archgym.simulators.cpu.layout import (
    ANSWER_SIZE,
    C_ANSWERS,
    C_READS,
    CHANNEL_SIZE,
    CHANNELS,
    CORE_L1I,
    DECODED,
    EARLY,
    FETCH_DONE,
    FETCH_ISSUED,
    G_DECODE_BUFFER,
    G_DECODE_LATENCY,
    G_DECODE_TAIL,
    G_DECODE_WIDTH,
    G_DIB,
    G_DIB_CLOCK,
    G_DIB_HIT_BUFFER,
    G_DIB_HIT_LATENCY,
    G_DIB_INORDER_WIDTH,
    G_DIB_LAST,
    G_DIB_MASK,
    G_DIB_SHIFT,
    G_DIB_WAYS,
    G_DISPATCH_BUFFER,
    G_DISPATCH_LATENCY,
    G_DISPATCH_TAIL,
    G_FETCH_WIDTH,
    G_FETCHED,
    G_HEAD,
    G_IDEAL_BRANCHES,
    G_IFETCH_BUFFER,
    G_INSTRUCTIONS,
    G_L1I_TAG_BW,
    G_LOOKED_UP,
    G_MASK,
    G_MISPREDICT_PENALTY,
    G_N_DECODE,
    G_N_DIB_HIT,
    G_N_RECORDS,
    G_PREDICTOR,
    G_RESUME,
    G_ROB_TAIL,
    G_TAIL,
    G_WARM,
    I_FLAGS,
    I_ID,
    I_READY,
    I_SIZE,
    I_WORD,
    LOAD,
    MISPREDICTED,
    N_BRANCH,
    N_COUNT,
    N_DIB_HITS,
    N_DIB_LOOKUPS,
    N_MISPREDICTED,
    N_NEXT,
    N_ROB_OCCUPANCY,
    N_START,
    NEAR_BRANCH_BIT,
    NEVER,
    Q_BUFFER,
    Q_COUNT,
    Q_HEAD,
    Q_MASK,
    R_IDS,
    TAKEN_BIT,
    Words,
)

__all__ = ["decode", "enter", "fetch", "look_into_dib", "promote", "take_fetched"]

_CHANNEL = CHANNELS + CHANNEL_SIZE * CORE_L1I
_DIB_SIZE = 2  # key + 1, stamp
# Bits 4-8 (counts of registers) and 16-63 (registers) of a record's second word.
_WITHOUT_REGISTERS = 0xFE0F


@helper
def take_fetched(m: Words, tr: Words) -> int:
    """Take the L1I's answers; return how many were looked at."""
    queue = _CHANNEL + C_ANSWERS
    answers = m[G_L1I_TAG_BW]
    budget = m[G_FETCH_WIDTH]
    taken = 0
    while taken < answers and budget > 0 and m[queue + Q_COUNT] > 0:
        at = m[queue + Q_BUFFER] + ANSWER_SIZE * m[queue + Q_HEAD]
        block = m[at + 1] >> 6
        node = m[at + 3]
        while node != 0 and budget > 0:
            instruction = m[node + N_START]
            if m[G_DECODE_TAIL] <= instruction < m[G_TAIL]:
                i = m[G_INSTRUCTIONS] + I_SIZE * (instruction & m[G_MASK])
                if m[i + I_FLAGS] & FETCH_ISSUED and tr[8 * instruction] >> 6 == block:
                    m[i + I_FLAGS] |= FETCH_DONE
                    budget -= 1
            m[node + N_START] += 1
            m[node + N_COUNT] -= 1
            if m[node + N_COUNT] == 0:
                following = m[node + N_NEXT]
                free_node(m, node)
                node = following
        m[at + 3] = node
        if node == 0:
            m[queue + Q_HEAD] = (m[queue + Q_HEAD] + 1) & m[queue + Q_MASK]
            m[queue + Q_COUNT] -= 1
        taken += 1
    return taken


@helper
def decode(m: Words, tr: Words, now: int) -> int:
    """Move decoded instructions to DISPATCH; return how many."""
    head, tail = m[G_DISPATCH_TAIL], m[G_DECODE_TAIL]
    budget = min(m[G_DIB_INORDER_WIDTH], m[G_DISPATCH_BUFFER] - (head - m[G_ROB_TAIL]))
    if head == tail or budget <= 0:
        return 0
    decoders = m[G_DECODE_WIDTH]
    latency = 0 if m[G_WARM] else m[G_DISPATCH_LATENCY]
    start = head
    while head < tail and head - start < budget:
        i = m[G_INSTRUCTIONS] + I_SIZE * (head & m[G_MASK])
        flags = m[i + I_FLAGS]
        if m[i + I_READY] > now:
            break
        if flags & DECODED:
            m[G_N_DIB_HIT] -= 1
        else:
            if decoders == 0:
                break
            decoders -= 1
            m[G_N_DECODE] -= 1
            _fill_dib(m, tr[8 * head])
            if flags & (MISPREDICTED | EARLY) == MISPREDICTED | EARLY:
                m[i + I_FLAGS] = flags & ~MISPREDICTED
                m[G_RESUME] = now + m[G_MISPREDICT_PENALTY]
        m[i + I_READY] = now + latency
        head += 1
    m[G_DISPATCH_TAIL] = head
    return head - start


@helper
def _fill_dib(m: Words, ip: int) -> None:
    key = ip >> m[G_DIB_SHIFT]
    at = m[G_DIB_LAST]
    if m[at] != key + 1:
        ways = m[G_DIB_WAYS]
        at = victim_entry(
            m, m[G_DIB] + _DIB_SIZE * ways * (key & m[G_DIB_MASK]), ways, _DIB_SIZE, key
        )
        m[at] = key + 1
        m[G_DIB_LAST] = at
    m[G_DIB_CLOCK] += 1
    m[at + 1] = m[G_DIB_CLOCK]


@helper
def promote(m: Words, now: int) -> int:
    """Move fetched instructions to DECODE or DIBHIT; return how many."""
    head, tail = m[G_DECODE_TAIL], m[G_TAIL]
    room = min(m[G_DIB_HIT_BUFFER] - m[G_N_DIB_HIT], m[G_DECODE_BUFFER] - m[G_N_DECODE])
    limit = min(min(m[G_FETCH_WIDTH], room), tail - head)
    latency = 0 if m[G_WARM] else m[G_DECODE_LATENCY]
    moved = 0
    while moved < limit:
        i = m[G_INSTRUCTIONS] + I_SIZE * ((head + moved) & m[G_MASK])
        flags = m[i + I_FLAGS]
        if flags & FETCH_DONE == 0 or m[i + I_READY] > now:
            break
        if flags & DECODED:
            m[G_N_DIB_HIT] += 1
            m[i + I_READY] = now + m[G_DIB_HIT_LATENCY]
        else:
            m[G_N_DECODE] += 1
            m[i + I_READY] = now + latency
        moved += 1
    m[G_DECODE_TAIL] = head + moved
    return moved


@helper
def fetch(m: Words, tr: Words, now: int) -> int:
    """Send reads of instruction blocks to the L1I; return how many were taken."""
    x = max(m[G_FETCHED], m[G_DECODE_TAIL])
    end = m[G_TAIL]
    limit = m[G_LOOKED_UP]
    base, mask = m[G_INSTRUCTIONS], m[G_MASK]
    taken = 0
    refused = False
    for _ in range(m[G_L1I_TAG_BW]):
        while x < limit and m[base + I_SIZE * (x & mask) + I_FLAGS] & FETCH_ISSUED:
            x += 1
        if not refused:
            m[G_FETCHED] = x
        if x >= limit:
            break
        ip = tr[8 * x]
        after = x + 1
        while after < end and tr[8 * after] >> 6 == ip >> 6:
            after += 1
        if has_room(m, _CHANNEL + C_READS):
            request = send(m, _CHANNEL, _CHANNEL + C_READS, ip, ip, ip, LOAD, 0, 1, now)
            m[request + R_IDS] = new_node(m, x, after - x)
            for instruction in range(x, after):
                m[base + I_SIZE * (instruction & mask) + I_FLAGS] |= FETCH_ISSUED
            taken += 1
        else:
            refused = True
        x = after
    return taken


@helper
def look_into_dib(m: Words, tr: Words, now: int) -> int:
    """Look new instructions up in the decoded-instruction buffer; return how many."""
    first = m[G_LOOKED_UP]
    last = min(first + m[G_FETCH_WIDTH], m[G_TAIL])
    ways, shift = m[G_DIB_WAYS], m[G_DIB_SHIFT]
    for instruction in range(first, last):
        key = tr[8 * instruction] >> shift
        at = m[G_DIB_LAST]
        if m[at] != key + 1:
            entries = m[G_DIB] + _DIB_SIZE * ways * (key & m[G_DIB_MASK])
            at = find_entry(m, entries, ways, _DIB_SIZE, key)
            if at == 0:
                continue
            m[G_DIB_LAST] = at
        m[G_DIB_CLOCK] += 1
        m[at + 1] = m[G_DIB_CLOCK]
        m[N_DIB_HITS] += 1
        i = m[G_INSTRUCTIONS] + I_SIZE * (instruction & m[G_MASK])
        m[i + I_FLAGS] |= FETCH_DONE | DECODED
        m[i + I_READY] = now
    m[G_LOOKED_UP] = last
    m[N_DIB_LOOKUPS] += last - first
    return last - first


@helper
def enter(m: Words, w: Words, tr: Words, now: int) -> int:
    """Predict and append new instructions; return how many."""
    if now < m[G_RESUME]:
        return 0
    tail = m[G_TAIL]
    limit = min(m[G_FETCH_WIDTH], m[G_IFETCH_BUFFER] - (tail - m[G_DECODE_TAIL]))
    limit = min(limit, m[G_N_RECORDS] - tail)
    entered = 0
    while entered < limit:
        instruction = tail + entered
        ip, word = tr[8 * instruction], tr[8 * instruction + 1]
        i = m[G_INSTRUCTIONS] + I_SIZE * (instruction & m[G_MASK])
        m[i + I_READY] = now
        m[i + I_WORD] = word & _WITHOUT_REGISTERS if m[G_WARM] else word
        m[i + I_ID] = instruction
        m[i + I_FLAGS] = 0
        entered += 1
        if word & 7 == 7:
            if m[G_PREDICTOR] == 2:
                note_instruction(m, w, ip)
            if (word >> NEAR_BRANCH_BIT) & 1:
                touch_target(m, ip)
            continue
        if _branch(m, w, ip, word, tr[8 * instruction + 8], i, now):
            break
    m[G_TAIL] = tail + entered
    return entered


@helper
def _branch(m: Words, w: Words, ip: int, word: int, following: int, i: int, now: int) -> bool:
    """Predict a branch, compare and learn; return True if nothing more enters in this cycle."""
    kind, taken = word & 7, (word >> TAKEN_BIT) & 1
    target = following if taken else 0
    guess, always = predict_target(m, ip)
    direction = predict_direction(m, w, ip) | always
    if direction == 0:
        guess = 0
    decides = kind == 2 or kind == 6
    wrong = guess != target or (decides and direction != taken)
    if m[G_IDEAL_BRANCHES]:
        wrong = False
    m[N_BRANCH + kind] += 1
    stop = False
    if wrong:
        m[N_MISPREDICTED + kind] += 1
        m[N_ROB_OCCUPANCY] += m[G_ROB_TAIL] - m[G_HEAD]
        if m[G_WARM] == 0:
            m[G_RESUME] = NEVER
            early = kind == 0 or kind == 3 or (decides and direction == taken)
            m[i + I_FLAGS] = MISPREDICTED | (EARLY if early else 0)
            stop = True
    elif taken:
        stop = True
    update_target(m, ip, target, taken, kind)
    update_direction(m, w, ip, taken)
    return stop
