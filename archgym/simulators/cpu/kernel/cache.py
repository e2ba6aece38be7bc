"""Compiled cache: one component that serves as L1I, L1D, L2C, LLC and as the three TLBs."""

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.channels import (
    answer,
    check_collisions,
    free_request,
    pop,
    send,
    unite_ids,
)
from archgym.simulators.cpu.kernel.layout import Words
from archgym.simulators.cpu.kernel.replacement import (
    advance_prefetcher,
    call_prefetcher,
    choose_victim,
    note_fill,
    note_hit,
)
from archgym.simulators.cpu.kernel.walker import data_page
from archgym.simulators.kit.kernels import helper


@helper
def _respond(m: Words, k: int, request: int, data: int, now: int) -> None:
    """Answer a request on every channel that waits for it."""
    channels = m[request + lay.R_CHANNELS]
    upper = k + lay.K_UPPER
    ids = m[request + lay.R_IDS]
    while channels != 0:
        if channels & 1:
            answer(
                m, m[upper], m[request + lay.R_ADDRESS], m[request + lay.R_VIRTUAL], data, ids, now
            )
        channels >>= 1
        upper += 1


@helper
def _log(m: Words, k: int, event: int, request: int, way: int, now: int) -> None:
    """Write an event into the log, where one is kept."""
    at = m[lay.G_LOG_TOP]
    if at >= m[lay.G_LOG_END]:
        return
    m[lay.G_LOG_TOP] = at + lay.EVENT_SIZE
    m[at] = event
    m[at + 1] = (k - lay.CACHES) // lay.CACHE_SIZE
    m[at + 2] = m[request + lay.R_ADDRESS]
    m[at + 3] = m[request + lay.R_VIRTUAL]
    m[at + 4] = m[request + lay.R_TYPE]
    m[at + 5] = (m[request + lay.R_ADDRESS] >> m[k + lay.K_OFFSET]) & m[k + lay.K_SET_MASK]
    m[at + 6] = way
    m[at + 7] = now


@helper
def _take_answers(m: Words, k: int, now: int) -> None:
    """Note the answers from below in the MSHRs; answered entries move to the front."""
    queue = m[k + lay.K_BELOW] + lay.C_ANSWERS
    count, shift, mask = m[k + lay.K_MSHR_COUNT], m[k + lay.K_OFFSET], m[k + lay.K_MSHR_MASK]
    ring, blocks, head = m[k + lay.K_MSHR_RING], m[k + lay.K_MSHR_BLOCKS], m[k + lay.K_MSHR_HEAD]
    due = now if m[lay.G_WARM] else now + m[k + lay.K_FILL_LATENCY]
    for i in range(m[queue + lay.Q_COUNT]):
        at = m[queue + lay.Q_BUFFER] + lay.ANSWER_SIZE * (
            (m[queue + lay.Q_HEAD] + i) & m[queue + lay.Q_MASK]
        )
        block = m[at + lay.A_ADDRESS] >> shift
        for j in range(m[k + lay.K_MSHR_ANSWERED], count):
            place = (head + j) & mask
            if m[blocks + place] != block:
                continue
            entry = m[ring + place]
            m[entry + lay.R_DATA] = m[at + lay.A_DATA]
            m[entry + lay.R_DUE] = due
            front = (head + m[k + lay.K_MSHR_ANSWERED]) & mask
            m[ring + place] = m[ring + front]
            m[blocks + place] = m[blocks + front]
            m[ring + front] = entry
            m[blocks + front] = block
            m[k + lay.K_MSHR_ANSWERED] += 1
            break
    m[queue + lay.Q_HEAD] = (m[queue + lay.Q_HEAD] + m[queue + lay.Q_COUNT]) & m[queue + lay.Q_MASK]
    m[queue + lay.Q_COUNT] = 0


@helper
def _translate(m: Words, k: int, request: int, page: int) -> None:
    m[request + lay.R_ADDRESS] = page | (m[request + lay.R_VIRTUAL] & 4095)
    m[request + lay.R_TRANSLATED] = 1
    if m[request + lay.R_ASKED] == 0:
        m[k + lay.K_UNASKED] -= 1


