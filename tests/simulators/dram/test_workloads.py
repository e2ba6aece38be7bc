"""Shipped workloads: their bytes are pinned, and their statistics are the published ones."""

import re
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, UnknownNameError
from archgym.simulators.dram.dramsys.characteristics import characterise
from archgym.simulators.dram.dramsys.devices import device, dramsys_device_names
from archgym.simulators.dram.workloads import shipped as workloads
from archgym.simulators.dram.workloads.shipped import SHIPPED, load_trace, shipped_trace
from archgym.simulators.dram.workloads.trace import Trace, read_trace, write_trace
from archgym.simulators.moe.kernel.replay import Events, replay_events
from archgym.simulators.moe.workloads.routing import generate, routing_preset

# A task's identity holds its workloads' digests: none may change without a new version.
DIGESTS = {
    "cloud-1": "a22bb4846cd23e555fb58f5b6a26761bf3f5752148c225b493ed36f9543bfd47",
    "cloud-2": "3c96a8c5d2f452ea693fa23e4a83a0f96d8704efe4b4be846c13a2fbfb166371",
    "stream": "54ed6c0302515c6c617583fe305d1d564bf7e1648ba9a106c6f91f8ae8868a43",
    "random": "cd50e00df642a0132ed8abf510b287a7af4a262aa0dec7781a184d4589560fc9",
    "strided": "08c7fa29f96b07b4182ec55d8e88b41c4f2d7cafd55ef0186a0270df81fa6484",
    # Changed when delays of relative traces were corrected to count from acceptance.
    "pointer-chase": "b624d818b3353e3fd19aa31cb2b8aa6c750a5d763c339bfb44cda271f7568e10",
    "mixed-rw": "7a878bd7a76c4b50f7b0e218919fbc82e59f9a4d6ec29eb76d37a455ffe5f72a",
    "bursty-rw": "5bb142e5fc31c3b3cbaa0782a9dec3dfff10f57e2a37c3fe6dc79c332b41b426",
    "sparse-rw": "2520face7fd52859f67a62bc7d20479283435ee8df7ad850fd5720e4de2b1768",
    "copy-rw": "5907d2ae20bb3c8b91960f43224d631c2c49cafb8a6473a0f13b2ee94eb6a940",
    "multicore-rw": "311dca88ca72736efe873c4802f780511945b2c5fd1d8f758c1335a38e756ac9",
    "recorded-graph-search": "97eba644de0b63a951b026083420957637a3dc50461eb071902b2555089ec15c",
    "recorded-hash-join": "2136ac7c1b84aaeee0d474ed73183579ba3deb08f9252f5c08e1f54f615fc3dc",
    "recorded-kmer-count": "828b8ffe5c1834ea1e458f514a13ab4e76e0a3de9c7f35757f3516a6f2649b9d",
    "recorded-moe-gather": "6367cc5bc747f38501172d4ca61a53595c971f50a8f98d1b6f545f017f45fe3f",
    "recorded-random-access": "b45dce6998da88667f448f2d0b83ca560d3146e50724e4fe5655379d7bdfb400",
    "recorded-sort": "1412263ebd8d73ad54279fce1cc6e560eb26ffffde0b10140d1ff43146e3c343",
    "weight-stream": "a54e80b9bcc10360864f707aa0aadeb5d35fe3012858aa8bf1891a724ec8e4a2",
    "kv-cache-gather": "c8763c0cecdc5a0a9ef94e774147e5287c3ff6d658a3964f2e1a8e64aa0da9a1",
    "expert-load": "7923682c2056b4757de2a21cac69eadc183fcd89594c254b25aef38ba919ba0e",
    "expert-misses": "5769226afaac666073f42a3aca4639c1ca69512fb83ba3a9f2f0d2413aa017e5",
    "gups": "20d6aaf9dd4f250728d1201e2afa8b2791315daf9b0f5952a42d9ec34a764719",
}
# Requests of several bursts, so that about as many bursts result.
REQUESTS = dict.fromkeys(("expert-load", "expert-misses"), 1280)
REQUESTS |= dict.fromkeys(("weight-stream", "kv-cache-gather"), 640)


