"""Files that ArchGym 0.2.0 wrote, used with the present code.

`tests/fixtures/v0_2/README.md` describes each file and how it was made.
"""

import gzip
import json
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.agent.agent import agent_class
from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.report.commands import older_version
from archgym.studies.snapshot import verify_study
from archgym.testing import ProvingSimulator
from tests.test_formats_v0_1 import command, has_same_logarithm, records

FIXTURES = Path(__file__).parent / "fixtures" / "v0_2"
STUDIES: dict[str, dict[str, Any]] = json.loads((FIXTURES / "studies.json").read_text())
IDS: list[dict[str, Any]] = json.loads((FIXTURES / "ids.json").read_text())
CHANGED: dict[str, int] = {"moe": 6, "moe/closed-loop": 7}
"""Simulators whose numbers have changed since on purpose, or a space, with the present version."""
RENEWED: dict[str, dict[str, str]] = {"cpu": {"node": "none"}}
"""Simulators with another version by default, and options that return the recorded numbers."""
AGENTS = (
    "random",
    "grid",
    "quasi_random",
    "hill_climbing",
    "simulated_annealing",
    "genetic",
    "ant_colony",
    "bottleneck",
    "nsga2",
    "extra_trees",
)


@pytest.fixture(autouse=True)
def in_fixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the folder of the fixtures, in which `inputs/` lies."""
    monkeypatch.chdir(FIXTURES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the dataset, the proxy and the table."""
    folder = tmp_path_factory.mktemp("v0_2")
    with tarfile.open(FIXTURES / "data.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def is_changed(name: str) -> bool:
    return STUDIES[name]["task"]["simulator"] in CHANGED


def task_as_then(choices: dict[str, Any]) -> ag.Task:
    return ag.Task.make(**choices, **RENEWED.get(choices["simulator"], {}))


def task_of(name: str) -> ag.Task:
    return task_as_then(STUDIES[name]["task"])


def study(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "studies" / name, folder / name))


def assert_same_journal(made: Path, expected: str) -> None:
    """Assert that a journal equals a recorded one byte for byte.

    Rewards are logarithms, which NumPy rounds differently on some processors. There, rewards may
    differ in their last digits, and nothing else may.
    """
    written = gzip.decompress((FIXTURES / f"{expected}.jsonl.gz").read_bytes())
    if has_same_logarithm():
        assert made.read_bytes() == written
        return
    theirs = [json.loads(line) for line in written.splitlines()]
    for ours, wanted in zip(records(made), theirs, strict=True):
        ours.pop("crc"), wanted.pop("crc")
        assert ours.pop("reward") == pytest.approx(wanted.pop("reward"), rel=1e-12, abs=1e-15)
        assert ours == wanted


ROWS = [
    # The kernel of several cores takes minutes to compile.
    pytest.param(
        row, marks=[pytest.mark.nightly] if "cores" in row["choices"] else [], id=row["id"]
    )
    for row in IDS
]


@pytest.mark.parametrize("row", ROWS)
def test_id_names_the_same_task_and_reads_back(row: dict[str, Any]) -> None:
    if "extensions" in row["choices"]:
        with pytest.raises(InvalidArgumentError, match="`extensions` was removed"):
            ag.Task.make(**row["choices"])
        return
    simulator = row["choices"]["simulator"]

    made = task_as_then(row["choices"])

    if simulator in CHANGED:
        name, _, rest = row["id"].rpartition("-v")
        now = CHANGED.get(f"{simulator}/{made.space_name}", CHANGED[simulator])
        assert made.id == f"{name}-v{now}" + "".join(rest.partition(".")[1:])
    else:
        assert (made.id, made.digest) == (row["id"], row["digest"])
        assert ag.Task.make(row["id"]).digest == row["digest"]
    assert ag.Task.make(made.id).digest == made.digest


@pytest.mark.parametrize("name", STUDIES)
def test_recorded_study_is_read(name: str) -> None:
    log = ag.read_study(FIXTURES / "studies" / name)

    outcome = log.best()

    assert log.evaluations == STUDIES[name]["budget"]
    assert log.status == "finished"
    assert outcome is not None
    assert outcome.reward == pytest.approx(STUDIES[name]["best"], rel=1e-12)


@pytest.mark.parametrize("simulator", RENEWED)
def test_task_of_a_renewed_simulator_is_another_by_default(simulator: str) -> None:
    made = ag.Task.make(simulator)
    former = ag.Task.make(simulator, **RENEWED[simulator])

    assert (made.version, former.version) == (1, 0)
    assert made.digest != former.digest
    assert ag.Task.from_json(former.to_json()).digest == former.digest
    assert pickle.loads(pickle.dumps(former)).digest == former.digest


def test_recorded_study_of_a_former_version_resumes_without_a_word(tmp_path: Path) -> None:
    folder = study("cpu", tmp_path)

    ag.Study.open(folder).run(budget=STUDIES["cpu"]["more"])

    assert_same_journal(folder / "journal.jsonl", "resumed/cpu")


RESUMED = [name for name in STUDIES if "more" in STUDIES[name] and not is_changed(name)]


@pytest.mark.parametrize("name", RESUMED)
def test_recorded_study_resumes_byte_for_byte_and_verifies(name: str, tmp_path: Path) -> None:
    if name == "auto" and not has_same_logarithm():
        pytest.skip("the models of auto learn from rewards, which NumPy rounds differently here")
    folder = study(name, tmp_path)
    task = task_of(name)

    ag.Study.open(folder, task).run(budget=STUDIES[name]["more"])

    assert task.id == STUDIES[name]["id"]
    assert_same_journal(folder / "journal.jsonl", f"resumed/{name}")
    assert verify_study(ag.read_study(folder), task) == ()


