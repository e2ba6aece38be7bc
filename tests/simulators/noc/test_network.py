"""The kernel against times that follow from the order of stages, and laws that hold for all."""

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, InvalidDesignError
from archgym.simulators.noc.kernel import randoms
from archgym.simulators.noc.machine import ROUTINGS, Graph, Network, wiring
from archgym.simulators.noc.runs import Packets, Run
from archgym.simulators.noc.sampling import Load, measured, targets
from archgym.simulators.noc.state import ALLOCATORS, PRIORITIES, UNTIL_TIME
from archgym.simulators.noc.workloads import formula
from evidence.noc.reference import retired, validate

LINE = Network(k=3, n=1, num_vcs=1, vc_buf_size=2)
RING = Graph(tuple(range(8)), tuple((a, (a + d) % 8, 1) for a in range(8) for d in (1, 7)))
KINDS = [
    {"topology": topology, "routing_function": routing, **shape}
    for topology, shape in (
        ("mesh", {"k": 4}), ("torus", {"k": 5}), ("cmesh", {"k": 4}), ("fattree", {"k": 2, "n": 3}),
        ("flatfly", {"k": 3, "xr": 2}), ("anynet", {"k": 1, "n": 1, "graph": RING}),
    )
    for routing in ROUTINGS[topology]
]  # fmt: skip


def arrivals(network: Network, *packets: tuple[int, ...]) -> list[int]:
    columns = np.array(packets).T
    result = Run(network, Packets.of(*columns)).finish()
    assert result.status == "ok"
    return result.packets["tail_at"].tolist()


def test_packets_that_share_a_link_arrive_as_in_booksim() -> None:
    # Case 1 of BookSim's event logs: a line of three routers, one channel of two flits.
    run = Run(LINE, Packets.of([0, 1, 1], [0, 1, 2], [2, 2, 0], [3, 2, 2]))
    result = run.finish()

    assert result.packets["tail_at"].tolist() == [25, 14, 19]
    assert result.packets["hops"].tolist() == [3, 2, 3]
    assert (result.totals["time"], result.totals["buffered_sum"]) == (26, 46)
    assert (result.totals["full"], result.totals["conflict"]) == (11, 0)


def test_head_spends_three_cycles_in_a_router_and_two_on_a_channel() -> None:
    # To the router 2, in it 3, to the next 2, in it 3, to the node 2.
    assert arrivals(LINE, (0, 0, 1, 1)) == [12]


@pytest.mark.parametrize(
    ("changes", "arrival"),
    [
        ({"routing_delay": 0}, 10), ({"speculative": 1}, 10), ({"routing_delay": 2}, 14),
        ({"st_final_delay": 2}, 14), ({"sw_alloc_delay": 2}, 14), ({"vc_alloc_delay": 3}, 16),
        ({"routing_delay": 0, "speculative": 1}, 8), ({"internal_speedup": 2.0}, 8),
    ],
)  # fmt: skip
def test_each_delay_counts_once_in_each_router(changes: dict[str, int], arrival: int) -> None:
    network = Network(**{"k": 3, "n": 1, "num_vcs": 1, "vc_buf_size": 2, **changes})  # type: ignore[arg-type]

    assert arrivals(network, (0, 0, 1, 1)) == [arrival]


def test_crossbar_of_two_cycles_takes_what_came_meanwhile_together() -> None:
    fast = Network(k=2, n=1, num_vcs=1, vc_buf_size=16)
    slow = Network(k=2, n=1, num_vcs=1, vc_buf_size=16, st_final_delay=2)

    # A flit a cycle; then pairs, which start every second cycle, so that the last is a cycle late.
    assert arrivals(fast, (0, 0, 1, 40))[0] - arrivals(fast, (0, 0, 1, 1))[0] == 39
    assert arrivals(slow, (0, 0, 1, 40))[0] - arrivals(slow, (0, 0, 1, 1))[0] == 40


def test_credits_limit_a_stream_to_the_buffer_a_round_trip() -> None:
    # A buffer of one flit is used again when its credit is back: 3 + 2 + 2 cycles, or longer.
    one = Network(k=2, n=1, num_vcs=1, vc_buf_size=1)
    late = Network(k=2, n=1, num_vcs=1, vc_buf_size=1, credit_delay=4)

    first, more = arrivals(one, (0, 0, 1, 1))[0], arrivals(one, (0, 0, 1, 11))[0]
    later = arrivals(late, (0, 0, 1, 11))[0]
    assert (more - first) % 10 == 0
    assert later - more == 10 * 4


