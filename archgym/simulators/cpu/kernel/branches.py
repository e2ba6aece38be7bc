"""Compiled branch prediction: targets, and the direction predictors."""

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.layout import Words
from archgym.simulators.cpu.kernel.tage import move, predict_tage, update_tage
from archgym.simulators.kit.kernels import call_hook, helper, kept_apart

# Types of targets.
_ALWAYS, _CONDITIONAL, _INDIRECT, _RETURN = range(4)
_TARGET_SETS, _TARGET_WAYS, _TARGET_SIZE = 1024, 8, 4  # key + 1, stamp, target, type
_RETURN_DEPTH = 64

# Scalars at lay.BRANCHES: histories, what the last prediction was made of.
(
    _HISTORY, _SPECULATIVE, _REAL, _LIST_HEAD, _LIST_COUNT, _THETA, _TC, _LAST_Y, _WORD_0, _WORD_1,
    _WORD_2, _WORD_3, _INDIRECT_HISTORY,
) = range(lay.BRANCHES, lay.BRANCHES + 13)  # fmt: skip
_LENGTHS = (0, 3, 4, 6, 8, 10, 14, 19, 26, 36, 49, 67, 91, 125, 170, 232)
_N_TABLES = 16
_TAGE = 4  # number of TAGE among the predictors; TAGE-SC-L follows
_INDICES = lay.FOLDS + 16
_LIST_LIMIT = 100
_LIST_MASK = 127


@helper
def find_entry(m: Words, entries: int, ways: int, size: int, key: int) -> int:
    """Return the base of the used entry with this key in a set of a small LRU table, or 0."""
    wanted = key + 1
    for way in range(ways):
        at = entries + size * way
        if m[at] == wanted:
            return at
    return 0


@helper
def victim_entry(m: Words, entries: int, ways: int, size: int, key: int) -> int:
    """Return the base of the entry that a fill with this key overwrites."""
    wanted = key + 1
    unused = 0
    oldest = entries
    for way in range(ways):
        at = entries + size * way
        if m[at] == wanted:
            return at
        if m[at] == 0:
            unused = at
        elif m[at + 1] < m[oldest + 1]:
            oldest = at
    return unused if unused != 0 else oldest


@helper
def _target_set(m: Words, key: int) -> int:
    return m[lay.G_TARGETS] + _TARGET_SIZE * _TARGET_WAYS * (key & (_TARGET_SETS - 1))


@helper
def touch_target(m: Words, ip: int) -> int:
    """Look an address up in the table of targets; return the entry, refreshed, or 0."""
    key = ip >> 2
    at = find_entry(m, _target_set(m, key), _TARGET_WAYS, _TARGET_SIZE, key)
    if at != 0:
        m[lay.G_TARGET_CLOCK] += 1
        m[at + 1] = m[lay.G_TARGET_CLOCK]
    return at


@helper
def predict_target(m: Words, ip: int) -> tuple[int, int]:
    """Return the predicted target and 1 if it is taken regardless of the direction."""
    at = touch_target(m, ip)
    if at == 0:
        return 0, 0
    kind = m[at + 3]
    if kind == _RETURN:
        if m[lay.G_RETURN_COUNT] == 0:
            return 0, 1
        top = m[m[lay.G_RETURN_STACK] + ((m[lay.G_RETURN_TOP] - 1) & (_RETURN_DEPTH - 1))]
        return top + m[m[lay.G_CALL_SIZES] + (top & 1023)], 1
    if kind == _INDIRECT:
        return m[m[lay.G_INDIRECT] + (((ip >> 2) ^ m[_INDIRECT_HISTORY]) & 4095)], 1
    return m[at + 2], 0 if kind == _CONDITIONAL else 1


