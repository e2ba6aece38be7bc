"""Compiled page walker, its caches of page tables, and the page table itself."""

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.branches import find_entry, victim_entry
from archgym.simulators.cpu.kernel.channels import answer, free_request, pop, send
from archgym.simulators.cpu.kernel.layout import Words
from archgym.simulators.kit.kernels import helper

_UPPER = lay.CHANNELS + lay.CHANNEL_SIZE * lay.STLB_PTW
_CACHE = lay.CHANNELS + lay.CHANNEL_SIZE * lay.PTW_L1D
_HASH = -7046029254386353131  # 2^64 divided by the golden ratio, as a signed number
_LEVELS = 5


@helper
def _page_of(m: Words, key: int, page: int) -> int:
    """Return the page that a key has, or give it this one and set the fault flag."""
    mask = m[lay.G_PAGES_MASK]
    at = (key * _HASH >> 24) & mask
    while True:
        entry = m[lay.G_PAGES] + 2 * at
        if m[entry] == key:
            m[lay.G_FAULT] = 0
            return m[entry + 1]
        if m[entry] == 0:
            m[entry] = key
            m[entry + 1] = page
            m[lay.G_FAULT] = 1
            m[lay.G_PAGES_USED] += 1
            if 4 * m[lay.G_PAGES_USED] > 3 * mask:
                m[lay.G_STATUS] = lay.STATUS_OVERFLOW
            return page
        at = (at + 1) & mask


@helper
def data_page(m: Words, virtual: int) -> int:
    """Return the physical page of a data address, which gets the next free one at first use."""
    page = _page_of(m, ((virtual >> 12) << 3) | 1, m[lay.G_NEXT_PAGE])
    m[lay.G_NEXT_PAGE] += m[lay.G_FAULT]
    return page << 12


@helper
def _index(virtual: int, level: int) -> int:
    """Return the offset of the entry of a virtual address in its table of a level."""
    return 8 * ((virtual >> (12 + 9 * (level - 1))) & 511)


@helper
def _table_entry(m: Words, virtual: int, level: int) -> int:
    """Return the address of a table's entry; every call uses up a page number."""
    page = m[lay.G_NEXT_PAGE]
    m[lay.G_NEXT_PAGE] = page + 1
    table = _page_of(m, ((virtual >> (12 + 9 * (level - 1))) << 3) | (level + 1), page)
    return (table << 12) + _index(virtual, level)


@helper
def start_pages(m: Words) -> None:
    """Make the root table."""
    m[lay.WALKER + lay.P_ROOT] = _table_entry(m, 0, _LEVELS)


@helper
def _partition(m: Words, block: int) -> int:
    """Move the walks that wait for a block to the front; return their number."""
    walks = m[lay.WALKER + lay.P_WALKS]
    first, last = 0, m[lay.WALKER + lay.P_N_WALKS]
    while True:
        while first < last and m[m[walks + first] + lay.R_ADDRESS] >> 6 == block:
            first += 1
        if first == last:
            return first
        last -= 1
        while first < last and m[m[walks + last] + lay.R_ADDRESS] >> 6 != block:
            last -= 1
        if first == last:
            return first
        m[walks + first], m[walks + last] = m[walks + last], m[walks + first]
        first += 1