@pytest.mark.parametrize(
    "kind", KINDS, ids=lambda kind: "-".join(map(str, list(kind.values())[:2]))
)
@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_no_flit_is_lost_and_every_hop_is_on_a_channel(
    kind: dict[str, object], allocator: str
) -> None:
    rng = np.random.default_rng(ALLOCATORS.index(allocator))
    for _ in range(3):
        look, speculative = int(rng.integers(2)), int(rng.integers(2))
        network = Network(
            **kind,  # type: ignore[arg-type]
            num_vcs=4, vc_buf_size=int(rng.integers(1, 6)), vc_allocator=allocator,
            sw_allocator=allocator, routing_delay=look, speculative=speculative,
            priority=PRIORITIES[int(rng.integers(len(PRIORITIES)))],
            spec_sw_allocator=str(rng.choice(["prio", "islip", "wavefront"])),
            spec_mask_by_reqs=int(rng.integers(2)), input_speedup=int(rng.integers(1, 3)),
            output_speedup=1, internal_speedup=float(rng.choice([1.0, 1.5, 2.0])),
            wait_for_tail_credit=int(rng.integers(2)), vc_shuffle_requests=int(rng.integers(2)),
            vc_busy_when_full=int(rng.integers(2)), vc_prioritize_empty=int(rng.integers(2)),
            credit_delay=int(rng.integers(3)), output_buffer_size=int(rng.choice([-1, 2])),
        )  # fmt: skip
        run = Run(network, formula("uniform", network.nodes, 2**26, 120, (1, 5), 3), 20_000, 500)
        result = run.finish()
        p = result.packets[result.packets["tail_at"] >= 0]
        if result.status == "ok":
            assert result.totals["buffered"] == 0
            assert result.sent[: run.n_ports].sum() == (p["size"] * p["hops"]).sum()
        else:
            # Only rings without classes of channels, of one's own or of express links, deadlock.
            assert result.status == "deadlock"
            assert kind["topology"] in ("anynet", "cmesh")
        assert (p["tail_at"] >= p["head_at"] + p["size"] - 1).all()
        assert (p["injected"] >= p["created"]).all()


def test_matching_of_one_requester_takes_what_it_asks_for() -> None:
    for allocator in ALLOCATORS:
        network = Network(
            k=3, n=1, num_vcs=1, vc_buf_size=2, vc_allocator=allocator, sw_allocator=allocator
        )
        assert arrivals(network, (0, 0, 1, 1)) == [12]


def test_ring_without_classes_of_channels_deadlocks_and_says_so() -> None:
    network = Network(
        topology="anynet", k=1, n=1, graph=RING, routing_function="min", num_vcs=1, vc_buf_size=1
    )
    packets = formula("tornado", 8, 2**32 - 1, 60, (5,), 1)

    result = Run(network, packets, 20_000, 200).finish()

    assert result.status == "deadlock"
    assert (result.packets["tail_at"] < 0).any()


def test_packet_that_waits_is_made_when_the_other_has_arrived() -> None:
    packets = Packets.of([0, 5], [0, 1], [1, 0], 1, 0, [-1, 0])

    result = Run(LINE, packets).finish()

    assert result.packets["created"].tolist() == [0, 17]
    assert result.packets["tail_at"].tolist() == [12, 29]


def test_reads_and_writes_are_answered() -> None:
    network = Network(k=3, n=1, num_vcs=2, use_read_write=1, read_reply_size=5)

    result = Run(network, Packets.of([0, 0], [0, 2], [1, 1], [1, 5], [1, 2])).finish()

    assert result.packets["size"].tolist() == [1, 5, 5, 1]
    assert result.packets["created"].tolist()[2:] == result.packets["tail_at"].tolist()[:2]


def test_idle_cycles_are_skipped_without_a_trace() -> None:
    for speed in (1.0, 1.5):
        network = Network(k=3, n=1, internal_speedup=speed)
        near = arrivals(network, (0, 0, 1, 1), (100, 0, 2, 3))
        far = arrivals(network, (0, 0, 1, 1), (1_000_100, 0, 2, 3))
        assert far[1] - near[1] == 1_000_000


def test_copy_of_a_run_ends_as_the_run_does_wherever_it_is_cut() -> None:
    packets = formula("uniform", 16, 2**28, 200, (1, 5), 5)
    whole = Run(Network(k=4), packets).finish()
    run = Run(Network(k=4), packets)
    run.advance(UNTIL_TIME, 77)

    for part in (run.copy(), run):
        assert part.finish().packets.tobytes() == whole.packets.tobytes()


def test_two_hop_queueing_keeps_packets_of_a_port_in_its_channels() -> None:
    # With 10 channels and 5 ports each port has two; to +x (port 0) a node may use 0 and 1.
    network = Network(k=4, num_vcs=10, routing_delay=0, noq=1)
    run = Run(network, formula("neighbor", 16, 2**30, 50, (2,), 1))
    assert run.finish().status == "ok"
    with pytest.raises(InvalidDesignError, match="noq"):
        Network(k=4, num_vcs=4, routing_delay=0, noq=1)


