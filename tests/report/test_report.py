"""What a report says, against the studies that it is made of, and what its page lets through."""

import base64
import hashlib
import json
import math
import re
import shutil
import tracemalloc
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.report import find, read_evidence
from archgym.report.evidence import Evidence, once, without_draws
from archgym.report.findings import Findings, write_csv, write_json_file, zero_text
from archgym.report.page import _rows, explorer, page, write_page
from archgym.report.quantities import Table
from archgym.report.verdict import Protocol
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tables import build_table
from archgym.tasks.task import Task
from tests.toys import toy_task


@pytest.fixture
def findings(swept: Path) -> Findings:
    return find(read_evidence([swept]), is_evaluating=False)


def table(findings: Findings, name: str) -> Table:
    return next(each for each in findings.tables if each.name == name)


def test_scores_run_from_the_mean_of_random_designs_to_the_best_known(
    findings: Findings, swept: Path
) -> None:
    logs = [read_study(swept / f"light/random/seed-{seed}") for seed in (0, 1)]
    drawn = np.concatenate([log.records.reward[log.is_feasible] for log in logs])
    ends = {
        (agent, seed): read_study(swept / f"light/{agent}/seed-{seed}").best().reward  # type: ignore[union-attr]  # there is one
        for agent in ("random", "small")
        for seed in (0, 1)
    }
    top = max(ends.values())

    for agent in ("random", "small"):
        expected = [(ends[agent, s] - drawn.mean()) / (top - drawn.mean()) for s in (0, 1)]
        assert findings.scores[agent][0].tolist() == pytest.approx(expected)


def test_two_runs_against_two_have_no_winner(findings: Findings) -> None:
    assert any(line.startswith("No winner") for line in findings.verdict)


def test_best_design_stands_beside_the_default_one(findings: Findings) -> None:
    task = findings.evidence.tasks[0]
    best = task.best
    assert best is not None
    run, row = best
    found = table(findings, "design light")

    assert found.columns == ("parameter", "unit", "best found", "default")
    design = task.space.design_at(run.indices[row].astype(np.int64))
    assert [r[2] for r in found.rows] == [design[name] for name in task.space.names]


