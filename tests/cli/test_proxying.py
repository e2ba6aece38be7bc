import json
import shlex
from pathlib import Path

import pytest

from archgym.cli.app import run
from archgym.datasets import build_dataset
from archgym.proxy import ProxySimulator
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.cli.conftest import Archgym


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    task = Task.make("dram", "stream", "low-energy", space="archgym-2023")
    for agent in ("random", "genetic"):
        with Study.create(folder / agent, task, agent, seed=0, budget=80) as study:
            study.run()
    build_dataset([folder / "random", folder / "genetic"], folder / "data")
    return folder / "data"


@pytest.mark.slow
def test_proxy_is_trained_shown_used_and_verified(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "p.npz")
    quick = ["--setting", "n_trees=3", "--model", "forest"]

    code, out, _ = call(capsys, "proxy", "train", str(dataset), "--out", file, *quick)
    assert code == 0
    assert "RMSE % of mean" in out

    code, out, _ = call(capsys, "proxy", "info", file, "--json")
    about = json.loads(out)
    assert code == 0
    assert (about["model"], about["simulator"], about["workloads"]) == (
        "forest",
        "dram",
        ["stream"],
    )

    given = ["--set", "page_policy=Closed", "--set", "max_active_transactions=2"]
    code, out, err = call(capsys, "proxy", "predict", file, *given, "--json")
    assert "`max_active_transactions` is inactive in this design; its value is ignored" in err
    time_ns = json.loads(out)["metrics"]["total_time_ns"]
    assert code == 0
    assert time_ns["low"] <= time_ns["value"] <= time_ns["high"]

    code, out, _ = call(capsys, "proxy", "search", file, "-n", "120", "--verify", "3", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["simulated"], found["simulations_saved"]) == (3, 117)
    # The objective of the studies, not the default of the simulator.
    assert "/stream/low-energy" in found["task"]

    code, out, _ = call(capsys, "proxy", "search", file, "-n", "120", "--verify", "3")
    assert code == 0
    assert "the best evaluation that it learned from has" in " ".join(out.split())

    code, out, _ = call(capsys, "explain", "default", "dram", "--from-proxy", file)
    assert code == 0
    assert "use the simulator dram" in " ".join(out.split())
    again = out.split("To evaluate ")[1].split(": archgym ")[1]
    code, out, _ = call(capsys, *shlex.split(again), "--json")
    assert code == 0

    code, out, _ = call(
        capsys, "search", "dram", "--from-proxy", file, "-n", "30", "--out", str(tmp_path / "s")
    )
    assert code == 0
    assert f"proxy={ProxySimulator(file).digest[:12]}" in out


def test_wrong_hyperparameter_is_refused(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(
        capsys, "proxy", "train", str(dataset), "--out", str(tmp_path / "p"), "--setting", "x=1"
    )

    assert code == 1
    assert "`--setting` of boosting must be one of n_trees" in err


def test_file_that_is_no_proxy_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.npz").write_bytes(b"nothing")

    code, _, err = call(capsys, "proxy", "info", str(tmp_path / "p.npz"))

    assert code == 1
    assert err.count("\n") == 1
    assert "a proxy must be what ArchGym wrote" in err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("n_trees=2.5", "must be a whole number such as 20"),
        ("n_trees=0", "Hyperparameters of 'boosting' must be ones that its library takes"),
    ],
)
def test_hyperparameters_that_cannot_be_used_are_refused_in_a_line(
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    setting: str,
    message: str,
) -> None:
    file = str(tmp_path / "p.npz")

    code, _, err = call(capsys, "proxy", "train", str(dataset), "--out", file, "--setting", setting)

    assert (code, message in err, err.count("\n")) == (1, True, 1)


def test_training_writes_over_nothing(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.npz"
    file.write_text("mine")

    code, _, err = call(capsys, "proxy", "train", str(dataset), "--out", str(file))

    assert (code, "must not exist yet" in err, file.read_text()) == (1, True, "mine")


def test_rows_of_one_space_are_chosen_from_a_mixture(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Task.make("dram", "stream")
    with Study.create(tmp_path / "wide", task, "random", seed=0, budget=40) as study:
        study.run()
    build_dataset([dataset.parent / "random", tmp_path / "wide"], tmp_path / "both")
    arguments = ["proxy", "train", str(tmp_path / "both"), "--out", str(tmp_path / "p.npz")]
    arguments += ["--model", "linear", "--setting", "degree=1", "--setting", "alpha=0.01"]

    refused, _, err = call(capsys, *arguments)
    code, out, _ = call(capsys, *arguments, "--space", "archgym-2023")

    assert (refused, "Choose one with `space`" in err) == (1, True)
    assert code == 0
    assert "80 designs, 80 evaluations" in out
    assert "95 % interval" in out
    arguments[arguments.index("--out") + 1] = str(tmp_path / "other.npz")
    wrong, _, err = call(capsys, *arguments, "--space", "archgym")
    assert (wrong, err.count("\n"), "archgym-2023" in err) == (1, 1, True)


def test_resuming_on_a_changed_proxy_says_which_it_was(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, study = tmp_path / "p.npz", tmp_path / "study"
    digests = []
    for n in (1, 2):
        file.unlink(missing_ok=True)
        quick = ["--model", "linear", "--setting", f"degree={n}", "--setting", "alpha=0.01"]
        assert call(capsys, "proxy", "train", str(dataset), "--out", str(file), *quick)[0] == 0
        digests.append(ProxySimulator(file).digest[:12])
        if n == 1:
            search = ["search", "dram", "--from-proxy", str(file), "-n", "10", "--out", str(study)]
            assert call(capsys, *search)[0] == 0

    code, _, err = call(capsys, "resume", str(study), "--budget", "20")

    assert code == 1
    assert f"option `proxy` differs now: it was {digests[0]!r} and is {digests[1]!r}" in err


def test_prediction_of_an_infeasible_design_has_its_reason_and_exit_code(archgym: Archgym) -> None:
    archgym("search", "plugin", "--budget", "60", "--agent", "random", "--out", "s")
    archgym("dataset", "build", "s", "--out", "d")
    assert archgym("proxy", "train", "d", "--out", "p.npz", "--model", "linear").code == 0
    space = read_study(Path("s")).space
    broken = next(r for rows in space.enumerate() for r in rows if not space.feasible(r[None])[0])
    given = [f"--set={name}={value}" for name, value in space.design_at(broken).items()]

    ran = archgym("proxy", "predict", "p.npz", *given)
    as_json = archgym("proxy", "predict", "p.npz", *given, "--json")

    assert (ran.code, as_json.code) == (3, 3)
    assert ran.err.endswith("The design is infeasible: The buffer is too large.\n")
    assert as_json.json["infeasible"] == "The buffer is too large."
