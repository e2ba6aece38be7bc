"""Report as one HTML file: the answer in three cards, one front, and the rest folded."""

import base64
import hashlib
import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.evaluation.limits import LIMITED_REWARD
from archgym.files.json_types import plain
from archgym.files.remote import command_line
from archgym.files.storage import MARK, write_atomic
from archgym.report.answer import Answer, Gain
from archgym.report.commands import is_registered, search_command, task_title
from archgym.report.confirmation import EQUAL, verdicts
from archgym.report.evidence import TaskEvidence
from archgym.report.figures import FrontChart, figures, front_chart
from archgym.report.findings import SURE_P, Findings
from archgym.report.quantities import Table, plain_number, quantity
from archgym.report.verdict import is_random_zero, warnings

# chosen: longer texts get a width; else a column of commands makes them one word wide.
_LONG = 20
_RIGHT = ' class="n"'
_MISSED = ' class="worse"'
_GENERAL = ("scores", "improvement")
# Folded parts of a task: id, title, and the first words of its figures and tables.
_FOLDS = (
    ("best", "Best design in detail", ("design", "metrics", "costs", "tornado", "risks")),
    ("explorer", "Explorer: every evaluation", ()),
    ("parameters", "Parameters that decide", ("importance", "good", "interactions")),
    ("search", "Search: curves and budgets", ("curves", "budgets", "within", "relative")),
    ("fronts", "Fronts by agent", ("front",)),
    ("health", "Health checks", ("health",)),
)
CONTROLS = """
<div id="{id}" class="explorer">
<div class="controls">
<label>across <select data-part="x"></select></label>
<label>up <select data-part="y"></select></label>
<label class="switch"><input type="checkbox" data-part="xlog"> log scale across</label>
<label class="switch"><input type="checkbox" data-part="ylog"> log scale up</label>
<label>keep <select data-part="parameter"></select></label>
<label>where it is <select data-part="value" disabled></select></label>
<button type="button" data-part="reset">Show all</button>
<button type="button" data-part="a" aria-pressed="true">Choose A</button>
<button type="button" data-part="b" aria-pressed="false">Choose B</button>
</div>
<p class="note" data-part="status" role="status"></p>
<canvas data-part="plot" tabindex="0" role="application" aria-label="Designs by two metrics; the
 arrow keys go along the front, Enter changes between designs A and B."></canvas>
<p class="note">Every dot is an evaluation, blue ones the Pareto front of the objective's terms.
 Choose one by a click, or go along the front with the arrow keys; Enter changes between A and B.
 {sampled}</p>
<div class="wide" tabindex="0"><table><thead>
<tr><th>metric or parameter</th><th>A</th><th>B</th></tr></thead>
<tbody data-part="designs"></tbody></table></div>
<h3>Parameters side by side</h3>
<p class="note">Each line is a design; drag along an axis to keep a part of its values, click it to
 keep all. The filter above does the same by keyboard. {numbers}</p>
<canvas data-part="bands" aria-label="Parallel coordinates of the parameters"></canvas>
</div>
"""
# chosen: smooth on a phone, and a megabyte or two in the file.
_MOST = 100_000
_MAX_AXES = 4
# chosen: a value's text in the page.
_MAX_TEXT = 60


@final
@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """Texts at the head of a page."""

    title: str = "ArchGym report"
    author: str = ""
    date: str = ""
    has_folders: bool = True
    """False leaves out the paths of studies, for a page that others read."""


_DEFAULTS = PageOptions()


