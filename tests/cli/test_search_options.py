"""Start designs, earlier studies and rules to stop on the command line."""

import json
import math
from pathlib import Path

import pytest

from archgym.bench import bench_task
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from tests.cli.conftest import Archgym


def journal(folder: Path) -> bytes:
    return (folder / "journal.jsonl").read_bytes()


def search(archgym: Archgym, out: str, *options: str | Path, budget: int = 30) -> str:
    words = f"search plugin -w light -a genetic -n {budget} --out {out}"
    ran = archgym(*words.split(), *options)
    assert ran.code == 0, ran.err
    return ran.out


def test_search_begins_with_designs_and_studies(archgym: Archgym, study: Path) -> None:
    design = '{"mode": "fast", "banks": 8, "depth": 3, "gain": 0.3, "boost": 3}'
    search(archgym, "a", "--start", "default", "--start", design, "--start", study)
    search(archgym, "b", "--warm-start", study)
    Path("design.json").write_text(design)
    search(archgym, "c", "--start", "design.json")
    Path("part.json").write_text('{"format": 1, "design": {"mode": "fast"}}')
    search(archgym, "d", "--start", "part.json", "--start", '{"banks": 8}', budget=2)
    part = ["evaluate", "plugin", "-w", "light", "--json", "--design"]
    inline = archgym(*part, '{"design": {"mode": "fast"}}').json

    assert read_study("c").records.indices[0].tolist() == (
        read_study("a").records.indices[1].tolist()
    )
    assert inline == archgym(*part, "part.json").json
    assert inline["design"] == read_study("d").outcome(0).design
    first = read_study("a").records.indices[:2].tolist()
    space = read_study("a").space
    best = read_study(study).best()
    assert first[0] == space.default_indices.tolist()
    assert space.design_at(first[1])["gain"] == 0.3
    assert best is not None
    assert space.design_at(read_study("a").records.indices[2]) == best.design
    assert read_study("b").header.warm_start is not None


def test_search_begins_with_a_portfolio(archgym: Archgym) -> None:
    for workload, agent in (("light", "random"), ("heavy", "genetic")):
        words = f"search plugin -w {workload} -a {agent} -n 12 --out {workload}"
        assert archgym(*words.split()).code == 0

    ran = archgym("portfolio", "light", "heavy", "--size", "2", "--out", "found.json")
    search(archgym, "a", "--start", "default", "--start", "found.json")

    assert ran.code == 0, ran.err
    assert "2. a best design of " in ran.out
    assert "Evaluations of the studies' tasks: " in ran.out
    log = read_study("a")
    written = json.loads(Path("found.json").read_text())
    assert [dict(log.outcome(row).design) for row in (1, 2)] == written["designs"]
    again = archgym("portfolio", "light", "heavy", "--size", "2", "--json").json
    assert again == written

    journal = Path("light/journal.jsonl")
    before = journal.read_bytes()
    assert archgym("portfolio", "light", "heavy", "--out", "found.json").code == 0
    refused = archgym("portfolio", "light", "heavy", "--out", str(journal))
    assert refused.code == 1
    assert "must not replace a file that ArchGym did not write" in refused.err
    assert journal.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 2, "designs": []}', "reads format 1 of a portfolio; got 2"),
        ('{"format": true, "designs": [{}]}', "reads format 1 of a portfolio; got True"),
        ('{"format": 1, "designs": []}', "`designs` must be one or more objects"),
        ('{"format": 1, "designs": [1]}', "`designs` must be one or more objects"),
        ('{"format": 1, "design": {"mode": "fastest"}}', "found.json: "),
    ],
)
def test_damaged_portfolio_is_refused(archgym: Archgym, text: str, message: str) -> None:
    Path("found.json").write_text(text)

    ran = archgym("search", "plugin", "-n", "5", "--out", "a", "--start", "found.json")

    assert ran.code == 1
    assert message in ran.err
    assert not Path("a").exists()


@pytest.mark.parametrize("budget", [("-n", "2e0"), ("-n2e0",), ("--budget=2e0",)])
def test_whole_numbers_may_have_an_exponent(archgym: Archgym, budget: tuple[str, ...]) -> None:
    words = "search plugin -w light -a random --seed 1e2 --set banks=8e0 --out s"
    ran = archgym(*words.split(), *budget)

    log = read_study("s")
    assert (ran.code, log.evaluations, log.header.seed) == (0, 2, 100)
    assert log.header.task["space_name"] == "toy{banks=8}"
    assert archgym("search", "plugin", "-n", "1.5").code == 2


def test_patience_ends_a_search_and_can_be_dropped(archgym: Archgym) -> None:
    search(archgym, "whole", budget=60)
    out = search(archgym, "a", "--patience", "5", budget=60)
    n = read_study("a").evaluations

    again = archgym("resume", "a")
    ran = archgym("resume", "a", "--no-rules")

    assert "no better design" in out
    assert n < 60
    assert "no better design" in again.out
    assert ran.code == 0, ran.err
    assert journal(Path("a")) == journal(Path("whole"))


def test_search_ends_at_a_design_that_meets_limits(archgym: Archgym) -> None:
    out = search(archgym, "a", "--stop-at", "latency_ns <= 40", budget=300)

    best = read_study("a").best()
    assert best is not None
    assert best.metrics["latency_ns"] <= 40
    assert "--stop-at" in out