@helper
def _take_translations(m: Words, k: int) -> None:
    """Translate the requests whose page the translator has answered."""
    queue = m[k + lay.K_TRANSLATOR] + lay.C_ANSWERS
    stash, count = m[k + lay.K_STASH], m[k + lay.K_STASH_COUNT]
    for i in range(m[queue + lay.Q_COUNT]):
        at = m[queue + lay.Q_BUFFER] + lay.ANSWER_SIZE * (
            (m[queue + lay.Q_HEAD] + i) & m[queue + lay.Q_MASK]
        )
        page, data = m[at + lay.A_VIRTUAL] >> 12, m[at + lay.A_DATA]
        free = 0
        while free < count and m[m[stash + free] + lay.R_TRANSLATED] != 0:
            free += 1
        for j in range(free, count):
            request = m[stash + j]
            if m[request + lay.R_TRANSLATED] != 0 or m[request + lay.R_VIRTUAL] >> 12 != page:
                continue
            _translate(m, k, request, data)
            for behind in range(j, free, -1):
                m[stash + behind] = m[stash + behind - 1]
            m[stash + free] = request
            free += 1
        for j in range(m[k + lay.K_LOOKUP_COUNT]):
            place = (m[k + lay.K_LOOKUP_HEAD] + j) & m[k + lay.K_LOOKUP_MASK]
            request = m[m[k + lay.K_LOOKUP_RING] + place]
            if m[request + lay.R_TRANSLATED] == 0 and m[request + lay.R_VIRTUAL] >> 12 == page:
                _translate(m, k, request, data)
    m[queue + lay.Q_HEAD] = (m[queue + lay.Q_HEAD] + m[queue + lay.Q_COUNT]) & m[queue + lay.Q_MASK]
    m[queue + lay.Q_COUNT] = 0


@helper
def _fill(m: Words, k: int, request: int, now: int) -> bool:
    """Put a block into the cache and answer; return False if the victim cannot be written back."""
    address = m[request + lay.R_ADDRESS]
    block = address >> m[k + lay.K_OFFSET]
    index = block & m[k + lay.K_SET_MASK]
    ways, counters = m[k + lay.K_WAYS], m[k + lay.K_COUNTERS]
    kind = m[request + lay.R_TYPE]
    way = m[k + lay.K_N_VALID] + index
    if m[way] < ways:
        m[way] += 1
        way = m[way] - 1
        at = index * ways + way
    else:
        way = choose_victim(m, k, index)
        at = index * ways + way
        flags = m[m[k + lay.K_FLAGS] + at]
        if flags & lay.FLAG_DIRTY:
            below = m[k + lay.K_BELOW]
            victim = m[m[k + lay.K_BLOCKS] + at]
            if send(m, below, below + lay.C_WRITES, victim, 0, 0, lay.WRITE, 1, 0, now) == 0:
                return False
            m[counters + lay.N_EVICTED_DIRTY] += 1
        if flags & lay.FLAG_PREFETCHED:
            m[counters + lay.N_PF_USELESS] += 1
    if m[lay.G_LOG_TOP] < m[lay.G_LOG_END]:
        _log(m, k, lay.EVENT_FILL, request, way, now)
    note_fill(m, k, index, way, kind, m[request + lay.R_IP], block)
    if kind == lay.PREFETCH:
        m[counters + lay.N_PF_FILL] += 1
    else:
        m[counters + lay.N_MISS_LATENCY] += now - m[request + lay.R_TIME] - 1
    m[m[k + lay.K_TAGS] + at] = block + 1
    m[m[k + lay.K_BLOCKS] + at] = address
    m[m[k + lay.K_FLAGS] + at] = (lay.FLAG_DIRTY if kind == lay.WRITE else 0) | (
        lay.FLAG_PREFETCHED if m[request + lay.R_OWN] else 0
    )
    data = m[request + lay.R_DATA]
    if m[k + lay.K_IS_TLB]:
        m[m[k + lay.K_DATA] + at] = data
    _respond(m, k, request, data, now)
    free_request(m, request)
    return True