@pytest.mark.parametrize("name", [name for name in STUDIES if is_changed(name)])
def test_study_on_an_older_version_of_a_simulator_is_not_resumed(name: str, tmp_path: Path) -> None:
    folder = study(name, tmp_path)

    with pytest.raises(InvalidArgumentError, match="`version` differs now"):
        ag.Study.open(folder)
    with pytest.raises(InvalidArgumentError, match=r"-v\d+' with digest .*; got .*-v\d+'"):
        ag.Study.open(folder, task_of(name))


@pytest.mark.parametrize(
    ("space", "options", "sentence"),
    [
        ("closed-loop", {}, "Simulator moe had version 6, and 7 is installed, which returns other"),
        ("closed-loop", {"measured": "0", "confidence": "0.9"}, "Simulator moe had version 6"),
        ("single-server", {"engine": "vllm"}, "Simulator moe had version 6, and 7 is installed"),
        ("closed-loop", {"engine": "ideal"}, ""),
        ("edge-offload", {}, ""),
    ],
)
def test_older_version_is_named_where_options_decide_the_version(
    space: str, options: dict[str, str], sentence: str
) -> None:
    recipe = {"simulator": "moe", "version": 6, "space_name": space, "fidelity": "auto"}

    older = older_version({**recipe, "options": options})

    assert older.startswith(sentence)
    assert bool(older) == bool(sentence)


def test_task_with_older_constants_of_engines_is_refused_by_version() -> None:
    recipe = ag.Task.make("moe", space="closed-loop", requests="2").to_json()

    with pytest.raises(InvalidArgumentError, match="`version` differs now: it was 6 and is 7"):
        ag.Task.from_json({**recipe, "version": 6, "digest": "0" * 64})


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("kind", ["proving", "dram"])
def test_agent_writes_the_journal_that_it_wrote(kind: str, agent: str, tmp_path: Path) -> None:
    if kind == "proving":
        task = ag.Task.make(ProvingSimulator("mixed"), {"near": 2.0, "far": 1.0}, "balanced")
    else:
        task = ag.Task.make("dram", "cloud-1", "balanced")
    budget = 40 if kind == "proving" else 32

    ag.Study.create(tmp_path / "study", task, agent, seed=5, budget=budget).run()

    assert_same_journal(tmp_path / "study" / "journal.jsonl", f"journals/{kind}/{agent}")


def test_recorded_sweep_resumes_byte_for_byte(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "sweep", tmp_path / "sweep"))

    command("sweep", "resume", folder, cwd=tmp_path)

    for agent in ("random", "small"):
        journal = folder / "stream" / agent / "seed-0" / "journal.jsonl"
        assert_same_journal(journal, f"resumed/sweep-{agent}-seed-0")


def test_recorded_table_is_searched_as_its_simulator(data: Path, tmp_path: Path) -> None:
    simulator = ProvingSimulator("mapping", has_failures=False)
    task = ag.Task.make(simulator, stand_in=data / "tables" / "proving.parquet")

    ag.Study.create(tmp_path / "study", task, "genetic", seed=3, budget=30).run()

    assert task.digest == ag.Task.make(simulator).digest
    assert_same_journal(tmp_path / "study" / "journal.jsonl", "tables/proving")


def test_recorded_dataset_verifies_against_the_simulator(data: Path, tmp_path: Path) -> None:
    text = command("dataset", "verify", data / "dataset", "--sample", "20", "--json", cwd=tmp_path)

    verified = json.loads(text)

    assert (verified["rows"], verified["simulated"], verified["problems"]) == (60, 20, [])


def test_recorded_proxy_predicts_as_before(data: Path) -> None:
    expected = json.loads((data / "proxies" / "linear.json").read_text())
    task = ag.Task.make(stand_in=data / "proxies" / "linear.npz")

    predicted = task.evaluate(np.array(expected["indices"]))

    assert (task.id, task.digest) == (expected["task"], expected["digest"])
    np.testing.assert_allclose(predicted.values, expected["values"], rtol=1e-9)
    assert predicted.reason.tolist() == expected["reason"]


def test_recorded_policy_makes_the_same_designs() -> None:
    pytest.importorskip("stable_baselines3")
    expected = json.loads((FIXTURES / "policies" / "a2c.json").read_text())
    policy = ag.Policy.load(FIXTURES / "policies" / "a2c.npz")
    task = ag.Task.make(expected["task"])

    designs = agent_class("a2c").propose(policy, task, n=expected["designs"], seed=0)

    rewards = task.evaluate(designs).reward
    likely, best, default = expected["results"]
    for place, theirs in ((0, likely), (int(np.argmax(rewards)), best)):
        assert task.space.design_at(designs[place]) == theirs["design"]
        assert rewards[place] == pytest.approx(theirs["reward"], rel=1e-12)
    assert task.space.design_at(task.space.default_indices) == default["design"]


@pytest.mark.parametrize("name", ["dqn", "recurrent_ppo"])
def test_study_of_a_retired_agent_is_not_resumed_and_names_better_ones(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(UnknownNameError, match=r"retired in 0\.3\.0: 'a2c', 'ppo' and 'genetic'"):
        ag.Study.open(study(name, tmp_path), task_of(name))