@helper
def update_target(m: Words, ip: int, target: int, taken: int, kind: int) -> None:
    """Teach the target predictor a branch that has entered."""
    filled = _ALWAYS
    if kind == 3 or kind == 4:
        m[m[lay.G_RETURN_STACK] + m[lay.G_RETURN_TOP]] = ip
        m[lay.G_RETURN_TOP] = (m[lay.G_RETURN_TOP] + 1) & (_RETURN_DEPTH - 1)
        if m[lay.G_RETURN_COUNT] < _RETURN_DEPTH:
            m[lay.G_RETURN_COUNT] += 1
    if kind == 1 or kind == 4:
        m[m[lay.G_INDIRECT] + (((ip >> 2) ^ m[_INDIRECT_HISTORY]) & 4095)] = target
        filled = _INDIRECT
    elif kind == 2:
        m[_INDIRECT_HISTORY] = ((m[_INDIRECT_HISTORY] << 1) | taken) & 4095
        filled = _CONDITIONAL
    elif kind == 5:
        filled = _RETURN
        if m[lay.G_RETURN_COUNT] > 0:
            m[lay.G_RETURN_TOP] = (m[lay.G_RETURN_TOP] - 1) & (_RETURN_DEPTH - 1)
            m[lay.G_RETURN_COUNT] -= 1
            call = m[m[lay.G_RETURN_STACK] + m[lay.G_RETURN_TOP]]
            size = abs(target - call)
            if size <= 10:
                m[m[lay.G_CALL_SIZES] + (call & 1023)] = size
    at = touch_target(m, ip)
    if target != 0:
        if at == 0:
            key = ip >> 2
            at = victim_entry(m, _target_set(m, key), _TARGET_WAYS, _TARGET_SIZE, key)
            m[at] = key + 1
        m[lay.G_TARGET_CLOCK] += 1
        m[at + 1] = m[lay.G_TARGET_CLOCK]
        m[at + 2] = target
        m[at + 3] = filled


@helper
def _unsigned_remainder(ip: int, divisor: int) -> int:
    # Addresses are unsigned; the array is signed, so the top bit is added by hand.
    low = (ip & 0x7FFFFFFFFFFFFFFF) % divisor
    if ip < 0:
        low = (low + 0x7FFFFFFFFFFFFFFF % divisor + 1) % divisor
    return low


@helper
def note_instruction(m: Words, w: Words, ip: int) -> None:
    """Let the predictors see an instruction that is not a branch, for those whom it changes."""
    if m[lay.G_PREDICTOR] == 2:
        _predict_perceptron(m, w, ip)


@helper
def predict_direction(m: Words, w: Words, ip: int, kind: int) -> int:
    """Return the predicted direction of a branch, 1 if taken.

    Those of ChampSim predict every branch, the others conditional ones.
    """
    predictor = m[lay.G_PREDICTOR]
    if predictor >= _TAGE:
        if kind != 2 and kind != 6:
            return 1
        if predictor == lay.USER_PREDICTOR:
            return _predict_by_rule(m, ip)
        return predict_tage(m, w, ip, predictor - _TAGE)
    if predictor == 3:
        y = 0
        for table in range(_N_TABLES):
            index = table * 4096 + ((ip & 4095) ^ m[lay.FOLDS + table])
            m[_INDICES + table] = index
            y += w[index]
        m[_LAST_Y] = y
        return 1 if y >= 1 else 0
    if predictor == 2:
        return _predict_perceptron(m, w, ip)
    if predictor == 1:
        return 1 if w[_gshare_index(m, ip)] >= 1 else 0
    return 1 if w[_unsigned_remainder(ip, 16381)] >= 2 else 0


@helper
def update_direction(m: Words, w: Words, ip: int, kind: int, taken: int, following: int) -> None:
    """Teach the direction predictor the outcome of the branch that it predicted last."""
    predictor = m[lay.G_PREDICTOR]
    if predictor == lay.USER_PREDICTOR:
        _update_rule(m, ip, kind, taken, following)
    elif predictor >= _TAGE:
        update_tage(m, w, ip, kind, taken, following, predictor - _TAGE)
    elif predictor == 3:
        _update_hashed(m, w, taken)
    elif predictor == 2:
        _update_perceptron(m, w, ip, taken)
    elif predictor == 1:
        move(w, _gshare_index(m, ip), taken, 0, 3)
        m[_HISTORY] = ((m[_HISTORY] << 1) | taken) & 16383
    else:
        move(w, _unsigned_remainder(ip, 16381), taken, 0, 3)


@helper
def _predict_by_rule(m: Words, ip: int) -> int:
    """Ask a user's predictor for the direction of a conditional branch."""
    kept_apart()
    hook, time = m[lay.G_HOOK_PREDICT], m[lay.G_HOOK_TIME]
    memory, floats = m[lay.G_HOOK_MEMORY], m[lay.G_HOOK_FLOATS]
    return 1 if call_hook(hook, ip, time, 0, 0, 0, 0, 0, 0, memory, floats) > 0 else 0


