"""Phase-driven simulation of task graphs on systems on a chip, as FARSI computes it.

Section numbers in comments are those of `README.md`. Time is a sequence of phases. In a phase each
running task works at one rate, the least that its processing element, memories and buses allow.
"""

import math
from typing import Any, Final

from archgym.simulators.kit.kernels import compiled, entry_point
from archgym.simulators.soc.kernel import state as st
from archgym.simulators.soc.kernel.state import BoundBy
from archgym.simulators.soc.machine import BANK_BYTES

_N_OUTPUTS: Final = len(st.OUTPUTS)
_NEW: Final = 0
_LAUNCHED: Final = 1
_ENDED: Final = 2
_IS_EVENT: Final = 4
# FARSI, state of October 2022: a task ends where this share of its work is done.
_FINISHED: Final = 0.99
# chosen: far above rounding, and no task's work that anyone would notice.
_ROUNDING: Final = 1e-12
# FARSI: least bytes of a memory.
_LEAST_BYTES: Final = 2048.0
# FARSI's development cost: an instruction's share in an accelerator, a link, a bus, a megabyte.
_COST_ACCELERATOR: Final = 100.0
_COST_LINK: Final = 0.1
_BYTES_PER_COST: Final = 1048576.0
_STRIDE: Final = BoundBy.STRIDE
_BY_PE: Final = _STRIDE * BoundBy.PE
_BY_MEMORY: Final = _STRIDE * BoundBy.MEMORY
_BY_BUS: Final = _STRIDE * BoundBy.BUS
_WAITING: Final = _STRIDE * BoundBy.WAITING


@entry_point(seconds=25.0)
def simulate(
    graph: Any, designs: Any, cacti: Any, rules: Any, scratch: Any, log: Any, results: Any
) -> None:
    """Simulate designs one after another.

    Args:
      graph: `GraphArrays`.
      designs: `Designs`.
      cacti: (2, n_sizes, 3), J/byte read, J/byte written and m2 by kind and number of banks.
      rules: `Rules`.
      scratch: `Scratch`.
      log: `Log`; where it is not empty it holds the last design.
      results: (n, n_outputs), filled: `OUTPUTS`, then the latency of each workload.
    """
    for row in range(results.shape[0]):
        _routes(designs, row, scratch)
        _loads(graph, designs, row, scratch)
        phases = _run(graph, designs, row, rules, scratch, log)
        _account(graph, designs, row, cacti, rules, scratch, log, phases, results[row])


@compiled
def _routes(designs: Any, row: Any, s: Any) -> None:
    """Fill `hop`: the bus after b on the shortest route from b to c."""
    hop = s.hop
    n = hop.shape[0]
    for target in range(n):
        for b in range(n):
            hop[b, target] = -1
        hop[target, target] = target
        # Breadth first from the target; n is small, so repeated passes cost little.
        reached = 1 << target
        frontier = reached
        while frontier:
            following = 0
            for b in range(n):
                if reached >> b & 1:
                    continue
                near = designs.links[row, b] & frontier
                if near:
                    c = 0
                    while not near >> c & 1:
                        c += 1
                    hop[b, target] = c
                    following |= 1 << b
            reached |= following
            frontier = following


