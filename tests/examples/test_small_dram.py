"""The simulator that is there to be read: it equals `dram`, and a plug-in needs nothing else."""

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError, SimulatorError
from archgym.evaluation.simulator import Workload
from archgym.simulators.dram.simulator import DramSimulator
from archgym.testing import check_simulator

EXAMPLE = Path(__file__).parents[2] / "examples" / "small_dram"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLE)
    return import_module("small_dram")


def drawn(small: Any, seed: int) -> Any:
    """Return random requests: far apart or in a crowd, in one row, some rows, or all."""
    rng, n = np.random.default_rng(seed), 200
    due = np.sort(rng.integers(0, 40 * n if seed % 2 else 5 * n, n))
    addresses = 64 * rng.integers(0, (2**8, 2**14, 2**24)[seed % 3], n)
    return small.Requests(due, addresses, rng.random(n) < (0.0, 0.3, 0.5)[seed % 3])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("device", ["ddr3-1066", "ddr3-1600"])
def test_times_equal_those_of_the_real_controller(
    small: Any, device: str, seed: int, tmp_path: Path
) -> None:
    requests = drawn(small, seed)
    simulator = small.SmallDramSimulator(device=device)
    path = tmp_path / "requests.stl"
    clock = {"ddr3-1066": 533, "ddr3-1600": 800}[device]
    rows = zip(requests.due, requests.address, requests.is_write, strict=True)
    lines = [f"{due}: {'write' if w else 'read'} {address:#x}\n" for due, address, w in rows]
    path.write_text(f"# clock_mhz: {clock}\n" + "".join(lines))

    for layout in small.LAYOUTS:
        real = DramSimulator(space="archgym-2023", device=device, address_mapping=layout)
        workload = real.workload(path)
        for policy in ("Open", "Closed"):
            design = {**simulator.space.default, "page_policy": policy, "address_mapping": layout}
            serial = {
                **real.space.default,
                "page_policy": policy,
                "arbiter": "Fifo",
                "max_active_transactions": 1,
                "request_buffer_size": 1,
                "scheduler": "Fifo",
                "refresh_policy": "NoRefresh",
            }
            found = simulator.evaluate(design, Workload("x", requests.digest, requests))
            expected = real.evaluate(serial, workload)
            assert found["total_time_ns"] == pytest.approx(expected["total_time_ns"], rel=1e-12)
            assert found["mean_latency_ns"] == pytest.approx(expected["mean_latency_ns"], rel=1e-12)
            assert 2.0 * found["row_hit_percent"] == pytest.approx(expected["row_hits"])


def test_it_is_a_sound_simulator(small: Any) -> None:
    check_simulator(small.SmallDramSimulator())


def test_row_is_closed_once_it_was_idle_for_the_timeout(small: Any) -> None:
    simulator = small.SmallDramSimulator()
    requests = small.Requests(np.array([0, 124]), np.array([0, 64]), np.array([False, False]))
    workload = Workload("x", requests.digest, requests)
    default = dict(simulator.space.default)

    def clocks(**changes: Any) -> float:
        return simulator.evaluate({**default, **changes}, workload)["mean_latency_ns"] * 2 / 1.25

    # A first access takes tRCD + CL + burst = 10 + 10 + 4; one to an open row 10 + 4. The row is
    # idle for 100 clocks.
    assert clocks(page_policy="Open") == 24 + 14
    assert clocks(page_policy="Timeout", timeout=128) == 24 + 14
    assert clocks(page_policy="Timeout", timeout=64) == 24 + 24
    assert clocks(page_policy="Closed") == 24 + 24


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 read", ":1: a line must read like"),
        ("0 read 0x40\n5 erase 0x40", ":2: a line must read like"),
        (f"0 read {2**40}", ":1: its clock must be below"),
        ("", "no requests"),
    ],
)
def test_bad_file_is_refused_with_its_line(
    small: Any, text: str, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "requests.txt"
    path.write_text(text)

    with pytest.raises(FileFormatError, match=problem):
        small.SmallDramSimulator().workload(path)


def test_impossible_time_is_refused(small: Any) -> None:
    simulator = small.SmallDramSimulator()

    with pytest.raises(SimulatorError, match="data bus"):
        simulator.check(np.array([[1.0, 1.0, 1.0]]), simulator.workload("stream"))


def test_it_is_read_in_one_sitting() -> None:
    assert len((EXAMPLE / "small_dram.py").read_text().splitlines()) <= 300


@pytest.mark.slow
def test_installed_elsewhere_it_is_searched_by_its_name(tmp_path: Path) -> None:
    site, source = tmp_path / "site", tmp_path / "source"
    shutil.copytree(EXAMPLE, source)  # pip builds in the folder
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*install, str(site), "--no-build-isolation", str(source)], check=True)
    code = f"import sys; sys.path.insert(0, {str(site)!r}); from archgym.cli import main; main()"
    search = ["search", "small_dram", "--workload", "two-arrays", "--budget", "20"]

    done = subprocess.run(
        [sys.executable, "-c", code, *search, "--out", str(tmp_path / "study")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "mean_latency_ns" in done.stdout