def test_searches_share_a_cache(archgym: Archgym) -> None:
    search(archgym, "a", "--cache", "cache")
    search(archgym, "b", "--cache", "cache", "--workers", "2")
    search(archgym, "c")

    assert Path("cache/evaluations.sqlite").is_file()
    assert journal(Path("a")) == journal(Path("b")) == journal(Path("c"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", "{mode"], "not valid JSON"),
        (["--start", '{"mode": "fastest"}'], "mode"),
        (["--warm-start", "nowhere"], "nowhere"),
        (["--stop-at", "speed <= 3"], "Unknown metric 'speed'"),
        (["--stop-at", "banks >= 4"], "`banks` is a parameter"),
        (["--patience", "0"], "--patience"),
        (["--minutes", "-1"], "--minutes"),
        (["-a", "random", "--warm-start", "study"], "agent 'random' does not"),
    ],
)
def test_bad_options_are_refused(
    archgym: Archgym, study: Path, options: list[str], message: str
) -> None:
    ran = archgym("search", "plugin", "-w", "light", "-n", "5", "--out", "a", *options)

    assert ran.code != 0
    assert message in ran.err
    assert not Path("a").exists()


def test_search_warns_of_workers_that_the_agent_leaves_idle(archgym: Archgym) -> None:
    words = ["search", "plugin", "-w", "light", "-n", "5", "--workers", "3", "--out"]
    idle = archgym(*words, "one", "--hyper", "batch_size=1")
    busy = archgym(*words, "many", "-a", "genetic")
    in_flight = archgym(*words, "auto")

    assert idle.code == 0, idle.err
    assert read_study("auto").header.hyperparameters == {
        "batch_size": 3,
        "island": "few",
        "polish": 0.25,
    }
    assert "idle" not in in_flight.err
    assert "'auto' proposes one design at a time, so 2 of 3 workers are idle" in idle.err
    assert "A new study with the hyperparameter batch_size=3 keeps more of them busy" in idle.err
    assert "idle" not in busy.err


def test_several_seeds_are_searched_and_the_best_is_reported(archgym: Archgym) -> None:
    words = ["search", "plugin", "-w", "light", "-n", "6", "-a", "random"]
    said = archgym(*words, "--seed", "3", "--seeds", "3", "--out", "several")
    data = archgym(*words, "--seed", "3", "--seeds", "3", "--json")

    studies = [read_study(Path("several") / f"seed-{seed}") for seed in (3, 4, 5)]
    bests = [study.best() for study in studies]
    best = max(bests, key=lambda each: -math.inf if each is None else each.reward)
    assert best is not None
    assert [study.header.seed for study in studies] == [3, 4, 5]
    assert [study.evaluations for study in studies] == [6, 6, 6]
    assert all(f"several/seed-{seed}: Best reward" in said.out for seed in (3, 4, 5))
    assert "searches found the best reward" in said.out
    assert json.loads(data.out)["best"]["reward"] == best.reward


def test_looking_for_earlier_designs_is_told(archgym: Archgym) -> None:
    none = archgym("search", "plugin", "-a", "random", "-n", "4", "--warm-start", "auto")
    archgym("search", "plugin", "-a", "random", "-n", "4", "--out", "runs/earlier")

    ran = archgym("search", "plugin", "-a", "random", "-n", "4", "--warm-start", "auto")
    silent = archgym(
        "search", "plugin", "-n", "4", "-a", "random", "--warm-start", "auto", "--json"
    )

    assert "what is simulated for it is not in the budget" in ran.out
    assert "begins without earlier designs" in none.out
    assert "Begins with 2 designs" in ran.out
    assert silent.out.startswith("{")


def test_shipped_designs_are_not_said_to_be_earlier_ones(archgym: Archgym) -> None:
    auto = ("search", "dram", "-w", "gups", "-n", "1", "--warm-start", "auto")
    none = archgym(*auto, "--out", "a")
    archgym("search", "dram", "-w", "gups", "-n", "1", "-a", "random", "--out", "runs/earlier")
    some = archgym(*auto, "--out", "b")

    # Before: "Begins with 3 designs."
    assert "Nothing in runs/ is of this simulator and space; begins with 3 designs" in none.out
    assert "Begins with 5 designs, 3 of which ship with ArchGym." in some.out


def test_resume_of_a_log_names_no_agent(archgym: Archgym) -> None:
    task = bench_task("soc-small-edp").plan.make()
    with Study.create("a", task, None, budget=5) as log:
        log.evaluate(task.space.default_indices[None, :])

    ran = archgym("resume", "a")

    assert ran.code == 1
    assert "None" not in ran.out + ran.err


def test_ends_of_ranges_are_few_and_those_of_quantities(archgym: Archgym) -> None:
    ran = archgym("search", "soc", "-a", "genetic", "-n", "40", "--seed", "5", "--out", "s")
    ends = [line for line in ran.out.splitlines() if "at the end of its range" in line]

    assert len(ends) == 3
    assert not any(f"_{what}`" in line for line in ends for what in ("bus", "memory", "parent"))
    assert "No evaluated design meets the limit on latency_s: best" in ran.out


def test_budget_above_the_size_of_the_space_is_noticed(archgym: Archgym) -> None:
    ran = archgym("search", "plugin", "-a", "random", "-n", "6000", "--patience", "2", "--out", "s")

    assert "The space has only 5,280 combinations; the budget is 6,000 evaluations." in ran.err


def test_default_design_that_stays_best_of_several_terms_is_named(archgym: Archgym) -> None:
    ran = archgym("search", "kv", "-a", "random", "-n", "1", "--start", "default", "--out", "s")

    assert "most hit percent and" in ran.out
    assert "the default design stayed best. `show` lists the front." in ran.out