@helper
def _take_answers(m: Words, now: int) -> int:
    """Advance the walks whose table entries have arrived; return how many answers came."""
    queue = _CACHE + lay.C_ANSWERS
    n_answers = m[queue + lay.Q_COUNT]
    walks = m[lay.WALKER + lay.P_WALKS]
    for i in range(n_answers):
        at = m[queue + lay.Q_BUFFER] + lay.ANSWER_SIZE * (
            (m[queue + lay.Q_HEAD] + i) & m[queue + lay.Q_MASK]
        )
        n_ready = _partition(m, m[at] >> 6)
        for j in range(n_ready):
            walk = m[walks + j]
            if m[walk + lay.R_TYPE] == 0:
                m[walk + lay.R_DATA] = data_page(m, m[walk + lay.R_VIRTUAL])
                m[m[lay.WALKER + lay.P_COMPLETED] + m[lay.WALKER + lay.P_N_COMPLETED]] = walk
                m[lay.WALKER + lay.P_N_COMPLETED] += 1
            else:
                m[walk + lay.R_DATA] = _table_entry(
                    m, m[walk + lay.R_VIRTUAL], m[walk + lay.R_TYPE]
                )
                m[m[lay.WALKER + lay.P_FINISHED] + m[lay.WALKER + lay.P_N_FINISHED]] = walk
                m[lay.WALKER + lay.P_N_FINISHED] += 1
            m[lay.N_FAULTS] += m[lay.G_FAULT]
            m[walk + lay.R_DUE] = now + m[lay.G_FAULT_PENALTY] * m[lay.G_FAULT]
        for j in range(n_ready, m[lay.WALKER + lay.P_N_WALKS]):
            m[walks + j - n_ready] = m[walks + j]
        m[lay.WALKER + lay.P_N_WALKS] -= n_ready
    m[queue + lay.Q_HEAD] = (m[queue + lay.Q_HEAD] + n_answers) & m[queue + lay.Q_MASK]
    m[queue + lay.Q_COUNT] = 0
    return n_answers


@helper
def _walk_cache(m: Words, level: int, virtual: int) -> int:
    """Return the base of the set of a level's walk cache that holds an address."""
    base = m[lay.WALKER + lay.P_CACHES]
    for above in range(_LEVELS, level, -1):
        base += lay.WALK_SETS[_LEVELS - above] * lay.WALK_WAYS[_LEVELS - above] * lay.WALK_ENTRY
    key = virtual >> (12 + 9 * (level - 1))
    way_size = lay.WALK_WAYS[_LEVELS - level] * lay.WALK_ENTRY
    return base + way_size * (key & (lay.WALK_SETS[_LEVELS - level] - 1))


@helper
def _append_walk(m: Words, walk: int) -> None:
    m[m[lay.WALKER + lay.P_WALKS] + m[lay.WALKER + lay.P_N_WALKS]] = walk
    m[lay.WALKER + lay.P_N_WALKS] += 1
    if m[lay.WALKER + lay.P_N_WALKS] > lay.WALK_LIST - 16:
        m[lay.G_STATUS] = lay.STATUS_OVERFLOW


@helper
def _read_table(m: Words, walk: int, address: int, now: int) -> bool:
    """Send the read of a table's entry to the L1D; return False if it is full."""
    queue = _CACHE + lay.C_READS
    virtual = m[walk + lay.R_VIRTUAL]
    return send(m, _CACHE, queue, address, virtual, 0, lay.TRANSLATION, 1, 1, now) != 0