@helper
def _update_rule(m: Words, ip: int, kind: int, taken: int, following: int) -> None:
    """Teach a user's predictor a branch that has entered."""
    kept_apart()
    hook, time = m[lay.G_HOOK_UPDATE], m[lay.G_HOOK_TIME]
    m[lay.G_HOOK_TIME] = time + 1
    if hook != 0:
        memory, floats = m[lay.G_HOOK_MEMORY], m[lay.G_HOOK_FLOATS]
        is_conditional = 1 if kind == 2 or kind == 6 else 0
        call_hook(hook, ip, following, is_conditional, taken, time, 0, 0, 0, memory, floats)


@helper
def _gshare_index(m: Words, ip: int) -> int:
    return (m[_HISTORY] ^ ip ^ (ip >> 14) ^ (ip >> 28)) & 16383


@helper
def _predict_perceptron(m: Words, w: Words, ip: int) -> int:
    base = 25 * _unsigned_remainder(ip, 163)
    history = m[_SPECULATIVE]
    y = 0
    for i in range(24):
        weight = w[base + 1 + i]
        y += weight if (history >> i) & 1 else -weight
    y += w[base]
    taken = 1 if y >= 0 else 0
    if m[_LIST_COUNT] >= _LIST_LIMIT:
        m[_LIST_HEAD] = (m[_LIST_HEAD] + 1) & _LIST_MASK
        m[_LIST_COUNT] -= 1
    at = m[lay.G_PERCEPTRON_LIST] + 4 * ((m[_LIST_HEAD] + m[_LIST_COUNT]) & _LIST_MASK)
    m[at] = ip
    m[at + 1] = taken
    m[at + 2] = y
    m[at + 3] = history
    m[_LIST_COUNT] += 1
    m[_SPECULATIVE] = ((history << 1) | taken) & 0xFFFFFF
    return taken


@helper
def _update_perceptron(m: Words, w: Words, ip: int, taken: int) -> None:
    base, head, count = m[lay.G_PERCEPTRON_LIST], m[_LIST_HEAD], m[_LIST_COUNT]
    for i in range(count):
        at = base + 4 * ((head + i) & _LIST_MASK)
        if m[at] != ip:
            continue
        predicted, y, history = m[at + 1], m[at + 2], m[at + 3]
        for k in range(i, count - 1):
            to = base + 4 * ((head + k) & _LIST_MASK)
            source = base + 4 * ((head + k + 1) & _LIST_MASK)
            for field in range(4):
                m[to + field] = m[source + field]
        m[_LIST_COUNT] = count - 1
        m[_REAL] = ((m[_REAL] << 1) | taken) & 0xFFFFFF
        if predicted != taken:
            m[_SPECULATIVE] = m[_REAL]
        if abs(y) <= 60 or predicted != taken:
            row = 25 * _unsigned_remainder(ip, 163)
            move(w, row, taken, -128, 127)
            for k in range(24):
                agrees = 1 if ((history >> k) & 1) == taken else 0
                move(w, row + 1 + k, agrees, -128, 127)
        return


@helper
def _update_hashed(m: Words, w: Words, taken: int) -> None:
    y = m[_LAST_Y]
    wrong = (y >= 1) != (taken != 0)
    theta = m[_THETA] + 10
    if wrong or abs(y) < theta:
        for table in range(_N_TABLES):
            move(w, m[_INDICES + table], taken, -128, 127)
        if wrong:
            m[_TC] += 1
            if m[_TC] >= 18:
                m[_THETA] += 1
                m[_TC] = 0
        else:
            m[_TC] -= 1
            if m[_TC] <= -18:
                m[_THETA] -= 1
                m[_TC] = 0
    # The folded history rotates; the outcome enters at bit 0 and leaves at the table's length.
    for table in range(1, _N_TABLES):
        length = _LENGTHS[table]
        leaving = length - 1
        out = (m[_WORD_0 + (leaving >> 6)] >> (leaving & 63)) & 1
        fold = m[lay.FOLDS + table] << 1
        fold = (fold & 4095) | (fold >> 12)
        m[lay.FOLDS + table] = fold ^ taken ^ (out << (length % 12))
    for word in range(3, 0, -1):
        previous = m[_WORD_0 + word - 1]
        m[_WORD_0 + word] = (m[_WORD_0 + word] << 1) | ((previous >> 63) & 1)
    m[_WORD_0] = (m[_WORD_0] << 1) | taken
