"""What a design would be without one of its costs: true of machines that really do not pay it."""

from dataclasses import replace

import numpy as np
import pytest

from archgym.errors import UnknownNameError
from archgym.evaluation.capabilities import results_without
from archgym.evaluation.simulator import default_workload
from archgym.simulators.moe import NodePreset, Requests, Routing, node
from archgym.simulators.moe.costs import own_joules, relieved
from archgym.simulators.moe.kernel.run import Run, documents, run
from archgym.simulators.moe.machine.columns import CpuRule, Prefetch, Replacement, Scope
from archgym.simulators.moe.machine.eplb import place
from archgym.simulators.moe.machine.hardware import Host, Link
from archgym.simulators.moe.machine.plan import plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.metrics import METRICS, loaded_bytes, measure
from archgym.simulators.moe.simulator import MoeSimulator
from archgym.simulators.moe.space import SPACE_NAMES
from archgym.simulators.moe.workloads.routing import popularity
from archgym.simulators.moe.workloads.workload import Promise
from tests.simulators.moe.serving_cases import MODEL, N_BLOCKS, ROUTING, SERVER, closed, serve

HALF = Serving(cache_experts=N_BLOCKS // 2, max_sequences=4)
# Half of the experts are in the host's memory, the others on the drive.
TIERS = replace(HALF, host_gb=0.1)
ENDLESS = Link(1e9)
NAMES = [spec.name for spec in METRICS if spec.formula is None]


def _without(
    cost: str,
    serving: Serving,
    requests: Requests | None = None,
    server: NodePreset = SERVER,
    routing: Routing = ROUTING,
) -> Run:
    asked = closed() if requests is None else requests
    ready = plan(MODEL, server, serving, asked)
    placement = None
    if serving.expert > 1:
        n_servers = -(-serving.n_gpus // server.n_gpus)
        ranking = popularity(routing)
        placement = place(ranking, MODEL.moe_layers, 0, n_servers, serving.n_gpus, "in-order")
    if cost:
        ready, asked, placement = relieved(cost, ready, asked, placement)
    where = documents(asked, routing)
    return run(ready, asked, routing, where, popularity(routing), placement=placement)


def _elapsed_ns(found: Run) -> float:
    return found.counters["elapsed_ns"]


def test_costs_of_a_resident_model_add_up_to_all_its_time() -> None:
    serving = Serving(tensor=4, step_software_ns=7_000.0)
    server = node("dgx-h100")
    costs = ("experts", "attention", "launches", "exchange")

    total = _elapsed_ns(_without("", serving, server=server))
    spared = [total - _elapsed_ns(_without(cost, serving, server=server)) for cost in costs]

    assert min(spared) > 0
    assert sum(spared) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("replacement", [Replacement.LRU, Replacement.LFU, Replacement.STATIC])
def test_no_cost_ever_slows_a_closed_batch_by_leaving(
    scope: Scope, replacement: Replacement
) -> None:
    serving = replace(TIERS, scope=scope, replacement=replacement)
    total = _elapsed_ns(serve(serving))

    for cost in ("capacity", "host-link", "drive", "experts", "attention", "launches"):
        assert _elapsed_ns(_without(cost, serving)) < total


def test_without_capacity_is_the_design_that_holds_all() -> None:
    ahead = replace(TIERS, prefetch=Prefetch.PATH, cpu_rule=CpuRule.FASTER, scope=Scope.GLOBAL)

    found = _without("capacity", ahead)

    assert found.finish_ns.tolist() == serve(replace(ahead, cache_experts=None)).finish_ns.tolist()


def test_without_host_link_is_an_endlessly_fast_one() -> None:
    found = _without("host-link", TIERS)

    endless = serve(TIERS, server=replace(SERVER, host_to_gpu=ENDLESS))
    assert endless.counters["n_demand"] > 0
    assert found.finish_ns == pytest.approx(endless.finish_ns, rel=1e-6)


def test_without_host_processor_is_an_endlessly_fast_one() -> None:
    serving = replace(HALF, cpu_rule=CpuRule.ALWAYS)

    found = _without("host-processor", serving)

    server = replace(SERVER, host=Host(64, 1e9, 1e9), host_to_gpu=ENDLESS, gpu_to_host=ENDLESS)
    endless = serve(serving, server=server)
    assert endless.counters["n_cpu"] > 0
    assert found.finish_ns == pytest.approx(endless.finish_ns, rel=1e-6)


def test_without_exchange_is_endlessly_fast_links() -> None:
    server = node("hgx-h800")
    serving = Serving(tensor=2, data=8, spreads_experts=True, pipeline=4)

    found = _without("exchange", serving, server=server)

    endless = replace(server, gpu_to_gpu=ENDLESS, network=ENDLESS)
    assert found.finish_ns == pytest.approx(
        _without("", serving, server=endless).finish_ns, rel=1e-6
    )


def test_without_mispredictions_no_prefetch_is_wasted() -> None:
    serving = replace(HALF, prefetch=Prefetch.PATH, staging_experts=8, accuracy=0.5)

    assert serve(serving).counters["n_wasted"] > 0
    assert _without("mispredictions", serving).counters["n_wasted"] == 0


def _routed_to(experts: list[list[int]]) -> Routing:
    """Tokens that use the same experts in all layers, in turn."""
    rows = np.array(experts * (64 // len(experts)), dtype=np.int16)
    layers = np.repeat(rows[:, None, :], MODEL.moe_layers, axis=1)
    return Routing(layers, np.array([0, 64]), MODEL.experts, "by hand")


@pytest.mark.parametrize(
    ("routing", "spared"),
    [(_routed_to([[0, 1]]), 0.5), (_routed_to([[0, 8]]), 0.0)],
    ids=["all on one of two", "even"],
)
def test_without_imbalance_two_accelerators_share_the_experts(
    routing: Routing, spared: float
) -> None:
    serving = Serving(data=2, spreads_experts=True)
    server = node("dgx-h100")

    total, no_experts, balanced = (
        _elapsed_ns(_without(cost, serving, server=server, routing=routing))
        for cost in ("", "experts", "imbalance")
    )

    assert total - balanced == pytest.approx(spared * (total - no_experts), rel=1e-9, abs=1e-3)


def test_without_batch_limits_is_the_design_that_has_none() -> None:
    narrow = Serving(max_sequences=1, max_tokens=2, chunk_tokens=8)
    wide = replace(narrow, max_sequences=64, max_tokens=4096)

    found = _without("batch-limits", narrow)

    assert found.finish_ns.tolist() == serve(wide).finish_ns.tolist()


def test_without_arrivals_requests_come_at_once() -> None:
    late = replace(closed(), arrival_ns=np.array([0, 10**9, 2 * 10**9]))

    found = _without("arrivals", HALF, late)

    assert found.finish_ns.tolist() == serve(HALF).finish_ns.tolist()


@pytest.mark.parametrize("cpu_rule", CpuRule)
def test_energies_of_the_costs_add_up_to_that_of_a_run(cpu_rule: CpuRule) -> None:
    ahead = replace(TIERS, prefetch=Prefetch.GATE, accuracy=0.6, cpu_rule=cpu_rule, chunk_kib=64)
    spread = Serving(tensor=2, data=8, spreads_experts=True)
    costs = MoeSimulator("three-tier").spec.costs

    for serving, server in ((ahead, SERVER), (spread, node("hgx-h800"))):
        found = _without("", serving, server=server)
        values = measure(found, MODEL, server, serving, Promise(1.0, 1.0))
        parts = [own_joules(cost, found, MODEL, server, serving) for cost in costs]

        joules = values[NAMES.index("energy_per_token_mj")] / 1e3 * found.output_tokens.sum()
        assert sum(parts) == pytest.approx(joules, rel=1e-12)


@pytest.mark.parametrize("low_bits", [0, 4])
def test_loads_of_any_precision_take_the_link_s_energy(low_bits: int) -> None:
    serving = replace(HALF, low_bits=low_bits)
    found = _without("", serving)
    values = measure(found, MODEL, SERVER, serving, Promise(1.0, 1.0))

    loaded = 1e9 * sum(values[NAMES.index(name)] for name in ("demand_gb", "prefetch_gb"))

    assert loaded_bytes(found, MODEL, serving) == pytest.approx(loaded, rel=1e-12) != 0
    # 80 pJ for a byte on the link, 120 pJ for one of the host's memory.
    joules = 1e-12 * (80.0 + 120.0) * loaded
    assert own_joules("host-link", found, MODEL, SERVER, serving) == pytest.approx(joules)


def test_drive_costs_what_more_host_memory_saves() -> None:
    simulator = MoeSimulator("edge-offload")
    workload = simulator.workload("chat")
    default = simulator.space.design_at(simulator.space.default_indices)
    small, large = (
        simulator.space.indices_of({**default, "expert_bits": 8, "host_gb": gb})[None, :]
        for gb in (16, 128)
    )

    spared = results_without(simulator, "drive", small, workload).values[0]

    enough = simulator.simulate(large, workload).values[0]
    others = [place for place, name in enumerate(NAMES) if name != "drive_gb"]
    assert spared[others] == pytest.approx(enough[others], rel=1e-12)
    assert simulator.simulate(small, workload).values[0, 8] > 1.1 * enough[8]


def test_standing_power_is_that_of_all_accelerators_and_the_host() -> None:
    simulator = MoeSimulator("single-server")
    workload = simulator.workload("chat")
    design = simulator.space.default_indices[None, :]

    paid = dict(zip(NAMES, simulator.simulate(design, workload).values[0], strict=True))
    free = results_without(simulator, "standing-power", design, workload).values[0]

    # 80 W for each of 8 accelerators, 150 W for the host; W / (tokens/s) is J a token.
    spared = 1e3 * (8 * 80.0 + 150.0) / paid["output_per_s"]
    left = dict(zip([spec.name for spec in simulator.metrics], free, strict=True))
    assert left["energy_per_token_mj"] == pytest.approx(paid["energy_per_token_mj"] - spared)
    assert {name for name in NAMES if left[name] != paid[name]} == {"energy_per_token_mj"}


@pytest.mark.parametrize("space", SPACE_NAMES)
def test_every_cost_leaves_a_design_that_can_be_measured(space: str) -> None:
    simulator = MoeSimulator(space)
    workload = simulator.workload(default_workload(simulator))
    design = simulator.space.default_indices[None, :]

    for cost in simulator.spec.costs:
        result = results_without(simulator, cost, design, workload)

        assert result.reason[0] == 0
        assert np.isfinite(result.values).all()
        assert result.values[0, NAMES.index("energy_per_token_mj")] >= 0


def test_a_design_that_does_not_fit_does_not_fit_without_a_cost() -> None:
    simulator = MoeSimulator("edge-offload")
    workload = simulator.workload("chat")
    default = simulator.space.design_at(simulator.space.default_indices)
    design = simulator.space.indices_of({**default, "cache_percent": 90})[None, :]

    found = results_without(simulator, "capacity", design, workload)

    assert found.reason[0] == simulator.simulate(design, workload).reason[0] > 0
    assert np.isnan(found.values).all()


def test_a_cost_of_another_space_is_refused() -> None:
    simulator = MoeSimulator("edge-offload")

    with pytest.raises(UnknownNameError, match="exchange"):
        results_without(
            simulator,
            "exchange",
            simulator.space.default_indices[None, :],
            simulator.workload("chat"),
        )