@helper
def _write(m: Words, now: int) -> int:
    """Answer completed walks and take the next step of others; return how many."""
    budget = m[lay.WALKER + lay.P_MAX_WRITE]
    completed = m[lay.WALKER + lay.P_COMPLETED]
    done = 0
    while done < budget and done < m[lay.WALKER + lay.P_N_COMPLETED]:
        walk = m[completed + done]
        if m[walk + lay.R_DUE] > now:
            break
        virtual = m[walk + lay.R_VIRTUAL]
        answer(m, _UPPER, virtual, virtual, m[walk + lay.R_DATA], 0, now)
        free_request(m, walk)
        done += 1
    if done > 0:
        for i in range(done, m[lay.WALKER + lay.P_N_COMPLETED]):
            m[completed + i - done] = m[completed + i]
        m[lay.WALKER + lay.P_N_COMPLETED] -= done
    finished = m[lay.WALKER + lay.P_FINISHED]
    moved = 0
    while done + moved < budget and moved < m[lay.WALKER + lay.P_N_FINISHED]:
        walk = m[finished + moved]
        if m[walk + lay.R_DUE] > now:
            break
        level, virtual = m[walk + lay.R_TYPE], m[walk + lay.R_VIRTUAL]
        key = virtual >> (12 + 9 * level)
        ways = lay.WALK_WAYS[_LEVELS - level - 1]
        at = victim_entry(m, _walk_cache(m, level + 1, virtual), ways, lay.WALK_ENTRY, key)
        m[lay.WALKER + lay.P_CLOCKS + level + 1] += 1
        m[at] = key + 1
        m[at + 1] = m[lay.WALKER + lay.P_CLOCKS + level + 1]
        m[at + 2] = m[walk + lay.R_DATA]
        m[at + 3] = level
        if not _read_table(m, walk, m[walk + lay.R_DATA], now):
            break
        m[walk + lay.R_ADDRESS] = m[walk + lay.R_DATA]
        m[walk + lay.R_TYPE] = level - 1
        _append_walk(m, walk)
        moved += 1
    if moved > 0:
        for i in range(moved, m[lay.WALKER + lay.P_N_FINISHED]):
            m[finished + i - moved] = m[finished + i]
        m[lay.WALKER + lay.P_N_FINISHED] -= moved
    return done + moved


@helper
def _read(m: Words, now: int) -> int:
    """Start walks; return how many."""
    queue = _UPPER + lay.C_READS
    started = 0
    while started < m[lay.WALKER + lay.P_MAX_READ] and m[queue + lay.Q_COUNT] > 0:
        request = m[m[queue + lay.Q_BUFFER] + m[queue + lay.Q_HEAD]]
        virtual = m[request + lay.R_ADDRESS]
        address, level = m[lay.WALKER + lay.P_ROOT], 4
        for cached in range(_LEVELS, 1, -1):
            key = virtual >> (12 + 9 * (cached - 1))
            ways = lay.WALK_WAYS[_LEVELS - cached]
            at = find_entry(m, _walk_cache(m, cached, virtual), ways, lay.WALK_ENTRY, key)
            if at != 0:
                m[lay.WALKER + lay.P_CLOCKS + cached] += 1
                m[at + 1] = m[lay.WALKER + lay.P_CLOCKS + cached]
                address, level = m[at + 2], m[at + 3]
        address = (address >> 12 << 12) | _index(virtual, level)
        m[request + lay.R_VIRTUAL] = virtual
        if not _read_table(m, request, address, now):
            break
        pop(m, _UPPER, queue, now)
        m[request + lay.R_ADDRESS] = address
        m[request + lay.R_TYPE] = level
        _append_walk(m, request)
        m[lay.N_WALKS] += 1
        started += 1
    return started


@helper
def step_walker(m: Words, now: int) -> None:
    """Run the page walker for one cycle, and set when it is to run next."""
    changed = 0
    if m[_CACHE + lay.C_ANSWERS + lay.Q_COUNT] > 0:
        changed = _take_answers(m, now)
    if m[lay.WALKER + lay.P_N_COMPLETED] + m[lay.WALKER + lay.P_N_FINISHED] > 0:
        changed += _write(m, now)
    if m[_UPPER + lay.C_READS + lay.Q_COUNT] > 0:
        changed += _read(m, now)
    wake = lay.NEVER
    if changed > 0 and m[_UPPER + lay.C_READS + lay.Q_COUNT] > 0:
        wake = now + 1
    if m[lay.WALKER + lay.P_N_COMPLETED] > 0:
        due = m[m[m[lay.WALKER + lay.P_COMPLETED]] + lay.R_DUE]
        if due > now or changed > 0:
            wake = min(wake, max(due, now + 1))
    if m[lay.WALKER + lay.P_N_FINISHED] > 0:
        due = m[m[m[lay.WALKER + lay.P_FINISHED]] + lay.R_DUE]
        if due > now or changed > 0:
            wake = min(wake, max(due, now + 1))
    m[lay.WAKE + lay.PTW] = wake