@compiled
def _loads(g: Any, designs: Any, row: Any, s: Any) -> None:
    """Fill bytes for each instruction and work units of each task, memory and bus (section 4)."""
    tasks = g.work.shape[0]
    processors = designs.processor_bus.shape[1]
    buses = designs.bus_peak.shape[1]
    first_bus = processors + tasks
    s.unit_m[:] = 0.0
    s.ratio_m[:] = 0.0
    s.unit_b[:] = 0.0
    s.ratio_b[:] = 0.0
    s.out_b[:] = 0
    s.bus_used[:] = 0
    for t in range(tasks):
        on = designs.on[row, t]
        if on == st.OWN:
            s.pe[t] = processors + t
            s.pe_bus[t] = designs.task_bus[row, t]
        else:
            s.pe[t] = on
            s.pe_bus[t] = designs.processor_bus[row, on]
    for e in range(g.parent.shape[0]):
        p = g.parent[e]
        m = designs.task_memory[row, p]
        target = designs.memory_bus[row, m]
        for d in range(2):
            t = g.child[e] if d == 0 else p
            unit = g.read_unit[e] if d == 0 else g.write_unit[e]
            work = g.work[t]
            ratio = g.bytes[e] / work if work > 0.0 else 1.0
            s.unit_m[t, d, m] += unit
            s.ratio_m[t, d, m] += ratio
            b = s.pe_bus[t]
            before = s.pe[t]
            while True:
                s.unit_b[t, d, b] += unit
                s.ratio_b[t, d, b] += ratio
                s.in_b[t, d, b] = before
                s.bus_used[b] = 1
                if b == target:
                    s.out_b[t, d, b] |= 1 << (buses + m)
                    break
                following = s.hop[b, target]
                s.out_b[t, d, b] |= 1 << following
                before = first_bus + b
                b = following


@compiled
def _run(g: Any, designs: Any, row: Any, rules: Any, s: Any, log: Any) -> int:
    """Run all phases (section 5) and return their number."""
    tasks = g.work.shape[0]
    is_logged = log.length_s.shape[0] > 0
    for t in range(tasks):
        s.left[t] = g.work[t]
        s.state[t] = _NEW
        s.missing[t] = g.first_in[t + 1] - g.first_in[t]
        s.pending[t] = g.first_out[t + 1] - g.first_out[t]
        s.done[t] = 0
        s.held[t] = 0.0
        s.executed[t] = 0.0
        s.task_pe[t] = 0.0
    s.occupied[:] = 0.0
    s.peak[:] = 0.0
    s.stamp[:] = -1
    clock = 0.0
    before = 0.0
    n_running = 0
    n_waiting = 0
    phase = 0
    while True:
        dt = clock - before
        before = clock
        _advance(g, designs, row, rules, s, n_running, dt, phase, log)
        n_running = _complete(g, designs, row, rules, s, n_running, clock, log)
        n_new = _launch(g, designs, row, s, clock, log)
        n_running, n_waiting = _queue(rules, s, n_running, n_new, n_waiting, phase)
        phase += 1
        if n_running == 0:
            break
        _rates(g, designs, row, rules, s, n_running, phase, log)
        if is_logged:
            for i in range(n_waiting):
                log.bound[phase, s.waiting[i]] = _WAITING
        least = math.inf
        for i in range(n_running):
            t = s.running[i]
            time = s.left[t] / s.rate[t]
            if time < least:
                least = time
        if rules.exact_finish:
            for i in range(n_running):
                t = s.running[i]
                if s.left[t] / s.rate[t] == least:
                    s.state[t] = _IS_EVENT
        clock = least + clock
    return phase


@compiled
def _advance(
    g: Any,
    designs: Any,
    row: Any,
    rules: Any,
    s: Any,
    n_running: Any,
    dt: Any,
    phase: Any,
    log: Any,
) -> None:
    """Let running tasks work for `dt` and account for what they use (sections 5.1 and 8)."""
    memories = s.peak.shape[0]
    is_logged = log.length_s.shape[0] > 0
    s.length[phase] = dt
    s.phase_pe[phase] = 0.0
    s.phase_bytes[phase] = 0.0
    for i in range(n_running):
        t = s.running[i]
        if g.work[t] == 0.0:
            continue
        executed = s.rate[t] * dt
        s.left[t] -= executed
        s.executed[t] += executed
        energy = executed * st.PROCESSOR_ENERGY
        if designs.on[row, t] == st.OWN:
            energy = executed * g.accelerator_energy[t] * designs.unroll[row, t]
        elif rules.free_processor_energy:
            energy = 0.0
        s.phase_pe[phase] += energy
        s.task_pe[t] += energy
        for m in range(memories):
            s.phase_bytes[phase, 0, m] += executed * s.ratio_m[t, 0, m]
            s.phase_bytes[phase, 1, m] += executed * s.ratio_m[t, 1, m]
        if is_logged:
            log.instructions[phase, t] = executed


