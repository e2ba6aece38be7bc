"""Tasks by name with options: devices, traces, epochs, channels and cores off the default path."""

import os
from pathlib import Path

import numpy as np
import pytest

from archgym.control.comparison import compare_policies
from archgym.control.imitation import imitate
from archgym.control.policies import Network, policy_of
from archgym.control.rules.case import policies_of
from archgym.control.tasks import (
    Episode,
    best_static,
    joined_names,
    reference,
    roll,
    static,
    task_names,
    task_of,
    task_options,
)
from archgym.errors import (
    InvalidArgumentError,
    InvalidDesignError,
    SimulatorError,
    UnknownNameError,
)
from archgym.simulators.dram import Trace, device_names, write_trace
from archgym.simulators.dram.control import tasks
from archgym.traces.instructions.generators import generate

SHORT = {
    "dram": "device=ddr4-2400,requests=1000,epoch=300,phases=dense-30+cloud-1,episodes=3,"
    "unseen=sparse-30,times=sort,addresses=wrap,cost=latency_from_due_ns+p99_latency_ns",
    "cpu": "data_rate=1600,programs=stencil+b-tree,unseen=sort,instructions=2000,epoch=700,"
    "episodes=3,cost=2*cycles_per_instruction",
    "moe": "hardware=dgx-h100,model=qwen3-30b-a3b,rate=30,requests=80,epoch=500,ttft_ms=300,"
    "tpot_ms=20,episodes=3,cost=p99_ttft_ms+0.5*broken_promises",
}
WORK = {"dram": 1000, "cpu": 2000, "moe": 80}


@pytest.mark.slow
@pytest.mark.parametrize("name", task_names())
def test_every_task_runs_with_every_option(name: str) -> None:
    prefix = name[: name.index("-")]
    task = task_of(f"{name}:{SHORT[prefix]}")
    n = len(task.agents)

    found = roll(task, "held-out-2", lambda e: tuple((e.number + i) % 6 for i in range(n)))

    assert {part.partition("=")[0] for part in SHORT[prefix].split(",")} == set(task_options(name))
    assert task_of(task.name) is task
    assert task.episodes("held-out") == ("held-out-0", "held-out-1", "held-out-2")
    # A core's last cycle retires up to a few more.
    assert found.work.sum(axis=0) == pytest.approx(np.full(n, WORK[prefix]), abs=8)
    assert len(found.cost) > 2
    assert found.cost.min() >= 0.0


@pytest.mark.parametrize("device", ["ddr5", "lpddr5", "hbm3", "gddr6", "hbm2", "lpddr4-3200"])
def test_dram_task_runs_on_every_family(device: str) -> None:
    assert device in device_names()
    task = task_of(f"dram-locality:device={device},requests=1000,epoch=500")
    episode = Episode(task, "train-0")

    first = episode.step((0,))
    # Ramulator's epochs end when bursts are accepted, so that some are answered later.
    while not episode.is_over:
        last = episode.step((4,))

    assert 0 < first.work[0] < 1000
    assert 0 < last.work[0] < 1000
    # Four where a request takes two bursts.
    assert episode.number <= 4
    seen = episode.observation
    assert np.isfinite(seen).all()
    assert seen[0, : len(episode.run.counters)].any()


def test_options_that_stand_for_the_default_are_the_default_task() -> None:
    assert task_of("dram-load:device=ddr3-1600,epoch=250") is task_of("dram-load")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dram-load:devise=ddr5", "Did you mean 'device'"),
        ("dram-load:device=ddr9", "Unknown device 'ddr9'"),
        ("dram-load:epoch", "must have a value"),
        ("cpu-mixture:epoch=1", "from 100 to"),
        ("dram-load:phases=dence-30", "Unknown workload 'dence-30'. Did you mean 'dense-30'"),
        ("dram-load:phases=stream+", "Unknown workload ''. Known: 'FILE.stl'"),
        ("cpu-mixture:programs=b-treee", "Unknown workload 'b-treee'. Did you mean 'b-tree'"),
        ("cpu-mixture:programs=sort+", "Unknown workload ''. Known: 'FILE.champsimtrace'"),
        ("cpu-mixture:programs=a.bin", "There is no file or folder 'a.bin'"),
        (
            "dram-load:requests=1000,requests=2000",
            "`requests` of task 'dram-load' must be given once",
        ),
        ("moe-bursts:hardware=rtx-4090", "cannot be built: weights, cache and staging do not fit"),
    ],
)
def test_options_that_do_not_exist_are_refused(name: str, message: str) -> None:
    with pytest.raises((InvalidArgumentError, InvalidDesignError, UnknownNameError), match=message):
        Episode(task_of(name), "train-0")


