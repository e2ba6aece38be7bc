"""Runs of a million requests: the file is read once, and memory does not grow with the run."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.control.tasks import Episode, roll, task_of
from archgym.simulators.dram.control import tasks

N = 1_000_000


@pytest.mark.slow
def test_run_of_a_million_requests_reads_its_file_once_and_keeps_memory_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rng = tmp_path / "long.stl", np.random.default_rng(0)
    lines = np.where(np.arange(N) // 3000 % 2, rng.integers(2**23, size=N), np.arange(N) % 2**23)
    path.write_text("".join(f"{14 * i}: read 0x{64 * at:X}\n" for i, at in enumerate(lines)))
    reads: list[Any] = []
    load = tasks.load_trace
    monkeypatch.setattr(tasks, "load_trace", lambda name: reads.append(name) or load(name))
    task = task_of(f"dram-locality:unseen={path},requests={N}")
    episode, branches = Episode(task, "programs-0"), [None, None, None]

    def act(episode: Any) -> tuple[int, ...]:
        if episode.number % 50 == 0:
            for place, branch in enumerate(branches):
                branches[place] = episode.copy(branch)
                branches[place].step((2 * place,))  # type: ignore[attr-defined]
        return (0 if episode.number % 24 < 12 else 4,)

    tracemalloc.start()
    work = roll(task, "programs-0", act, episode).work.sum()
    grown = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    again = roll(task, "programs-0", lambda _: (0,)).work.sum()

    assert work == again == N
    assert reads == [str(path)]
    # Latencies of all requests take 8 MB. Requests of one branch alone would take 136 MB.
    assert grown < 80e6
