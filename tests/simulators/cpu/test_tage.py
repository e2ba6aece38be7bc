"""TAGE and TAGE-SC-L: as many mispredictions as an implementation that was written apart.

`tage_reference` was written in plain Python by someone who had the description of the predictors in
`archgym/simulators/cpu/TAGE.md`, and not the kernel.
"""

import numpy as np
import pytest

from archgym.errors import InvalidDesignError
from archgym.simulators.cpu.kernel.run import COUNTERS, run
from archgym.simulators.cpu.machine import PREDICTORS, machine
from archgym.simulators.cpu.simulator import CpuSimulator
from archgym.simulators.cpu.workloads.programs import InstructionTrace, load, trace_of
from archgym.traces.instructions.records import RECORD
from tests.simulators.cpu.tage_reference import Tage, TageScL

N = 40_000
_CONDITIONAL = (2, 6)
_TAKEN = 8
_FLAGS, _POINTER = 25, 26


def counted(name: str, trace: InstructionTrace) -> dict[str, int]:
    """Return the counters of the default core with a predictor."""
    parameters = machine({"CPU.branch_predictor": PREDICTORS.index(name)})
    found = run(parameters, trace, 0, trace.n - 4096)
    assert found is not None
    return dict(zip(COUNTERS, found.tolist(), strict=True))


def expected(name: str, trace: InstructionTrace, n_conditional: int) -> int:
    """Return mispredictions of the first conditional branches by the plain implementation.

    A branch that is taken for the first time has no known target, whatever its direction.
    """
    predictor = TageScL() if name == "tage-sc-l" else Tage()
    seen: set[int] = set()
    wrong = 0
    for place in np.flatnonzero(trace.records[: trace.n, 1] & 7 != 7):
        ip, word = (int(value) for value in trace.records[place, :2])
        conditional, taken = word & 7 in _CONDITIONAL, int(word & _TAKEN != 0)
        if conditional:
            if n_conditional == 0:
                break
            n_conditional -= 1
            guess = predictor.predict(ip)
            wrong += guess != taken or (taken == 1 and ip not in seen)
        if taken:
            seen.add(ip)
        predictor.update(ip, conditional, taken, int(trace.records[place + 1, 0]))
    return wrong


def random_branches(seed: int, n: int) -> InstructionTrace:
    """Return a trace of conditional branches: half leave after a period, half by chance."""
    rng = np.random.default_rng(seed)
    addresses = (1 << 40) + 3 * rng.choice(1 << 20, 40, replace=False)
    period, chance = rng.integers(2, 60, 40), rng.random(40)
    visits = np.zeros(40, dtype=np.int64)
    records = np.zeros(n, dtype=RECORD)
    records["is_branch"], records["destinations"] = 1, (_POINTER, 0)
    records["sources"] = (_POINTER, _FLAGS, 0, 0)
    at = 0
    for i in range(n):
        visits[at] += 1
        taken = bool(visits[at] % period[at] if at % 2 else rng.random() < chance[at])
        records["ip"][i], records["taken"][i] = addresses[at], taken
        at = (7 * at + 1) % 40 if taken else (at + 1) % 40
    return trace_of(f"random-{seed}", records)


@pytest.mark.parametrize("name", ["tage", "tage-sc-l"])
@pytest.mark.parametrize("program", ["sort", "rules", "decompress", "graph-search"])
def test_programs_are_predicted_as_by_the_other_implementation(name: str, program: str) -> None:
    found = load(program).instructions(N + 4096)
    trace = InstructionTrace(program, "", found.records, N + 4096, found.n_pages)

    counts = counted(name, trace)

    assert counts["mp_conditional"] == expected(name, trace, counts["br_conditional"])
    assert counts["br_conditional"] > 0


@pytest.mark.parametrize("name", ["tage", "tage-sc-l"])
@pytest.mark.parametrize("seed", [1, 2])
def test_random_branches_are_predicted_as_by_the_other_implementation(name: str, seed: int) -> None:
    trace = random_branches(seed, 20_000)

    counts = counted(name, trace)

    assert counts["br_conditional"] > 10_000
    assert counts["mp_conditional"] == expected(name, trace, counts["br_conditional"])


def test_space_of_branches_says_what_champsim_lacks() -> None:
    simulator = CpuSimulator("branch", instructions=2000)
    place = simulator.space.names.index("branch_predictor")
    design = simulator.space.default_indices.copy()
    workload = simulator.workload("sort")
    design[place] = PREDICTORS.index("tage")

    with pytest.raises(InvalidDesignError, match="branch_predictor"):
        simulator.export("champsim", design, workload)

    assert set(simulator.expressible("champsim")["branch_predictor"]) < set(PREDICTORS)
    found = simulator.evaluate_batch(np.stack([design, simulator.space.default_indices]), workload)
    area = found.values[:, [each.name for each in simulator.metrics].index("area_mm2")]
    # 51 KiB of counters and tags take less than the 64 KiB of the hashed perceptron.
    assert area[0] < area[1]