def test_blanks_and_texts_for_tasks_are_taken_and_episodes_checked() -> None:
    task = task_of(" dram-load : epoch = 300 ")

    assert task is task_of("dram-load:epoch=300")
    with pytest.raises(UnknownNameError, match="Unknown episode 'xx'"):
        task.begin("xx")
    with pytest.raises(InvalidArgumentError, match="`rounds`"):
        imitate("dram-load:epoch=300", rounds=0)


def test_channels_are_runs_of_their_own() -> None:
    task = task_of("dram-channels-2:requests=1000")
    actions = [(0, 4), (2, 5), (1, 1)]
    together = Episode(task, "train-3")
    parts = [together.step(each) for each in actions]
    branch = together.copy()
    branch = together.copy(branch)

    for channel in range(2):
        alone = Episode(task, "train-3").run._runs[channel]  # type: ignore[attr-defined]
        for number, each in enumerate(actions):
            choice = alone.choice(task.actions[each[channel]])
            part = alone.advance((choice,), 250 * (number + 1))
            assert part.cost[0] == parts[number].cost[channel]
            assert np.array_equal(part.values[0], parts[number].values[channel])
    assert np.array_equal(branch.step((0, 0)).cost, together.step((0, 0)).cost)
    assert together.is_over
    alone.advance((alone.choice(task.actions[0]),), 1000)
    assert together.run.finish()["mean_latency_ns_1"] == alone.finish()["mean_latency_ns"]
    # At no time do both run the same program.
    assert abs(parts[0].values[0, 0] - parts[0].values[1, 0]) > 0.5


def test_no_two_channels_have_the_same_requests() -> None:
    episode = Episode(task_of("dram-channels-4:requests=1000"), "held-out-0")

    values = episode.step((0, 0, 0, 0)).values

    assert len(np.unique(values, axis=0)) == 4


def test_own_trace_keeps_its_clock_and_its_waits(tmp_path: Path) -> None:
    n = 1200
    trace = Trace(
        "own",
        10 * np.arange(n),
        np.zeros(n, dtype=bool),
        64 * np.arange(n),
        clock_mhz=400,
        waits_for=np.arange(n) - 1,
    )
    write_trace(trace, tmp_path / "own.stl")
    task = task_of(f"dram-locality:phases=random+{tmp_path / 'own.stl'},requests=4000")
    workload = Episode(task, "train-1").run  # begins

    found = roll(task, "train-1", lambda episode: (0,))

    assert found.work.sum() == 4000
    assert workload.n_agents == 1


def test_more_episodes_than_there_are_or_a_bound_of_teams_are_refused() -> None:
    task, team = task_of("dram-locality:episodes=2"), task_of("dram-channels-2")

    with pytest.raises(InvalidArgumentError, match="n_episodes"):
        compare_policies(task, [], n_episodes=3)
    with pytest.raises(InvalidArgumentError, match="width"):
        compare_policies(task, [], n_episodes=1, width=-1)
    with pytest.raises(InvalidArgumentError, match="several agents"):
        compare_policies(team, [policy_of("hand", team)], n_episodes=1, bound_epochs=2)


def test_task_without_anything_to_save_is_refused() -> None:
    # Nobody waits: before, shares of a cost of 0 were NaN.
    task = task_of("moe-bursts:requests=20,ttft_ms=1e6,tpot_ms=1e6")

    with pytest.raises(InvalidArgumentError, match="must have something to save"):
        reference(task)


def test_more_broken_promises_under_more_load() -> None:
    broken = [
        static(task_of(f"moe-bursts:rate={rate},requests=100"), "train-0", 7).score
        for rate in (1.19, 5)
    ]

    assert 0.0 < broken[0] < broken[1] <= 1.0


def test_imitation_of_episodes_of_one_epoch_is_refused() -> None:
    # Before: an error of NumPy, since nothing was seen.
    with pytest.raises(InvalidArgumentError, match=r"20 epochs or more .* got 0"):
        imitate("dram-locality:requests=1000,epoch=2000", rounds=1, episodes=2)


def test_trace_of_one_instruction_is_refused(tmp_path: Path) -> None:
    one = tmp_path / "one.champsimtrace"
    one.write_bytes(generate("stencil", 1).tobytes())

    # Before: phases without instructions were added for ever.
    with pytest.raises(InvalidArgumentError, match="two instructions or more"):
        task_of(f"cpu-mixture:programs={one}").begin("train-0")


def test_bursts_that_are_never_answered_cost_a_millisecond_each() -> None:
    task = task_of("dram-locality:device=hbm3,requests=5000")
    lost = [static(task, "held-out-1", action) for action in (0, 4)]
    episode = Episode(task, "held-out-1")
    while not episode.is_over:
        episode.step((4,))

    assert lost[0].score < 1000.0 < lost[1].score < 1e6
    assert lost[0].work.sum() == lost[1].work.sum()
    assert best_static(task, ("held-out-1",)) in (0, 1)
    with pytest.raises(SimulatorError, match="never answered"):
        episode.copy().run.finish()