@compiled
def _complete(
    g: Any, designs: Any, row: Any, rules: Any, s: Any, n_running: Any, clock: Any, log: Any
) -> int:
    """End tasks whose work is done, in the order of `running`; return how many still run."""
    kept = 0
    for i in range(n_running):
        t = s.running[i]
        work = g.work[t]
        if rules.exact_finish:
            ends = work == 0.0 or s.state[t] == _IS_EVENT or s.left[t] <= _ROUNDING * work
        else:
            ends = work == 0.0 or 1.0 - s.left[t] / work >= _FINISHED
        if not ends:
            s.running[kept] = t
            kept += 1
            continue
        s.state[t] = _ENDED
        s.end[t] = clock
        if log.task.shape[0] > 0:
            log.task[t, 1] = clock
        for k in range(g.first_out[t], g.first_out[t + 1]):
            s.missing[g.child[g.out_edge[k]]] -= 1
        if rules.exact_freeing:
            _free(g, designs, row, s, t)
        else:
            _free_as_farsi(g, designs, row, s, t)
    return kept


@compiled
def _free(g: Any, designs: Any, row: Any, s: Any, t: Any) -> None:
    """Free each output whose last child has ended."""
    for k in range(g.first_in[t], g.first_in[t + 1]):
        p = g.parent[g.in_edge[k]]
        s.pending[p] -= 1
        if s.pending[p] == 0:
            s.occupied[designs.task_memory[row, p]] -= s.held[p]


@compiled
def _free_as_farsi(g: Any, designs: Any, row: Any, s: Any, t: Any) -> None:
    """Free outputs as FARSI does: a child is forgotten when its first parent's are freed."""
    s.done[t] = 1
    for k in range(g.first_in[t], g.first_in[t + 1]):
        p = g.parent[g.in_edge[k]]
        are_all = True
        for j in range(g.first_out[p], g.first_out[p + 1]):
            if s.done[g.child[g.out_edge[j]]] == 0:
                are_all = False
                break
        if not are_all:
            continue
        if p != g.ends[0]:
            s.occupied[designs.task_memory[row, p]] -= s.held[p]
        for j in range(g.first_out[p], g.first_out[p + 1]):
            s.done[g.child[g.out_edge[j]]] = 0


@compiled
def _launch(g: Any, designs: Any, row: Any, s: Any, clock: Any, log: Any) -> int:
    """Launch tasks whose inputs are there into `queue`, allocate their outputs; return how many."""
    launched = 0
    tasks = g.work.shape[0]
    source, sink = g.ends[0], g.ends[1]
    for i in range(tasks):
        t = g.order[i]
        if s.state[t] != _NEW or s.missing[t] > 0:
            continue
        s.state[t] = _LAUNCHED
        s.queue[launched] = t
        launched += 1
        if log.task.shape[0] > 0:
            log.task[t, 0] = clock
        if t == sink:
            continue
        m = designs.task_memory[row, t]
        if t == source:
            for k in range(g.first_out[t], g.first_out[t + 1]):
                s.occupied[m] += g.bytes[g.out_edge[k]]
                s.held[t] += g.bytes[g.out_edge[k]]
        else:
            s.held[t] = g.work[t] * s.ratio_m[t, 1, m]
            s.occupied[m] += s.held[t]
        if s.occupied[m] > s.peak[m]:
            s.peak[m] = s.occupied[m]
    return launched


