"""Write the leaderboard: a static page of the submissions in a folder that are verified.

    python experiments/leaderboard.py leaderboard build/leaderboard [--replay]

Each folder in `leaderboard` is one submission: what `archgym bench run … --out FOLDER` writes, and
optionally `about.json` with `title`, `authors` and `link`. A submission that `archgym bench verify`
refuses is listed with the first reason, without a rank. Negative results are welcome.
"""

import argparse
import hashlib
import html
import json
import os
import sys
from pathlib import Path

import numpy as np

from archgym.bench import read_bench_report, read_release, verify_bench
from archgym.bench.report import BenchReport
from archgym.errors import ArchGymError
from archgym.files.storage import open_file, open_member, require_inside

_MOST, _LONGEST = 2**16, 200

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, .text { text-align: left; }
.best { font-weight: 600; }
.note { color: #555; }
"""


Journals = frozenset[tuple[str, str]]


def submission(
    folder: Path, replay: bool
) -> tuple[dict[str, str], tuple[BenchReport, Journals] | None, str]:
    """Return what a submission says of itself, its report and journals, and why it is refused."""
    about = {"title": folder.name, "authors": "", "link": ""}
    try:
        path = folder / "about.json"
        if os.path.lexists(path):
            require_inside(path)
            with open_file(path) as handle:
                text = handle.read(_MOST)
            try:
                given = json.loads(text)
            except (ValueError, RecursionError) as error:
                return about, None, f"about.json must be JSON: {error}"
            if not isinstance(given, dict):
                return about, None, "about.json must be an object"
            about |= {key: _words(value) for key, value in given.items() if key in about}
        found = verify_bench(folder, replay=replay)
        if found.refusals:
            return about, None, str(found.refusals[0])
        report = read_bench_report(folder)
        journals = journals_of(folder)
    except (ArchGymError, OSError, ValueError, RecursionError) as error:
        return about, None, str(error).split("\n")[0]
    return about, (report, journals), f"{found.runs} runs, {found.evaluations:,} evaluations"


def _words(value: object) -> str:
    """Return a text, or the texts of a list, such as several authors."""
    texts = value if isinstance(value, list) else [value]
    return ", ".join(map(str, texts))[:_LONGEST]


def journals_of(folder: Path) -> Journals:
    """Return the runs of a submission with the digests of their journals."""
    found = set()
    for path in folder.rglob("journal.jsonl"):
        with open_member(path) as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        found.add((path.relative_to(folder).as_posix(), digest))
    return frozenset(found)


def rows_of(reports: dict[str, BenchReport]) -> list[tuple[str, str, dict[tuple[str, int], float]]]:
    """Return submission, agent and regret by task and budget."""
    rows = []
    for name, report in reports.items():
        scores: dict[str, dict[tuple[str, int], float]] = {}
        for task in report.tasks:
            for agent in task.agents:
                own = scores.setdefault(agent.agent, {})
                own |= {(task.task, budget): i.value for budget, i in agent.regret.items()}
        rows += [(name, agent, found) for agent, found in scores.items()]
    return rows


def page(folder: Path, replay: bool) -> str:
    """Return the page."""
    reports, notes = {}, []
    journals: dict[Journals, str] = {}
    for path in sorted(p for p in folder.iterdir() if p.is_dir()):
        about, accepted, note = submission(path, replay)
        if accepted is not None:
            # Nobody can tell here who copied from whom.
            first = journals.setdefault(accepted[1], path.name)
            note += f"; the same journals as in {first}" if first != path.name else ""
        title = html.escape(about["title"])
        if about["link"].startswith("https://"):
            title = f'<a href="{html.escape(about["link"])}">{title}</a>'
        authors = html.escape(about["authors"])
        state = "accepted" if accepted is not None else "refused"
        notes.append(
            f'<tr><td>{title}</td><td class="text">{authors}</td><td class="text">{state}: '
            f"{html.escape(note)}</td></tr>"
        )
        if accepted is not None:
            # Titles may be equal, also to another one with its folder; folders are not.
            name = about["title"]
            while name in reports:
                name = f"{name} ({path.name})"
            reports[name] = accepted[0]
    rows = rows_of(reports)
    columns = sorted({key for _, _, found in rows for key in found})
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'>",
        f"<title>ArchBench leaderboard</title><style>{STYLE}</style>",
        f"<h1>ArchBench leaderboard</h1><p>Release <b>{read_release().name}</b>, digest "
        f"<code>{read_release().digest[:16]}</code>. Every row was simulated again"
        f"{' and replayed' if replay else ''}. Regret is the best known reward minus the best so "
        "far, interquartile mean over seeds; 0 is best.</p>",
        "<h2>Mean rank</h2>",
        standings(rows, columns),
    ]
    for task in dict.fromkeys(task for task, _ in columns):
        parts += [f"<h2>{html.escape(task)}</h2>", task_table(rows, columns, task)]
    parts += [
        "<h2>Submissions</h2><table><tr><th>submission</th><th class='text'>authors</th>"
        "<th class='text'>verified</th></tr>",
        *notes,
        "</table>",
    ]
    return "\n".join(parts) + "\n"


Rows = list[tuple[str, str, dict[tuple[str, int], float]]]


def standings(rows: Rows, columns: list[tuple[str, int]]) -> str:
    """Return the mean rank of each row over all tasks; rows that did not run one share the last.

    So a submission of few tasks, or of a task of its own, changes nothing between the others.
    """
    budgets = sorted({budget for _, budget in columns})
    ranks = {}
    for key in columns:
        values = np.array([found.get(key, np.inf) for _, _, found in rows])
        better = (values[None, :] < values[:, None]).sum(axis=1)
        ties = (values[None, :] == values[:, None]).sum(axis=1)
        ranks[key] = 1.0 + better + (ties - 1) / 2.0
    head = "".join(f"<th>at {budget}</th>" for budget in budgets)
    lines = [f"<table><tr><th>agent</th><th class='text'>submission</th>{head}</tr>"]
    means = [
        [np.mean([ranks[key][n] for key in columns if key[1] == budget]) for budget in budgets]
        for n in range(len(rows))
    ]
    for n in sorted(range(len(rows)), key=lambda n: means[n]):
        cells = "".join(f"<td>{mean:.2f}</td>" for mean in means[n])
        name, agent, _ = rows[n]
        lines.append(
            f"<tr><td>{html.escape(agent)}</td>"
            f'<td class="text">{html.escape(name)}</td>{cells}</tr>'
        )
    return "\n".join([*lines, "</table>"])


def task_table(rows: Rows, columns: list[tuple[str, int]], task: str) -> str:
    """Return the regret of each row on one task."""
    budgets = [budget for label, budget in columns if label == task]
    head = "".join(f"<th>at {budget}</th>" for budget in budgets)
    lines = [f"<table><tr><th>agent</th>{head}</tr>"]
    best = {b: min(f[task, b] for _, _, f in rows if (task, b) in f) for b in budgets}
    for _, agent, found in rows:
        cells = ""
        for budget in budgets:
            value = found.get((task, budget))
            mark = ' class="best"' if value == best[budget] else ""
            cells += f"<td{mark}>{'' if value is None else f'{value:.4g}'}</td>"
        lines.append(f"<tr><td>{html.escape(agent)}</td>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


def main() -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--replay", action="store_true", help="Search again with each agent.")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "index.html"
    # Names of folders and titles may hold bytes or letters that UTF-8 lacks.
    path.write_text(page(given.folder, given.replay), "utf-8", errors="backslashreplace")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