def statistics(trace: Trace) -> dict[str, str]:
    """The table of the module's documentation, one column of it."""
    blocks = trace.addresses.reshape(-1, 50)
    is_sequential = (np.diff(blocks, axis=1) == 64).all(axis=1)
    sequential, rest = blocks[is_sequential], blocks[~is_sequential]
    kinds = ("random", "sequential")
    found = characterise(trace, device("ddr3-1600"))
    return {
        "requests": f"{len(trace)}",
        "requests a tick of 1.25 ns": f"{len(trace) / (trace.due_ticks[-1] + 1):g}",
        "reads [%]": f"{found.read_share_percent:g}",
        "requests of a phase": "50",
        "sequential phases": f"{is_sequential.sum()}",
        "random phases": f"{(~is_sequential).sum()}",
        "runs of phases of one kind": f"{1 + np.count_nonzero(np.diff(is_sequential))}",
        "first run": kinds[int(is_sequential[0])],
        "last run": kinds[int(is_sequential[-1])],
        "successors in memory [%]": f"{found.sequential_percent:.2f}",
        "successors in bank and row [%]": f"{found.row_locality_percent:.2f}",
        "sequential region [KiB]": f"{(np.ptp(sequential) + 64) / 1024:.1f}",
        "random region [MiB]": f"{(np.ptp(rest) + 64) / 2**20:.1f}",
        "distinct requests": f"{len(np.unique(trace.addresses))}",
    }


def documented(column: int) -> dict[str, str]:
    rows = re.findall(r"^\|(.+)\|$", workloads.__doc__ or "", re.MULTILINE)[2:]
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    return {row[0]: row[column] for row in cells}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_workload_has_its_bytes(name: str) -> None:
    assert shipped_trace(name).digest == DIGESTS[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_workload_is_ten_thousand_requests_under_its_name(name: str) -> None:
    trace = shipped_trace(name)

    assert len(trace) == REQUESTS.get(name, 10_000)
    assert trace.name == name
    # Larger requests come to about as many bursts of 64 bytes.
    assert (trace.lengths == 64).all() or trace.lengths.sum() == 10_240 * 64


@pytest.mark.parametrize("device_name", dramsys_device_names())
def test_shipped_workloads_fit_every_device(device_name: str) -> None:
    for name in SHIPPED:
        assert characterise(shipped_trace(name), device(device_name)).requests == REQUESTS.get(
            name, 10_000
        )


def test_at_least_three_write_and_idle() -> None:
    found = {name: characterise(shipped_trace(name), device("ddr3-1600")) for name in SHIPPED}

    busy_and_idle = [
        name
        for name, c in found.items()
        if not name.startswith("recorded-")
        and 20 < c.read_share_percent < 80
        and c.idle_percent > 10
    ]
    assert busy_and_idle == ["mixed-rw", "bursty-rw", "sparse-rw", "copy-rw", "multicore-rw"]


def test_recorded_programs_leave_a_memory_of_ddr3_1600_idle_at_times_and_reach_far() -> None:
    for name in SHIPPED:
        if name.startswith("recorded-"):
            found = characterise(shipped_trace(name), device("ddr3-1600"))
            assert found.idle_percent > 10, name
            assert found.span_mib > 900, name
            assert found.demand_percent > 20, name


@pytest.mark.parametrize(("name", "column"), [("cloud-1", 2), ("cloud-2", 4)])
def test_documented_statistics_are_those_of_the_generators(name: str, column: int) -> None:
    assert documented(column) == statistics(shipped_trace(name))


@pytest.mark.parametrize(("name", "column"), [("cloud-1", 1), ("cloud-2", 3)])
def test_documented_statistics_are_those_of_the_published_traces(
    reference: Path, name: str, column: int
) -> None:
    published = read_trace(reference / "traces" / f"{name}.stl.gz")

    assert documented(column) == statistics(published)
    assert not np.array_equal(published.addresses, shipped_trace(name).addresses)


def test_stream_is_the_published_one(reference: Path) -> None:
    published = read_trace(reference / "traces" / "stream.stl.gz")

    assert np.array_equal(published.addresses, shipped_trace("stream").addresses)
    assert np.array_equal(published.ticks, shipped_trace("stream").ticks)


def test_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.stl.gz"
    write_trace(shipped_trace("copy-rw"), path)

    for named in (path, str(path)):
        assert load_trace(named).digest == DIGESTS["copy-rw"]


def test_unknown_workload_lists_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="'cloud-1'"):
        load_trace("cloud1")


def test_absent_file_is_named() -> None:
    with pytest.raises(FileFormatError, match=r"absent\.stl"):
        load_trace("absent.stl")


def test_expert_loads_are_those_of_the_moe_simulator() -> None:
    path = Path(workloads.__file__).parents[1] / "data" / "expert_loads.csv"
    recorded = np.loadtxt(path, np.int64, delimiter=",", skiprows=1)
    routing = generate(routing_preset("olmoe"), 0, [32] * 4, 16)
    events = Events.from_routing(routing, 4)

    found = replay_events(events, "lru", events.n_blocks // 2)

    counts = np.bincount(recorded[:, 0], minlength=len(events.layers))
    whole = range(len(events.layers) // 2, recorded[-1, 0])
    assert counts[whole].tolist() == found.event_misses[whole].tolist()
    assert (recorded[:, 1] // events.n_experts == events.layers[recorded[:, 0]]).all()