def test_the_table_s_optimum_is_the_scale(swept: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.parquet"
    build_table(Task.make("plugin", "light", "low-latency"), file)

    found = find(read_evidence([swept], [file]))

    (scale,) = found.protocol.tasks.values()
    assert scale["best_from"] == "proven optimum"
    assert "optimum" in table(found, "design light").columns
    assert table(found, "budgets light").rows[-1][0] == "random search, exact mean"
    text = page(found)
    assert "random search, exact" in text
    assert found.protocol.digest != find(read_evidence([swept])).protocol.digest


def test_files_say_the_same_as_the_findings(findings: Findings, tmp_path: Path) -> None:
    write_json_file(findings, tmp_path / "report.json")
    paths = write_csv(findings, tmp_path / "csv")

    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert data["verdict"] == list(findings.verdict)
    assert len(paths) == len(findings.tables) == len(data["tables"])
    first = (tmp_path / "csv" / "scores.csv").read_text().splitlines()
    assert first[0].split(",") == list(findings.tables[0].columns)
    assert len(first) == 1 + len(findings.tables[0].rows)


class _Reader(HTMLParser):
    """Elements and scripts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data


def test_the_page_is_small_and_asks_nothing_of_any_network(
    findings: Findings, tmp_path: Path
) -> None:
    size = write_page(findings, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    reader = _Reader()
    reader.feed(text)

    assert size < 6e6
    policy = next(a["content"] for t, a in reader.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    code = reader.scripts[-1]
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert not [a for _, a in reader.tags if set(a) & {"src", "onclick", "onload"}]
    assert all(a["href"].startswith("#") for t, a in reader.tags if t == "a")  # type: ignore[union-attr]  # has one


def test_what_studies_say_is_escaped(findings: Findings) -> None:
    evil = '</script><img src=x onerror="alert(1)">'
    task = findings.evidence.tasks[0]
    recipe = {**task.recipe, "id": evil, "fidelity": evil}
    runs = tuple(replace(run, label=evil, agent=evil, problem=evil) for run in task.runs)
    hostile = replace(task, label=evil, recipe=recipe, runs=runs, versions={evil: evil})
    evidence = replace(findings.evidence, tasks=(hostile,), sources=(Path(evil),))

    text = page(find(evidence))

    assert "<img" not in text
    assert len(re.findall("</script>", text)) == len(re.findall("<script", text))


def test_the_explorer_keeps_best_and_front_of_many_evaluations(findings: Findings) -> None:
    task = findings.evidence.tasks[0]
    run = task.runs[0]
    n = 150_000
    rng = np.random.default_rng(0)
    reward = rng.normal(size=n)
    many = replace(
        run,
        indices=np.tile(run.indices[:1], (n, 1)),
        reward=reward,
        values=np.tile(run.values[:1], (n, 1)),
        terms=reward[:, None],
    )
    about, packed = explorer(replace(task, runs=(many,)), "explorer-0", 1)

    assert about["n"] == 100_001
    assert about["total"] == n + 1
    assert about["front"] == [about["best"]]
    assert len(packed) < 3e6


def test_a_study_alone_is_reported_without_a_contest(swept: Path) -> None:
    found = find(read_evidence([swept / "light/small/seed-0"]))

    # One run says nothing about agents, and the verdict is about the design alone.
    assert len(found.verdict) == 1
    (scale,) = found.protocol.tasks.values()
    assert scale["average_from"].startswith("the default design")
    assert math.isfinite(scale["best"])


def test_scores_say_what_0_is(swept: Path) -> None:
    alone = find(read_evidence([swept / "light/small/seed-0"]), is_evaluating=False)
    drawn = {"average_from": "20 evaluations of random search"}
    default = {"average_from": "the default design, since no random search was run"}

    assert "0 is the default design (no random search was run)" in alone.tables[0].note
    assert "the mean of the default design" not in page(alone)
    assert zero_text(Protocol(10, {"a": drawn})) == "an average random design"
    assert zero_text(Protocol(10, {"a": drawn, "b": default})) == (
        "an average random design, or the default design where no random search was run"
    )


def test_small_reward_changes_have_four_decimals(swept: Path) -> None:
    small = Table("tornado x", "Changes", ("parameter", "change"), (("a", -503.36e-6),), "", 4)
    lost = Table("tornado x", "Changes", ("parameter", "change"), (("a", -3e-6),), "", 4)
    found = find(read_evidence([swept]))

    assert "-0.0005" in _rows(small)[1]
    assert ">0.0000<" in _rows(lost)[1]
    names = ("tornado", "budgets")
    assert {t.decimals for t in found.tables if t.name.split()[0] in names} == {4}


def test_what_comes_twice_is_refused(swept: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="once"):
        read_evidence([swept, swept])


def test_a_copy_of_a_run_counts_once(swept: Path, tmp_path: Path, findings: Findings) -> None:
    copy = tmp_path / "copied"
    shutil.copytree(swept / "light/small/seed-1", copy)

    twice = find(read_evidence([swept, copy]), is_evaluating=False)

    assert table(twice, "scores").rows == table(findings, "scores").rows
    (line,) = [line for line in twice.verdict if "counts once" in line]
    assert line.startswith("A study repeats")
    assert str(copy) in line


def test_a_run_with_the_seed_of_another_and_other_results_counts(swept: Path) -> None:
    evidence = read_evidence([swept])
    (task,) = evidence.tasks
    other = replace(task.runs[0], reward=task.runs[0].reward[::-1], folder=Path("other"))

    assert len(once([*task.runs, other])) == len(task.runs) + 1
    shorter = replace(
        task.runs[0], reward=task.runs[0].reward[:5], indices=task.runs[0].indices[:5]
    )
    assert once([replace(shorter, folder=Path("begun")), *task.runs]) == list(task.runs)


def test_what_comes_twice_by_another_path_is_refused(swept: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(swept.absolute())
    run = next(swept.rglob("study.json")).parent

    for again in (swept / ".." / swept.name, tmp_path / "link", run):
        with pytest.raises(InvalidArgumentError, match="once"):
            read_evidence([swept, again])


def test_a_damaged_journal_is_told_of_in_the_verdict(swept: Path) -> None:
    folder = swept / "light/small/seed-0"
    journal = folder / "journal.jsonl"
    lines = journal.read_bytes().split(b"\n")
    lines[4] = lines[4].replace(b"1", b"2")
    journal.write_bytes(b"\n".join(lines))

    found = find(read_evidence([swept]), is_evaluating=False)

    (line,) = (line for line in found.verdict if "damaged" in line)
    assert line.startswith(f"small, seed 0: {journal}: 1 damaged line left out: line 5")
    assert line in page(found)
    assert any("damaged" in str(row) for row in table(found, "health light").rows)


def test_memory_of_a_report_grows_linearly_with_seeds(swept: Path) -> None:
    evidence = read_evidence([swept])
    task = evidence.tasks[0]
    rng = np.random.default_rng(0)
    runs = tuple(
        replace(
            run,
            seed=seed,
            folder=Path(f"{run.label}-{seed}"),
            reward=run.reward + rng.normal(0.0, 0.01, len(run.reward)),
        )
        for run in {run.label: run for run in task.runs}.values()
        for seed in range(200)
    )
    tracemalloc.start()

    findings = find(replace(evidence, tasks=(replace(task, runs=runs),)), is_evaluating=False)
    text = page(findings)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500e6
    assert len(findings.evidence.tasks[0].runs) == 400
    assert "400 runs" in text


def many_settings(evidence: Evidence, texts: list[str]) -> Evidence:
    (task,) = evidence.tasks
    base = task.runs[0]
    runs = tuple(
        replace(base, agent="genetic", label=text, seed=seed, hyperparameters=text)
        for text in texts
        for seed in (0, 1)
    )
    return replace(evidence, tasks=without_draws([replace(task, runs=runs)]))


def test_of_many_settings_the_defaults_alone_are_compared(swept: Path) -> None:
    texts = [f'{{"population": {n}}}' for n in range(5, 14)]

    evidence = many_settings(read_evidence([swept]), texts)
    found = find(evidence, is_evaluating=False)

    # The default of genetic is 12.
    assert list(found.scores) == ['{"population": 12}']
    assert many_settings(evidence, texts[:-1]).tasks[0].labels == tuple(texts[:-1])


def test_report_of_a_python_function_names_no_command_that_cannot_run(tmp_path: Path) -> None:
    task = toy_task("light")
    Study.create(tmp_path / "own", task, "random", seed=1, budget=4).run()

    text = page(find(read_evidence([tmp_path / "own"]), is_evaluating=False))

    # Before: `archgym search toy/…` and `archgym validate toy`, of which commands know nothing.
    assert "archgym search toy" not in text
    assert "archgym validate toy" not in text