@helper
def _fill_all(m: Words, k: int, now: int) -> int:
    """Fill what is due, within the bandwidth; return the number of fills."""
    budget = m[k + lay.K_FILL_BW]
    while budget > 0 and m[k + lay.K_MSHR_ANSWERED] > 0:
        request = m[m[k + lay.K_MSHR_RING] + m[k + lay.K_MSHR_HEAD]]
        if m[request + lay.R_DUE] > now or not _fill(m, k, request, now):
            break
        m[k + lay.K_MSHR_HEAD] = (m[k + lay.K_MSHR_HEAD] + 1) & m[k + lay.K_MSHR_MASK]
        m[k + lay.K_MSHR_COUNT] -= 1
        m[k + lay.K_MSHR_ANSWERED] -= 1
        budget -= 1
    while budget > 0 and m[k + lay.K_WRITING_COUNT] > 0:
        request = m[m[k + lay.K_WRITING_RING] + m[k + lay.K_WRITING_HEAD]]
        if m[request + lay.R_DUE] > now or not _fill(m, k, request, now):
            break
        m[k + lay.K_WRITING_HEAD] = (m[k + lay.K_WRITING_HEAD] + 1) & m[k + lay.K_WRITING_MASK]
        m[k + lay.K_WRITING_COUNT] -= 1
        budget -= 1
    return m[k + lay.K_FILL_BW] - budget


@helper
def _look_up(m: Words, k: int, request: int, due: int) -> None:
    """Append a request to those that are being looked up."""
    m[request + lay.R_DUE] = due
    end = (m[k + lay.K_LOOKUP_HEAD] + m[k + lay.K_LOOKUP_COUNT]) & m[k + lay.K_LOOKUP_MASK]
    m[m[k + lay.K_LOOKUP_RING] + end] = request
    m[k + lay.K_LOOKUP_COUNT] += 1