def page(findings: Findings, options: PageOptions = _DEFAULTS) -> str:
    """Return the whole page.

    Everything that comes from studies is escaped; the content security policy allows the page's
    own two scripts by their hashes and no request at all.
    """
    drawing = _plotly()
    script = asset("chart.js") + asset("explorer.js") + asset("page.js")
    shown = figures(findings)
    explorers = [
        explorer(task, f"explorer-{i}", len(findings.evidence.tasks))
        for i, task in enumerate(findings.evidence.tasks)
    ]
    charts = [front_chart(task) for task in findings.evidence.tasks]
    policy = (
        "default-src 'none'; "
        f"script-src {_hash(script)} {_hash(drawing)}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    folded = []
    for number, task in enumerate(findings.evidence.tasks):
        own = [figure for figure in shown if figure.get("task") == task.label]
        folded += _task(number, task, findings, explorers[number][0], own)
    # Of one run nothing is said about agents, which its reader did not ask for.
    if findings.evidence.n_runs > 1:
        folded.append(_agents(findings, shown))
    folded.append(_repeat(findings, options))
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        f'<meta name="generator" content="{MARK}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="color-scheme" content="light dark"><title>{escape(options.title)}</title>',
        f"<style>{asset('page.css')}</style></head><body>",
        *_head(findings, options),
    ]
    for number, (task, chart) in enumerate(zip(findings.evidence.tasks, charts, strict=True)):
        parts += _answer(number, task, findings, chart)
    links = "".join(f'<li><a href="#{fold.id}">{escape(fold.title)}</a></li>' for fold in folded)
    parts += [f'<nav aria-label="Contents"><h2>More</h2><ol>{links}</ol></nav>']
    for fold in folded:
        parts += [
            f'<details id="{fold.id}"><summary><h2>{escape(fold.title)}</h2></summary>',
            *fold.parts,
            "</details>",
        ]
    parts += [
        _data("fronts", [None if chart is None else chart.spec for chart in charts]),
        _data("figures", shown),
        _data("explorers", [about for about, _ in explorers]),
    ]
    for about, packed in explorers:
        parts.append(f'<script type="text/plain" id="{about["id"]}-data">{packed}</script>')
    packed = base64.b64encode(zlib.compress(drawing.encode(), 9)).decode()
    parts.append(f'<script type="text/plain" id="plotly">{packed}</script>')
    parts.append(f"<script>{script}</script></body></html>\n")
    return "\n".join(parts)


