"""Families of programs that are left out, prices of policies, and own traces."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.control.declaration import controls
from archgym.control.families import left_out
from archgym.control.policies import policy_of
from archgym.control.price import Watched, priced
from archgym.control.tasks import Episode, joined_names, roll, task_of
from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.simulators.cpu.control import tasks
from archgym.simulators.dram.control.tasks import _KINDS
from archgym.simulators.dram.workloads.trace import Trace, write_trace
from archgym.traces.instructions.generators import generate
from archgym.traces.instructions.records import iterate_records, write_records


def own_trace(path: Path, ticks: np.ndarray | None = None) -> Trace:
    """Write a trace of 3,000 requests: a stream, then requests anywhere."""
    rng = np.random.default_rng(0)
    n = 3000
    lines = np.where(np.arange(n) < n // 2, np.arange(n), rng.integers(2**20, size=n))
    given = np.arange(n) * 12 if ticks is None else ticks
    trace = Trace("mine", given, np.zeros(n, bool), 64 * lines)
    write_trace(trace, path)
    return trace


def test_families_share_no_program_and_there_are_eight_or_more_where_there_are_any() -> None:
    for control in controls().values():
        programs = [p for each in control.families.values() for p in joined_names(each)]
        assert len(set(programs)) == len(programs)
        assert not programs or len(control.families) >= 8


def test_family_that_is_left_out_is_the_only_one_to_test_on() -> None:
    name, found = next(
        left_out("dram-locality:requests=1000", families=["streams"], n_episodes=1,
            horizons=(250,), trains=False)
    )  # fmt: skip

    assert name == "streams"
    assert found.task.name.endswith("unseen=stream")
    assert "stream" not in joined_names(found.task.name.split("phases=")[1].split(",")[0])
    assert {"dueling", "best-static", "ducb", "hand", "hindsight", "look-ahead"} <= {
        row.policy for row in found.rows
    }
    with pytest.raises(UnknownNameError, match="stream"):
        next(left_out("dram-locality", families=["stream"]))
    with pytest.raises(InvalidArgumentError, match="two families"):
        next(left_out("moe-bursts"))


def test_file_never_seen_is_played_in_order_and_whole(tmp_path: Path) -> None:
    trace = own_trace(tmp_path / "mine.stl")
    task = task_of(f"dram-locality:unseen={tmp_path / 'mine.stl'},requests=2000")

    parts = [roll(task, f"programs-{number}", lambda _: (0,)).work.sum() for number in range(2)]

    assert parts == [2000, len(trace) - 2000]
    # The second piece is random, of which few requests go to the row of the last.
    counters = [counter.name for counter in Episode(task, "programs-0").run.counters]
    shares = []
    for number in range(2):
        episode = Episode(task, f"programs-{number}")
        shares.append(episode.step((0,)).values[0, counters.index("locality")])
    assert shares[0] > 0.9 > 0.1 > shares[1]


def test_instruction_trace_in_pieces_is_read_once_and_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "own.champsimtrace")
    records = generate("sort", 50_000)
    write_records(path, records)
    opened: list[str] = []

    def reads(name: str) -> Iterator[np.ndarray]:
        opened.append(name)
        yield from iterate_records(name)

    monkeypatch.setattr(tasks, "iterate_records", reads)
    piece = tasks._in_order(path, 20_000)

    found = np.concatenate([piece(number) for number in range(4)])

    assert np.array_equal(found, np.tile(records, 2)[:80_000])
    assert len(opened) == 2
    assert np.array_equal(piece(1), records[20_000:40_000])


def test_times_that_fall_are_sorted_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "falls.stl"
    ticks = np.arange(3000) * 12
    ticks[[100, 101]] = ticks[[101, 100]]
    own_trace(path, ticks)
    task = task_of(f"dram-locality:unseen={path}")

    with pytest.raises(InvalidArgumentError, match=r"falls\.stl.*times=sort") as refused:
        Episode(task, "programs-0")
    assert "\n" not in str(refused.value)
    sorts = task_of(f"dram-locality:unseen={path},times=sort")
    assert roll(sorts, "programs-0", lambda _: (0,)).work.sum() == 3000


def test_price_counts_what_was_watched_and_a_table_repeats_the_policy() -> None:
    task = task_of("dram-locality:requests=5000")

    def watched(name: str) -> Watched:
        policy = Watched(policy_of(name, task))
        policy.start(task, "held-out-0")
        roll(task, "held-out-0", policy.act)
        return policy

    n_epochs = len(roll(task, "held-out-0", lambda _: (0,)).cost)
    price, table = priced(task, watched("hand"), leaves=4)

    assert (price.counters, price.epochs, price.bytes) == (9, n_epochs - 1, 9 * (n_epochs - 1))
    assert price.beside == 0
    # The rule is a threshold on one counter: one node and two leaves of six actions.
    assert table.agreement == 1.0
    assert (table.operations, table.bits) == (1, 3 + 8 + 2 * 2 + 2 * 3)
    by_table = roll(task, "held-out-0", table.policy.act)
    by_hand = roll(task, "held-out-0", policy_of("hand", task).act)
    assert np.array_equal(by_table.actions, by_hand.actions)
    assert priced(task, watched("default"))[0].bytes == 0
    assert priced(task, watched("dueling"))[0].beside > n_epochs


@pytest.mark.parametrize("kind", sorted(_KINDS))
def test_phases_of_a_family_lie_within_every_device(kind: str) -> None:
    trace = replace(_KINDS[kind](2000, 7), name=kind)

    assert (trace.addresses + 64).max() <= 2**30