@compiled
def _queue(
    rules: Any, s: Any, n_running: Any, n_new: Any, n_waiting: Any, phase: Any
) -> tuple[int, int]:
    """Give each processing element to one task (section 5.4); return how many run and wait."""
    tasks = s.left.shape[0]
    # All tasks in the order in which they get their processing element, behind the new ones.
    n = tasks
    for i in range(n_running):
        s.queue[n] = s.running[i]
        n += 1
    for part in range(2):
        if (part == 0) == rules.fifo:
            for i in range(n_waiting):
                s.queue[n] = s.waiting[i]
                n += 1
        else:
            for i in range(n_new):
                s.queue[n] = s.queue[i]
                n += 1
    runs = 0
    waits = 0
    for i in range(tasks, n):
        t = s.queue[i]
        if rules.shared == 0 and s.stamp[s.pe[t]] == phase:
            s.waiting[waits] = t
            waits += 1
        else:
            s.stamp[s.pe[t]] = phase
            s.running[runs] = t
            runs += 1
    return runs, waits


@compiled
def _rates(
    g: Any, designs: Any, row: Any, rules: Any, s: Any, n_running: Any, phase: Any, log: Any
) -> None:
    """Fill the rate of each running task: the least that any block allows (section 6)."""
    memories = s.peak.shape[0]
    buses = s.bus_used.shape[0]
    is_logged = log.length_s.shape[0] > 0
    for i in range(n_running):
        t = s.running[i]
        if g.work[t] == 0.0:
            s.rate[t] = 1.0
            continue
        rate = st.PROCESSOR_RATE
        if designs.on[row, t] == st.OWN:
            rate = designs.clock[row, t] * designs.unroll[row, t] * g.accelerator_rate[t]
            if rules.free_accelerators:
                rate = math.inf
        elif rules.shared == 1:
            n = 0
            for j in range(n_running):
                if s.pe[s.running[j]] == s.pe[t]:
                    n += 1
            rate /= n
        s.rate[t] = rate
        if is_logged:
            log.bound[phase, t] = _BY_PE + s.pe[t]
    for d in range(2):
        if not rules.free_memories:
            for m in range(memories):
                _share_memory(g, designs, row, s, n_running, d, m, phase, log)
        if not rules.free_buses:
            for b in range(buses):
                if s.bus_used[b] > 0:
                    _share_bus(g, designs, row, s, n_running, d, b, phase, log)
    if rules.free_accelerators:
        # Data that have no work unit limit nothing; the accelerator itself then does.
        for i in range(n_running):
            t = s.running[i]
            if s.rate[t] == math.inf:
                s.rate[t] = designs.clock[row, t] * designs.unroll[row, t] * g.accelerator_rate[t]


@compiled
def _share_memory(
    g: Any, designs: Any, row: Any, s: Any, n_running: Any, d: Any, m: Any, phase: Any, log: Any
) -> None:
    """Lower the rates of tasks that use one channel of a memory."""
    total = 0.0
    for i in range(n_running):
        total += s.unit_m[s.running[i], d, m]
    if total == 0.0:
        return
    for i in range(n_running):
        t = s.running[i]
        unit = s.unit_m[t, d, m]
        if unit > 0.0 and g.work[t] > 0.0:
            rate = designs.memory_peak[row, m] * unit / total / s.ratio_m[t, d, m]
            if rate < s.rate[t]:
                s.rate[t] = rate
                if log.length_s.shape[0] > 0:
                    log.bound[phase, t] = _BY_MEMORY + m


@compiled
def _share_bus(
    g: Any, designs: Any, row: Any, s: Any, n_running: Any, d: Any, b: Any, phase: Any, log: Any
) -> None:
    """Lower the rates of tasks that use one channel of a bus.

    Inputs that send to one output share it equally; tasks share an input by their work units.
    """
    slots = 0
    for i in range(n_running):
        t = s.running[i]
        if s.out_b[t, d, b] == 0:
            continue
        place = 0
        while place < slots and s.slot_in[place] != s.in_b[t, d, b]:
            place += 1
        if place == slots:
            s.slot_in[place] = s.in_b[t, d, b]
            s.slot_unit[place] = 0.0
            s.slot_out[place] = 0
            slots += 1
        s.slot_unit[place] += s.unit_b[t, d, b]
        s.slot_out[place] |= s.out_b[t, d, b]
    if slots == 0:
        return
    for i in range(n_running):
        t = s.running[i]
        out = s.out_b[t, d, b]
        unit = s.unit_b[t, d, b]
        if out == 0 or unit == 0.0 or g.work[t] == 0.0:
            continue
        place = 0
        while s.slot_in[place] != s.in_b[t, d, b]:
            place += 1
        # The output to which most inputs send decides.
        most = 1
        if slots > 1:
            x = 0
            while out >> x:
                if out >> x & 1:
                    n = 0
                    for other in range(slots):
                        n += s.slot_out[other] >> x & 1
                    most = max(most, n)
                x += 1
        rate = designs.bus_peak[row, b] * (1.0 / most) * unit / s.slot_unit[place]
        rate /= s.ratio_b[t, d, b]
        if rate < s.rate[t]:
            s.rate[t] = rate
            if log.length_s.shape[0] > 0:
                log.bound[phase, t] = _BY_BUS + b