@pytest.mark.parametrize("device", ["ddr3-1600", "ddr5"])
def test_own_trace_that_falls_or_lies_beyond_the_device_is_refused_by_name(
    device: str, tmp_path: Path
) -> None:
    ticks = np.arange(4000) * 10
    fields = {"is_write": np.zeros(4000, bool), "lengths": np.zeros(4000, np.int64)}
    falls, beyond = str(tmp_path / "falls.stl"), str(tmp_path / "beyond.stl")
    falling = np.where(np.arange(4000) < 2000, ticks, ticks - 15_000)
    write_trace(Trace("falls", falling, addresses=np.arange(4000) * 64, **fields), falls)
    write_trace(Trace("beyond", ticks, addresses=2**40 + np.arange(4000) * 64, **fields), beyond)
    options = f"requests=1000,device={device}"

    with pytest.raises(
        InvalidArgumentError, match=r"falls.stl' must not fall.* 19990 .* 5000\. Sort"
    ):
        Episode(task_of(f"dram-load:{options},phases={falls}"), "held-out-0")
    with pytest.raises(
        InvalidArgumentError, match=r"beyond.stl' must lie below .*addresses=wrap"
    ) as c:
        Episode(task_of(f"dram-load:{options},phases={beyond}"), "held-out-0")
    # The option that is advised exists.
    advised = str(c.value).rpartition("`")[0].rpartition("`")[2]
    wrapped = task_of(f"dram-load:{options},phases={beyond},{advised}")
    assert static(wrapped, "held-out-0", 0).work.sum() == 1000


def test_own_trace_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "own.stl")
    n = 9000
    lengths = np.zeros(n, np.int64)
    trace = Trace("own", np.arange(n) * 10, np.zeros(n, bool), np.arange(n) * 64, lengths)
    write_trace(trace, path)
    reads: list[str] = []
    monkeypatch.setattr(
        tasks, "load_trace", lambda name, load=tasks.load_trace: reads.append(name) or load(name)
    )

    task = task_of(f"dram-load:phases={path},requests=8000")
    for episode in ("train-0", "train-1", "held-out-0"):
        Episode(task, episode)
    assert reads == [path]


def test_trace_that_changed_makes_another_task(tmp_path: Path) -> None:
    trace = tmp_path / "own.stl"
    name = f"dram-locality:phases={trace},requests=1000"
    scores = []
    for stride in (64, 1 << 20):
        lines = (f"{8 * i}: read {(i * stride) % (1 << 29):#x}\n" for i in range(1000))
        trace.write_text("".join(lines))
        os.utime(trace, (stride, stride))
        scores.append(static(task_of(name), "held-out-0", 0).score)
    assert task_of(name) is task_of(name)
    assert scores[0] < scores[1]


def test_policies_of_equal_names_are_told_apart(tmp_path: Path) -> None:
    task = task_of("dram-locality:requests=1000")
    names = ("p1/mine.npz", "p2/mine.npz", "hand.npz", "look-ahead.npz")
    files = [str(tmp_path / name) for name in names]
    for file in files:
        Path(file).parent.mkdir(exist_ok=True)
        Network(task.name, [(np.zeros((24, 6)), np.zeros(6))]).write(file)
    with policies_of([*files, "hand", "hand", "hindsight"], task) as found:
        assert [each.name for each in found] == [*files, "hand"]


def test_options_state_the_defaults_of_their_task() -> None:
    assert task_options("cpu-cores-2")["data_rate"].default == 800
    assert task_of("dram-locality-ddr4:device=ddr5").doc.endswith("but with device=ddr5.")


@pytest.mark.parametrize("name", ["a+b.stl", "a,b.stl"])
def test_trace_whose_name_holds_a_separator_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before: "Unknown workload 'a'" and "Unknown option 'b.stl'".
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("".join(f"{8 * i}: read {64 * i:#x}\n" for i in range(1000)))

    task = task_of(f"dram-locality:phases=stream+{name},requests=1000")

    assert joined_names(f"stream+{name}+random") == ("stream", name, "random")
    assert task_of(task.name) is task
    assert len(static(task, "train-0", 0).cost) == 4


def test_server_of_too_many_epochs_is_refused_before_it_starts() -> None:
    for options in ("rate=0.001", "epoch=1"):  # took minutes before
        with pytest.raises(InvalidArgumentError, match="must have about 20,000 epochs at most"):
            task_of(f"moe-bursts:{options}")