def asset(name: str) -> str:
    """Return a script or style sheet of the report's folder `data`."""
    return files("archgym.report").joinpath("data", name).read_text(encoding="utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # A browser hashes a script's text with its lines ended by a line feed alone.
    return str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _data(name: str, data: Any) -> str:
    # Within a script element nothing but its end tag, and the beginning of a comment, counts.
    text = json.dumps(plain(data), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


@dataclass(frozen=True)
class _Fold:
    """A part of the page that is closed at first."""

    id: str
    title: str
    parts: Sequence[str]


# ---- the answer


def _head(findings: Findings, options: PageOptions) -> list[str]:
    evidence = findings.evidence
    runs = sum(len(task.runs) for task in evidence.tasks)
    tasks = len(evidence.tasks)
    count = (
        f"{evidence.evaluations:,} evaluations in {runs} run{'s' * (runs != 1)} on "
        f"{tasks} task{'s' * (tasks != 1)}"
    )
    byline = " · ".join(filter(None, (options.author, options.date, count)))
    return [
        f'<h1>{escape(options.title)}</h1><p class="note">{escape(byline)}</p>',
        *(f'<p class="warning">{escape(line)}</p>' for line in warnings(evidence)),
    ]


def _answer(
    number: int, task: TaskEvidence, findings: Findings, chart: FrontChart | None
) -> list[str]:
    """Return the three cards and the front of a task."""
    answer = findings.answers.get(task.label)
    title = task_title(
        str(task.recipe["simulator"]),
        [str(w["name"]) for w in task.recipe["workloads"]],
        task.objective,
        task.metrics,
    )
    head = f'<h2 id="task-{number}">{escape(title)}</h2><p class="note">{escape(task.id)}</p>'
    if answer is None:
        return [head, '<p class="warning">No design that can be built was found.</p>']
    again = findings.chosen.get(task.label)
    missing = f"The best design was not evaluated again: {again}" if isinstance(again, str) else ""
    parts = [
        head,
        *([f'<p class="warning">{escape(missing)}</p>'] if missing else []),
        '<div class="cards">',
        _design_card(answer),
        _gain_card(answer),
        _sure_card(answer),
        *_confirmed_cards(task),
        "</div>",
    ]
    if chart is not None:
        parts += [
            f'<h3>Front</h3><p class="note">{escape(chart.note)}</p>',
            f'<div class="chart" data-front="{number}"></div>',
            f"<details><summary>{escape(chart.table.title)}, as a table</summary>",
            _framed(chart.table, *_rows(chart.table)),
            "</details>",
        ]
    return parts


def _card(title: str, content: str) -> str:
    return f'<section class="card"><h3>{title}</h3>{content}</section>'


def _design_card(answer: Answer) -> str:
    rows = "".join(
        f'<div class="change"><span>{escape(change.parameter)}</span>'
        f"<span>{escape(change.old)} → <b>{escape(change.new)}</b> {escape(change.unit)}</span>"
        f'<span class="note">{escape(change.brought)}</span></div>'
        for change in answer.design
    )
    closest = f'<p class="worse">{escape(answer.closest)}</p>' if answer.closest else ""
    if not rows:
        nearest = "closest to the limits" if closest else "best one"
        text = (
            "No change from the default design has an effect."
            if answer.idle
            else f"The default design is the {nearest}."
        )
        return _card("Design", f"{closest}<p>{text}</p>{_idle(answer)}")
    head = note = ""
    if answer.is_evaluated:
        head = "<h4>Path from the default design</h4>"
        note = '<p class="note">Each change is made on top of those above.</p>'
    return _card("Design", f"{closest}{head}{rows}{note}{_idle(answer)}")


def _idle(answer: Answer) -> str:
    if not answer.idle:
        return ""
    names = escape(", ".join(answer.idle))
    return f'<p class="note">Changed without effect, so the defaults serve as well: {names}.</p>'


def _gain_card(answer: Answer) -> str:
    def rows(gains: Sequence[Gain]) -> str:
        return "".join(
            f'<div class="gain"><span title="{escape(gain.metric)}">{escape(gain.title)}</span>'
            f"<b>{escape(gain.best)}</b><span>was {escape(gain.default)}</span>"
            # "no change" needs no verdict.
            f'<span class="{gain.verdict}">{escape(gain.change)}'
            f"{'' if gain.verdict == 'same' else ' ' + gain.verdict}</span></div>"
            for gain in gains
        )

    content = rows(answer.gains)
    if answer.prices:
        content += f"<h4>At the price of</h4>{rows(answer.prices)}"
    return _card("Gain over the default design", content)


def _sure_card(answer: Answer) -> str:
    items = "".join(
        f"<dt>{escape(topic)}</dt><dd{_MISSED * found.startswith('missed')}>{escape(found)}</dd>"
        for topic, found in answer.sure
    )
    return _card("How sure", f"<dl>{items}</dl>")


def _confirmed_cards(task: TaskEvidence) -> list[str]:
    """Return a card for each tool of others that ran designs."""
    found = [each for run in task.runs for each in run.confirmations]
    cards = []
    for form in dict.fromkeys(each.form for each in found):
        own = [each for each in found if each.form == form]
        (line,) = verdicts(own)
        release = next((each.release for each in own if each.release), "")
        results = Counter(each.result for each in own)
        items = "".join(
            f"<dt>{count} run{'s' * (count != 1)}</dt>"
            f"<dd{_MISSED * (result != EQUAL)}>{escape(result)}</dd>"
            for result, count in results.items()
        )
        note = f'<p class="note">Best designs, run by release {escape(release)}.</p>'
        cards.append(_card(escape(line), f"{note * bool(release)}<dl>{items}</dl>"))
    return cards


# ---- folded parts


def _agents(findings: Findings, shown: Sequence[Mapping[str, Any]]) -> _Fold:
    parts = ['<div class="verdict">', *(f"<p>{escape(line)}</p>" for line in findings.verdict)]
    parts.append("</div>")
    for task in findings.evidence.tasks:
        scale = findings.protocol.tasks[task.recipe["digest"]]
        text = (
            f"{task.label}: 0 is reward {scale['average']:.4f}, {_average_text(scale)}; "
            f"1 is {scale['best']:.4f}, the {scale['best_from']}."
        )
        if scale["best"] <= LIMITED_REWARD and task.objective.limits:
            text = f"{task.label}: no scores, since no design meets the limits."
        parts.append(f'<p class="note">{escape(text)}</p>')
    parts += [_table(table) for table in findings.tables if table.name in _GENERAL]
    parts += [_figure(figure) for figure in shown if "task" not in figure]
    return _Fold("agents", "Verdict: agents compared", parts)


def _average_text(scale: Mapping[str, Any]) -> str:
    source = str(scale["average_from"])
    return f"the mean of {source}" if is_random_zero(scale) else source


def _repeat(findings: Findings, options: PageOptions) -> _Fold:
    evidence = findings.evidence
    words = command_line("archgym", "report", *map(Path, evidence.sources), "-o", "report.html")
    parts = [f"<pre>{escape(words)}</pre>"] if options.has_folders else []
    parts += [_repeated(task) for task in evidence.tasks]
    parts.append(
        f'<p class="note">Protocol {findings.protocol.digest[:16]}: '
        f"budget {findings.protocol.budget:,}, {findings.protocol.resamples:,} resamples. Compare "
        "only reports of the same protocol.</p>"
    )
    return _Fold("repeat", "How to repeat it", parts)


def _repeated(task: TaskEvidence) -> str:
    runs = [run for run in task.runs if run.agent not in ("log", "merged")]
    lines = []
    is_known = is_registered(task.recipe)
    if runs and is_known:
        run = runs[0]
        best = task.best
        run = best[0] if best is not None and best[0] in runs else run
        command = search_command(task.recipe, run.agent, *run.options)
        lines.append(f"<p>The best run on {escape(task.id)}:</p><pre>{escape(command)}</pre>")
    versions = ", ".join(f"{name} {version}" for name, version in task.versions.items())
    recipe = task.recipe
    options = ", ".join(f"{k}={v}" for k, v in recipe["options"].items())
    stand_in = recipe.get("stand_in")
    answered = ""
    if isinstance(stand_in, dict):
        kind = str(stand_in.get("kind"))
        answered = f" A {kind} answered in its place: {stand_in.get('path')}."
        answered += " Its numbers are predictions." if kind == "proxy" else ""
    text = (
        f"Simulator {recipe['simulator']}, version {recipe['version']}, fidelity "
        f"{recipe['fidelity']}{f', {options}' if options else ''}; task digest "
        f"{recipe['digest'][:16]}.{answered}" + " How near the simulator comes to its reference: "
        f"archgym validate {recipe['simulator']}." * is_known + f" Made with {versions}."
    )
    return "".join([*lines, f'<p class="note">{escape(text)}</p>'])


def _task(
    number: int,
    task: TaskEvidence,
    findings: Findings,
    about: Mapping[str, Any],
    shown: Sequence[Mapping[str, Any]],
) -> list[_Fold]:
    """Return the folded parts of a task."""
    tables = {t.name.split()[0]: t for t in findings.tables if t.name.endswith(f" {task.label}")}
    drawn = {str(figure["id"]).split("-")[1]: figure for figure in shown}
    several = f" of {task.label}" if len(findings.evidence.tasks) > 1 else ""
    folds = []
    for name, title, members in _FOLDS:
        parts = [_figure(drawn[member]) for member in members if member in drawn]
        parts += [_table(tables[member]) for member in members if member in tables]
        if name == "explorer":
            parts.append(_explorer(about))
        if parts:
            folds.append(_Fold(f"{name}-{number}", f"{title}{several}", parts))
    return folds


def _explorer(about: Mapping[str, Any]) -> str:
    sampled = (
        ""
        if about["n"] == about["total"]
        else f"Of {about['total']:,} evaluations {about['n']:,} are shown: the front, and an even "
        "random part of the rest."
    )
    names = [f"{i + 1} {parameter['name']}" for i, parameter in enumerate(about["parameters"])]
    return CONTROLS.format(
        id=about["id"], sampled=sampled, numbers=escape("Axes: " + ", ".join(names) + ".")
    )


def _figure(figure: Mapping[str, Any]) -> str:
    return (
        f'<h3>{escape(figure["title"])}</h3><p class="note">{escape(figure["note"])}</p>'
        f'<div class="figure" id="{figure["id"]}" role="img" '
        f'aria-label="{escape(figure["title"])}"></div>'
    )


def _table(table: Table) -> str:
    content = _matrix(table) if table.name == "improvement" else _rows(table)
    return f"<h3>{escape(table.title)}</h3>{_framed(table, *content)}"


def _rows(table: Table) -> tuple[str, str]:
    """Return head and body of a table."""
    if table.name.startswith("metrics ") and "unit" in table.columns:
        table = _with_units(table)
    is_number = [
        any(isinstance(row[place], int | float) for row in table.rows)
        for place in range(len(table.columns))
    ]
    head = "".join(
        f'<th scope="col"{_RIGHT if number else ""}>{escape(column)}</th>'
        for column, number in zip(table.columns, is_number, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(_cell(value, table.decimals) for value in row) + "</tr>"
        for row in table.rows
    )
    return head, body


def _with_units(table: Table) -> Table:
    """Return a table of metrics with the unit in each cell, in engineering notation."""
    rows = []
    for metric, unit, *values in table.rows:
        numbers = (None if value is None else float(value) for value in values)
        rows.append((metric, *(quantity(number, str(unit), 5) for number in numbers)))
    columns = tuple(column for column in table.columns if column != "unit")
    return replace(table, columns=columns, rows=tuple(rows))


def _framed(table: Table, head: str, body: str) -> str:
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'{note}<div class="wide" tabindex="0" role="region" aria-label="{escape(table.title)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _matrix(table: Table) -> tuple[str, str]:
    """Return head and body of pairs as a square: agents down beat agents across."""
    cells = {(str(row[0]), str(row[1])): row[2:] for row in table.rows}
    names = list(dict.fromkeys(name for pair in cells for name in pair))
    head = '<th scope="col">agent beats …</th>'
    head += "".join(f'<th scope="col" class="n">{escape(name)}</th>' for name in names)
    body = ""
    for name in names:
        body += f'<tr><th scope="row">{escape(name)}</th>'
        for other in names:
            if (name, other) not in cells:
                body += '<td class="n">–</td>'
                continue
            value, low, high, p = (float(v) for v in cells[name, other] if v is not None)
            sure = " sure" * ((low > 0.5 or high < 0.5) and p <= SURE_P)
            body += (
                f'<td class="n{sure}" title="{low:.3f} to {high:.3f}, p {p:.3f}">{value:.2f}</td>'
            )
        body += "</tr>"
    return head, body


def _cell(value: Any, decimals: int | None) -> str:
    if isinstance(value, str) and value.startswith("archgym "):
        return f"<td><details><summary>command</summary><code>{escape(value)}</code></details></td>"
    if isinstance(value, bool | str):
        width = ' class="long"' if len(str(value)) > _LONG else ""
        return f"<td{width}>{escape(str(value))}</td>"
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    if value is None or not math.isfinite(value):
        return '<td class="n">–</td>'
    return (
        f'<td class="n">{plain_number(value, 5)}</td>'
        if decimals is None
        # Adding 0 removes the sign of a rounded -0.
        else (f'<td class="n">{round(value, decimals) + 0.0:.{decimals}f}</td>')
    )


def explorer(task: TaskEvidence, name: str, n_tasks: int) -> tuple[dict[str, Any], str]:
    """Return the data that a page needs of a task's evaluations.

    Args:
      task: The task; designs that were not built are left out.
      name: Name of the element.
      n_tasks: Tasks that share the page.

    Returns:
      Names, values and the front as JSON; columns of float32 and uint32, deflated, in base64.
    """
    reward, values = task.stacked("reward"), task.stacked("values")
    indices = task.stacked("indices")
    built = np.flatnonzero(np.isfinite(reward))
    best = task.front_rows
    rows = _sampled(reward, built, best, max(1000, _MOST // n_tasks))
    names = [term.metric for term in task.objective.terms]
    names += [spec.name for spec in task.metrics if spec.goal != "none"]
    names = list(dict.fromkeys(names))[:_MAX_AXES]
    places = [[spec.name for spec in task.metrics].index(metric) for metric in names]
    units = {spec.name: spec.unit for spec in task.metrics}
    # The default design is the last row, for B to begin with.
    numbers = [np.append(values[rows, place], task.reference[place]) for place in places]
    numbers.append(np.append(reward[rows], task.default_reward))
    designs = np.vstack([indices[rows], task.space.default_indices[None, :]])
    parameters, codes = [], []
    for place, parameter in enumerate(task.space.parameters):
        used, code = np.unique(designs[:, place], return_inverse=True)
        texts = [str(parameter.value(int(index)))[:_MAX_TEXT] for index in used]
        parameters.append({"name": parameter.name, "values": texts})
        codes.append(code.astype("<u4"))
    order = {row: place for place, row in enumerate(rows.tolist())}
    data = b"".join([*(c.astype("<f4").tobytes() for c in numbers), *(c.tobytes() for c in codes)])
    about = {
        "id": name,
        "n": len(rows) + 1,
        "total": len(built) + 1,
        "reference": len(rows),
        "best": int(np.argmax(reward[rows])) if len(rows) else 0,
        "axes": [f"{m} [{units[m]}]" if units[m] else m for m in names] + ["reward"],
        "parameters": parameters,
        "front": [order[row] for row in best.tolist() if row in order],
    }
    return about, base64.b64encode(zlib.compress(data, 6)).decode()


def _sampled(reward: np.ndarray, built: np.ndarray, best: np.ndarray, most: int) -> np.ndarray:
    if len(built) <= most:
        return built
    # The best design is on the front, though another of its terms may stand for it there.
    best = np.union1d(best[: most - 1], built[[np.argmax(reward[built])]])
    rest = built[~np.isin(built, best)]
    n = max(0, most - len(best))
    drawn = np.random.default_rng(0).choice(rest, size=min(n, len(rest)), replace=False)
    return np.sort(np.concatenate([best, drawn]))


def write_page(findings: Findings, path: Path, options: PageOptions | None = None) -> int:
    """Write the page and return its size in bytes.

    Args:
      findings: Findings of the report.
      path: File of the page.
      options: Title, author and date of the page.

    Raises:
      StorageError: It cannot be written.
    """
    content = page(findings, options or PageOptions()).encode()
    write_atomic(path, content)
    return len(content)