@compiled
def _account(
    g: Any,
    designs: Any,
    row: Any,
    cacti: Any,
    rules: Any,
    s: Any,
    log: Any,
    phases: Any,
    out: Any,
) -> None:
    """Fill one row of results from the phases (sections 7 to 11)."""
    tasks = g.work.shape[0]
    memories = s.peak.shape[0]
    out[:] = 0.0
    for m in range(memories):
        s.energy_m[0, m] = 0.0
        s.energy_m[1, m] = 0.0
        is_used = False
        for t in range(tasks):
            if t != g.ends[1] and designs.task_memory[row, t] == m:
                is_used = True
                break
        if not is_used:
            continue
        kind = designs.memory_kind[row, m]
        banks = math.ceil(max(math.ceil(s.peak[m]), _LEAST_BYTES) / BANK_BYTES)
        s.energy_m[0, m] = _by_size(cacti, kind, banks, 0)
        s.energy_m[1, m] = _by_size(cacti, kind, banks, 1)
        out[3 if kind == st.SRAM else 4] += _by_size(cacti, kind, banks, 2)
        out[7] += _COST_LINK * math.ceil(s.peak[m] / _BYTES_PER_COST)
        out[11] += 1.0
    _account_energy(g, designs, row, s, phases, out)
    out[2] = _power_exact(s, phases) if rules.exact_power else _power_as_farsi(s, phases)
    out[8] = phases
    _account_units(g, designs, row, s, out)
    for k in range(g.last.shape[0]):
        end = s.end[g.last[k]]
        out[_N_OUTPUTS + k] = end
        out[0] = max(out[0], end)
    if log.length_s.shape[0] > 0:
        for phase in range(phases):
            log.length_s[phase] = s.length[phase]
            log.energy_j[phase] = s.phase_energy[phase]
    for t in range(log.task.shape[0]):
        log.task[t, 2] = s.task_pe[t]
        for m in range(memories):
            log.task[t, 2] += s.executed[t] * (
                s.ratio_m[t, 0, m] * s.energy_m[0, m] + s.ratio_m[t, 1, m] * s.energy_m[1, m]
            )
    for m in range(log.memory_bytes.shape[0]):
        log.memory_bytes[m] = math.ceil(s.peak[m])


@compiled
def _by_size(cacti: Any, kind: Any, banks: Any, column: Any) -> float:
    """Return CACTI's figure for a number of banks, continued linearly above the largest."""
    n = cacti.shape[1]
    if banks < n:
        return cacti[kind, banks, column]  # type: ignore[no-any-return]  # compiled
    step = cacti[kind, n - 1, column] - cacti[kind, n - 2, column]
    return cacti[kind, n - 1, column] + step * (banks - n + 1)  # type: ignore[no-any-return]


@compiled
def _account_energy(g: Any, designs: Any, row: Any, s: Any, phases: Any, out: Any) -> None:
    memories = s.peak.shape[0]
    for phase in range(phases):
        total = s.phase_pe[phase]
        for m in range(memories):
            energy = (
                s.phase_bytes[phase, 0, m] * s.energy_m[0, m]
                + s.phase_bytes[phase, 1, m] * s.energy_m[1, m]
            )
            total += energy
            out[15 if designs.memory_kind[row, m] == st.SRAM else 16] += energy
        s.phase_energy[phase] = total
        out[1] += total
    for t in range(g.work.shape[0]):
        out[14 if designs.on[row, t] == st.OWN else 13] += s.task_pe[t]