def test_generators_are_knuths() -> None:
    # Knuth's own check (TAOCP 3.6): the 2010th block of 1009 begins with 995235265.
    block = randoms.integers(310952)
    state = [int(x) for x in block[:100]]
    for _ in range(40):
        for j in range(1009):
            state.append((state[j] - state[j + 63]) % 2**30)
        state = state[1009:]
    again = block.copy()
    for _ in range(40 * 100):
        randoms.integer(again, 2**30)
    assert randoms.integer(again, 2**30) == state[0]
    assert randoms.integers(0)[:3].tolist() == [58678820, 248994738, 419973050]
    assert randoms.fractions(0)[:2].tolist() == [0.7586583745178217, 0.5061193142291729]


def test_own_traffic_is_as_in_booksim() -> None:
    # Row snative0001 of BookSim: averages with nine digits.
    grid = [
        (a, b) for a in range(9) for b in range(9) if abs(a // 3 - b // 3) + abs(a % 3 - b % 3) == 1
    ]
    slow = {(1, 2), (2, 1)}
    links = tuple((a, b, 2 if (a, b) in slow else 1) for a, b in grid)
    network = Network(
        topology="anynet", k=1, n=1, graph=Graph(tuple(range(9)), links), routing_function="min",
        num_vcs=2, vc_buf_size=1, vc_shuffle_requests=1, routing_delay=0, credit_delay=1,
        output_speedup=2, internal_speedup=2.0, seed=759,
    )  # fmt: skip
    load = Load(packet_size=(1, 5), injection_rate=0.0593, in_flits=False, sample_period=200)

    found, run = measured(network, load)

    assert retired(run.result("ok").packets) == "1b0192504ee8bff0"
    assert (found["cycles"], found["measured"]) == (2029, 564)
    assert found["plat_avg"] == pytest.approx(137.806738, rel=1e-8)
    assert found["accepted_avg"] == pytest.approx(0.169666667, rel=1e-8)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"topology": "torus", "routing_function": "dim_order", "num_vcs": 1}, "num_vcs"),
        ({"routing_function": "nca"}, "routing_function"), ({"topology": "star"}, "topology"),
        ({"vc_allocator": "islip(0)"}, "allocator"), ({"sw_allocator": "pim"}, "allocator"),
        ({"input_speedup": 3}, "input_speedup"), ({"k": 0}, "`k`"), ({"k": 64, "n": 8}, "at most"),
        ({"speculative": 1, "vc_alloc_delay": 2}, "speculative"), ({"priority": "no"}, "priority"),
        ({"topology": "anynet", "routing_function": "min"}, "graph"),
    ],
)  # fmt: skip
def test_network_that_cannot_work_is_refused_in_one_line(
    changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(InvalidDesignError, match=problem) as refused:
        Network(**changes)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_graph_in_two_parts_is_refused() -> None:
    graph = Graph((0, 1, 2), ((0, 1, 1), (1, 0, 1)))
    with pytest.raises(InvalidDesignError, match="every other"):
        wiring(Network(topology="anynet", k=1, n=1, graph=graph, routing_function="min"))


@pytest.mark.parametrize(
    "graph",
    [
        Graph((), ((0, 1, 1),)), Graph((0, -1), ((0, 1, 1), (1, 0, 1))),
        Graph((0, 1), ((0, 1, 0), (1, 0, 1))), Graph((0, 1), ((0, 1, 2**40), (1, 0, 1))),
        Graph((0, 1), ((0, 1, 1), (0, 1, 2), (1, 0, 1))),
    ],
)  # fmt: skip
def test_graph_that_no_wires_make_is_refused_in_one_line(graph: Graph) -> None:
    with pytest.raises(InvalidDesignError, match="A graph must have nodes"):
        Network(topology="anynet", k=1, n=1, graph=graph, routing_function="min")


def test_neighbour_of_a_concentrated_mesh_is_the_next_node_not_the_next_router() -> None:
    # BookSim multiplies the radix by the nodes of a router in a row: 8 x 8 nodes, +1 in both.
    network = Network(topology="cmesh", k=4, routing_function="dor_no_express")

    assert targets("neighbor", 64, network.node_radix, 2)[[0, 7, 63]].tolist() == [9, 8, 0]


def test_networks_of_all_kinds_are_as_booksim_ran_them() -> None:
    lines = validate(group="networks", stride=4).lines
    assert lines
    assert all(line.is_met for line in lines), lines


def test_pattern_of_other_coordinates_is_refused() -> None:
    # It once sent packets to nodes that are not there, which ended the process.
    ring = Network(topology="anynet", routing_function="min", k=8, n=2, graph=RING)
    with pytest.raises(InvalidArgumentError, match="`neighbor` needs nodes with 2 coordinates"):
        measured(ring, Load(pattern="neighbor"))