@helper
def _start_lookups(m: Words, k: int, now: int) -> int:
    """Take requests from the stash, the channels and the prefetcher; return their number."""
    tag_bw, hit_latency = m[k + lay.K_TAG_BW], m[k + lay.K_HIT_LATENCY]
    budget = min(tag_bw * hit_latency - m[k + lay.K_LOOKUP_COUNT], tag_bw)
    if budget <= 0:
        return 0
    started = 0
    due = now if m[lay.G_WARM] else now + hit_latency
    stash, stashed = m[k + lay.K_STASH], m[k + lay.K_STASH_COUNT]
    room = stashed < m[k + lay.K_MSHR]
    if stashed > 0:
        while started < budget and started < stashed:
            if m[m[stash + started] + lay.R_TRANSLATED] == 0:
                break
            _look_up(m, k, m[stash + started], due)
            started += 1
        if started > 0:
            for i in range(started, stashed):
                m[stash + i - started] = m[stash + i]
            m[k + lay.K_STASH_COUNT] = stashed - started
            budget -= started
    n_upper = m[k + lay.K_N_UPPER]
    share = max(budget // n_upper, 1)
    number = now % n_upper if n_upper > 1 else 0
    for _ in range(n_upper):
        channel = m[k + lay.K_UPPER + number]
        for which in range(3):
            queue = channel + (
                lay.C_WRITES if which == 0 else lay.C_READS if which == 1 else lay.C_PREFETCHES
            )
            limit = min(min(share, budget), m[queue + lay.Q_COUNT])
            while limit > 0:
                request = m[m[queue + lay.Q_BUFFER] + m[queue + lay.Q_HEAD]]
                translated = m[request + lay.R_TRANSLATED]
                if not room and translated == 0:
                    break
                pop(m, channel, queue, now)
                m[request + lay.R_CHANNELS] = (1 << number) if m[request + lay.R_WANTED] else 0
                m[k + lay.K_UNASKED] += 1 - translated
                _look_up(m, k, request, due)
                started += 1
                budget -= 1
                limit -= 1
        number += 1
        if number == n_upper:
            number = 0
    while budget > 0 and m[k + lay.K_OWN_COUNT] > 0:
        request = m[m[k + lay.K_OWN_RING] + m[k + lay.K_OWN_HEAD]]
        translated = m[request + lay.R_TRANSLATED]
        if not room and translated == 0:
            break
        m[k + lay.K_OWN_HEAD] = (m[k + lay.K_OWN_HEAD] + 1) & m[k + lay.K_OWN_MASK]
        m[k + lay.K_OWN_COUNT] -= 1
        m[k + lay.K_UNASKED] += 1 - translated
        _look_up(m, k, request, due)
        started += 1
        budget -= 1
    return started


@helper
def _ask(m: Words, k: int, request: int, now: int) -> bool:
    """Ask for a request's translation if need be; return False if the translator is full."""
    if m[request + lay.R_TRANSLATED] != 0 or m[request + lay.R_ASKED] != 0:
        return True
    channel, ip = m[k + lay.K_TRANSLATOR], m[request + lay.R_IP]
    address, virtual = m[request + lay.R_ADDRESS], m[request + lay.R_VIRTUAL]
    if send(m, channel, channel + lay.C_READS, address, virtual, ip, lay.LOAD, 1, 1, now) == 0:
        return False
    m[request + lay.R_ASKED] = 1
    m[k + lay.K_UNASKED] -= 1
    return True


@helper
def _ask_translations(m: Words, k: int, now: int) -> int:
    """Ask for translations in order; return how many were asked for."""
    before = m[k + lay.K_UNASKED]
    for i in range(m[k + lay.K_LOOKUP_COUNT]):
        place = (m[k + lay.K_LOOKUP_HEAD] + i) & m[k + lay.K_LOOKUP_MASK]
        if not _ask(m, k, m[m[k + lay.K_LOOKUP_RING] + place], now):
            return before - m[k + lay.K_UNASKED]
    for i in range(m[k + lay.K_STASH_COUNT]):
        if m[k + lay.K_UNASKED] == 0 or not _ask(m, k, m[m[k + lay.K_STASH] + i], now):
            break
    return before - m[k + lay.K_UNASKED]


@helper
def _check_hit(m: Words, k: int, request: int, now: int) -> bool:
    """Look a request up; return True if it hit and was answered."""
    address = m[request + lay.R_ADDRESS]
    block = address >> m[k + lay.K_OFFSET]
    index = block & m[k + lay.K_SET_MASK]
    ways = m[k + lay.K_WAYS]
    kind, own = m[request + lay.R_TYPE], m[request + lay.R_OWN]
    base = m[k + lay.K_TAGS] + index * ways
    way = 0
    while way < ways and m[base + way] != block + 1:
        way += 1
    if m[k + lay.K_PREFETCHER] != 0 and own == 0 and (kind == lay.LOAD or kind == lay.PREFETCH):
        seen = m[request + lay.R_VIRTUAL] if m[k + lay.K_VIRTUAL_PREFETCH] else address
        call_prefetcher(m, k, seen, m[request + lay.R_IP], 1 if way < ways else 0)
    if m[lay.G_LOG_TOP] < m[lay.G_LOG_END]:
        _log(m, k, lay.EVENT_LOOK_UP, request, way, now)
    if way == ways:
        if m[k + lay.K_PERFECT] == 0:
            return False
        m[m[k + lay.K_COUNTERS] + lay.N_HIT + kind] += 1
        page = data_page(m, m[request + lay.R_VIRTUAL]) if m[k + lay.K_IS_TLB] else 0
        _respond(m, k, request, page, now)
        return True
    note_hit(m, k, index, way, kind, m[request + lay.R_IP])
    counters = m[k + lay.K_COUNTERS]
    m[counters + lay.N_HIT + kind] += 1
    at = index * ways + way
    _respond(m, k, request, m[m[k + lay.K_DATA] + at] if m[k + lay.K_IS_TLB] else 0, now)
    flags = m[m[k + lay.K_FLAGS] + at]
    if kind == lay.WRITE:
        flags |= lay.FLAG_DIRTY
    if flags & lay.FLAG_PREFETCHED and own == 0:
        m[counters + lay.N_PF_USEFUL] += 1
        flags &= ~lay.FLAG_PREFETCHED
    m[m[k + lay.K_FLAGS] + at] = flags
    return True


@helper
def _merge(m: Words, k: int, entry: int, request: int, now: int) -> None:
    """Merge a miss into the MSHR entry of its block."""
    counters = m[k + lay.K_COUNTERS]
    kind = m[request + lay.R_TYPE]
    if m[entry + lay.R_TYPE] == lay.PREFETCH and kind != lay.PREFETCH:
        if m[entry + lay.R_OWN]:
            m[counters + lay.N_PF_USEFUL] += 1
            m[counters + lay.N_PF_LATE] += 1
        m[entry + lay.R_TIME] = now
    m[counters + lay.N_MERGE + kind] += 1
    m[entry + lay.R_CHANNELS] |= m[request + lay.R_CHANNELS]
    m[entry + lay.R_IDS] = unite_ids(m, m[entry + lay.R_IDS], m[request + lay.R_IDS])
    if kind != lay.PREFETCH:
        for field in (lay.R_ADDRESS, lay.R_VIRTUAL, lay.R_IP, lay.R_TYPE, lay.R_OWN):
            m[entry + field] = m[request + field]
    free_request(m, request)


@helper
def _miss(m: Words, k: int, request: int, now: int) -> bool:
    """Handle a miss; return False if it is refused."""
    kind = m[request + lay.R_TYPE]
    counters = m[k + lay.K_COUNTERS]
    if kind == lay.WRITE and m[k + lay.K_WRITES_FILL]:
        m[request + lay.R_DUE] = now if m[lay.G_WARM] else now + m[k + lay.K_FILL_LATENCY]
        m[request + lay.R_DATA] = 0
        m[request + lay.R_TIME] = now
        end = (m[k + lay.K_WRITING_HEAD] + m[k + lay.K_WRITING_COUNT]) & m[k + lay.K_WRITING_MASK]
        m[m[k + lay.K_WRITING_RING] + end] = request
        m[k + lay.K_WRITING_COUNT] += 1
        if m[k + lay.K_WRITING_COUNT] > m[k + lay.K_WRITING_MASK]:
            m[lay.G_STATUS] = lay.STATUS_OVERFLOW
        m[counters + lay.N_MISS + kind] += 1
        return True
    block = m[request + lay.R_ADDRESS] >> m[k + lay.K_OFFSET]
    blocks, mask, head = m[k + lay.K_MSHR_BLOCKS], m[k + lay.K_MSHR_MASK], m[k + lay.K_MSHR_HEAD]
    count = m[k + lay.K_MSHR_COUNT]
    for i in range(count):
        place = (head + i) & mask
        if m[blocks + place] == block:
            _merge(m, k, m[m[k + lay.K_MSHR_RING] + place], request, now)
            m[counters + lay.N_MISS + kind] += 1
            return True
    if count >= m[k + lay.K_MSHR]:
        return False
    below = m[k + lay.K_BELOW]
    queue = below + (lay.C_PREFETCHES if kind == lay.PREFETCH else lay.C_READS)
    wanted = 0 if m[request + lay.R_OWN] and m[request + lay.R_SKIP] else 1
    address, virtual = m[request + lay.R_ADDRESS], m[request + lay.R_VIRTUAL]
    sent = lay.RFO if kind == lay.WRITE else kind
    if send(m, below, queue, address, virtual, m[request + lay.R_IP], sent, 1, wanted, now) == 0:
        return False
    m[counters + lay.N_MISS + kind] += 1
    if wanted:
        m[request + lay.R_TIME] = now
        m[request + lay.R_DUE] = lay.NEVER
        place = (head + count) & mask
        m[m[k + lay.K_MSHR_RING] + place] = request
        m[blocks + place] = block
        m[k + lay.K_MSHR_COUNT] = count + 1
    else:
        free_request(m, request)
    return True


@helper
def _finish_lookups(m: Words, k: int, now: int) -> int:
    """Resolve look-ups that are due; return how many things changed."""
    ring, mask = m[k + lay.K_LOOKUP_RING], m[k + lay.K_LOOKUP_MASK]
    head, count = m[k + lay.K_LOOKUP_HEAD], m[k + lay.K_LOOKUP_COUNT]
    due = 0
    changed = 0
    if m[k + lay.K_TRANSLATOR] != 0:
        kept = 0
        stash = m[k + lay.K_STASH]
        while due < count:
            request = m[ring + ((head + due) & mask)]
            if m[request + lay.R_DUE] > now:
                break
            if m[request + lay.R_TRANSLATED] == 0:
                m[stash + m[k + lay.K_STASH_COUNT]] = request
                m[k + lay.K_STASH_COUNT] += 1
                if m[k + lay.K_STASH_COUNT] > m[k + lay.K_STASH_MASK]:
                    m[lay.G_STATUS] = lay.STATUS_OVERFLOW
            else:
                m[ring + ((head + kept) & mask)] = request
                kept += 1
            due += 1
        if kept < due:
            changed = due - kept
            for i in range(kept - 1, -1, -1):
                m[ring + ((head + i + changed) & mask)] = m[ring + ((head + i) & mask)]
            head = (head + changed) & mask
            count -= changed
        due = min(kept, m[k + lay.K_TAG_BW])
    else:
        limit = min(count, m[k + lay.K_TAG_BW])
        while due < limit and m[m[ring + ((head + due) & mask)] + lay.R_DUE] <= now:
            due += 1
    missed = 0
    for i in range(due):
        request = m[ring + ((head + i) & mask)]
        if _check_hit(m, k, request, now):
            free_request(m, request)
        else:
            m[ring + ((head + missed) & mask)] = request
            missed += 1
    refused = 0
    for i in range(missed):
        request = m[ring + ((head + i) & mask)]
        if not _miss(m, k, request, now):
            m[ring + ((head + refused) & mask)] = request
            refused += 1
    done = due - refused
    if done > 0:
        for i in range(refused - 1, -1, -1):
            m[ring + ((head + i + done) & mask)] = m[ring + ((head + i) & mask)]
        head = (head + done) & mask
        count -= done
    m[k + lay.K_LOOKUP_HEAD] = head
    m[k + lay.K_LOOKUP_COUNT] = count
    return changed + done


@helper
def _next_work(m: Words, k: int, changed: int, now: int) -> int:
    """Return the first cycle in which the cache may act without hearing from others."""
    if m[lay.G_LOG_TOP] < m[lay.G_LOG_END]:
        # A log has the look-ups that are refused again in every cycle.
        return now + 1
    wake = lay.NEVER
    pending = 0
    ring, head, mask = m[k + lay.K_LOOKUP_RING], m[k + lay.K_LOOKUP_HEAD], m[k + lay.K_LOOKUP_MASK]
    for i in range(m[k + lay.K_LOOKUP_COUNT]):
        due = m[m[ring + ((head + i) & mask)] + lay.R_DUE]
        if due > now:
            wake = due
            break
        # A refused look-up is shown to the prefetcher again in every cycle.
        pending = 1
        changed |= m[k + lay.K_PREFETCHER]
    if m[k + lay.K_MSHR_ANSWERED] > 0:
        due = m[m[m[k + lay.K_MSHR_RING] + m[k + lay.K_MSHR_HEAD]] + lay.R_DUE]
        if due > now:
            wake = min(wake, due)
        else:
            pending = 1
    if m[k + lay.K_WRITING_COUNT] > 0:
        due = m[m[m[k + lay.K_WRITING_RING] + m[k + lay.K_WRITING_HEAD]] + lay.R_DUE]
        if due > now:
            wake = min(wake, due)
        else:
            pending = 1
    if m[k + lay.K_AHEAD_DEGREE] > 0:
        return now + 1
    if changed == 0:
        return wake
    if pending == 0:
        if m[k + lay.K_STASH_COUNT] > 0 and m[m[m[k + lay.K_STASH]] + lay.R_TRANSLATED] != 0:
            pending = 1
        pending |= m[k + lay.K_UNASKED] | m[k + lay.K_OWN_COUNT]
        for i in range(m[k + lay.K_N_UPPER]):
            channel = m[k + lay.K_UPPER + i]
            pending |= (
                m[channel + lay.C_READS + lay.Q_COUNT]
                | m[channel + lay.C_PREFETCHES + lay.Q_COUNT]
                | m[channel + lay.C_WRITES + lay.Q_COUNT]
            )
    return now + 1 if pending != 0 else wake


@helper
def step_cache(m: Words, k: int, now: int) -> None:
    """Run one cache or TLB for one cycle, and set when it is to run next.

    Args:
      m: State.
      k: Base of the cache.
      now: Cycle.
    """
    for i in range(m[k + lay.K_N_UPPER]):
        channel = m[k + lay.K_UPPER + i]
        if m[channel + lay.C_NEW] > 0:
            check_collisions(m, channel, m[k + lay.K_OFFSET], m[k + lay.K_WHOLE], now)
    changed = 0
    if m[m[k + lay.K_BELOW] + lay.C_ANSWERS + lay.Q_COUNT] > 0:
        _take_answers(m, k, now)
        changed = 1
    translator = m[k + lay.K_TRANSLATOR]
    if translator != 0 and m[translator + lay.C_ANSWERS + lay.Q_COUNT] > 0:
        _take_translations(m, k)
        changed = 1
    if m[k + lay.K_MSHR_ANSWERED] + m[k + lay.K_WRITING_COUNT] > 0:
        changed += _fill_all(m, k, now)
    changed += _start_lookups(m, k, now)
    if m[k + lay.K_UNASKED] > 0:
        changed += _ask_translations(m, k, now)
    if m[k + lay.K_LOOKUP_COUNT] > 0:
        changed += _finish_lookups(m, k, now)
    if m[k + lay.K_AHEAD_DEGREE] > 0:
        advance_prefetcher(m, k)
        changed = 1
    m[m[k + lay.K_WAKE]] = _next_work(m, k, changed, now)