@compiled
def _account_units(g: Any, designs: Any, row: Any, s: Any, out: Any) -> None:
    """Fill area of processing elements, development cost and numbers of units (9 and 10)."""
    tasks = g.work.shape[0]
    memories = s.peak.shape[0]
    least = math.inf
    for t in range(tasks):
        if 0.0 < g.work[t] < least:
            least = g.work[t]
    s.stamp[:] = 0
    for t in range(tasks):
        if designs.on[row, t] == st.OWN:
            out[6] += g.accelerator_area[t] * designs.unroll[row, t]
            out[7] += _COST_ACCELERATOR * g.work[t] / least
            out[10] += 1.0
        else:
            out[7] += g.work[t] / least
            # A processor that carries the source and the sink alone has no area.
            is_end = t == g.ends[0] or t == g.ends[1]
            s.stamp[s.pe[t]] |= 1 if is_end else 2
        for m in range(memories):
            if s.ratio_m[t, 0, m] > 0.0 or s.ratio_m[t, 1, m] > 0.0:
                target = designs.memory_bus[row, m]
                b = s.pe_bus[t]
                blocks = 3
                while b != target:
                    b = s.hop[b, target]
                    blocks += 1
                out[7] += _COST_LINK * blocks
    for p in range(designs.processor_bus.shape[1]):
        if s.stamp[p] > 0:
            out[9] += 1.0
        if s.stamp[p] > 1:
            out[5] += st.PROCESSOR_AREA
    for b in range(s.bus_used.shape[0]):
        out[7] += _COST_LINK * s.bus_used[b]
        out[12] += s.bus_used[b]


@compiled
def _mean_power(s: Any, low: Any, high: Any) -> float:
    energy = 0.0
    length = 0.0
    for phase in range(low, high):
        energy += s.phase_energy[phase]
        length += s.length[phase]
    return energy / length if length > 0.0 else 0.0


@compiled
def _power_as_farsi(s: Any, phases: Any) -> float:
    """Return the highest mean over FARSI's windows of phases (section 8)."""
    low = up = 0
    last = -1
    left = st.WINDOW_S
    power = 0.0
    for phase in range(phases):
        length = s.length[phase]
        if length == 0.0:
            continue
        if length > left:
            left = st.WINDOW_S
            last = up + 1
            power = max(power, _mean_power(s, low, last))
            low = last
        else:
            left -= length
        up += 1
    if last < 0:
        return _mean_power(s, 0, phases)
    if last != phases:
        power = max(power, _mean_power(s, last, phases))
    return power


@compiled
def _power_exact(s: Any, phases: Any) -> float:
    """Return the highest mean over any 10 ms; some best stretch begins or ends with a phase."""
    total = 0.0
    energy = 0.0
    for phase in range(phases):
        total += s.length[phase]
        energy += s.phase_energy[phase]
    if total <= st.WINDOW_S:
        return energy / total if total > 0.0 else 0.0
    most = 0.0
    for first in range(phases):
        ahead = _energy_of_stretch(s, first, phases, 1)
        behind = _energy_of_stretch(s, first, -1, -1)
        most = max(most, ahead, behind)
    return most / st.WINDOW_S


@compiled
def _energy_of_stretch(s: Any, first: Any, stop: Any, step: Any) -> float:
    """Return the energy of the 10 ms that begin (step 1) or end (step -1) with a phase."""
    left = st.WINDOW_S
    energy = 0.0
    phase = first
    while phase != stop:
        length = s.length[phase]
        if length >= left:
            return energy + s.phase_energy[phase] * (left / length)  # type: ignore[no-any-return]
        left -= length
        energy += s.phase_energy[phase]
        phase += step
    # The run ends within the stretch: a stretch that ends with the run has at least as much.
    return energy
