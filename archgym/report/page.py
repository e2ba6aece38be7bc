"""A report as one HTML file that asks nothing of any network."""

import base64
import hashlib
import json
import math
import shlex
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from archgym.report.evidence import TaskEvidence
from archgym.report.explorer import explorer
from archgym.report.figures import figures
from archgym.report.findings import SURE_P, Findings
from archgym.report.table import Table

__all__ = ["page"]

# chosen: longer texts get a width, lest a column of commands makes them one word wide.
_LONG = 20
_RIGHT = ' class="n"'
_GENERAL = ("scores", "improvement", "lottery", "tuning")
_CONTROLS = """
<div id="{id}" class="explorer">
<div class="controls">
<label>across <select data-part="x"></select></label>
<label>up <select data-part="y"></select></label>
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


def page(findings: Findings) -> str:
    """Return the whole page.

    Everything that comes from studies is escaped; the content security policy allows the page's
    own two scripts by their hashes and no request at all.
    """
    drawing = _plotly()
    script = _asset("page.js")
    shown = figures(findings)
    explorers = [
        explorer(task, f"explorer-{i}", len(findings.evidence.tasks))
        for i, task in enumerate(findings.evidence.tasks)
    ]
    policy = (
        "default-src 'none'; "
        f"script-src {_hash(script)} {_hash(drawing)}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><title>ArchGym report</title>',
        f"<style>{_asset('page.css')}</style></head><body>",
        *_head(findings),
        *_general(findings, shown),
    ]
    for place, task in enumerate(findings.evidence.tasks):
        about, _ = explorers[place]
        parts += _task(task, findings, about, [f for f in shown if f.get("task") == task.label])
    parts += [_data("figures", shown), _data("explorers", [about for about, _ in explorers])]
    for about, packed in explorers:
        parts.append(f'<script type="text/plain" id="{about["id"]}-data">{packed}</script>')
    packed = base64.b64encode(zlib.compress(drawing.encode(), 9)).decode()
    parts.append(f'<script type="text/plain" id="plotly">{packed}</script>')
    parts.append(f"<script>{script}</script></body></html>\n")
    return "\n".join(parts)


def _asset(name: str) -> str:
    return files("archgym.report").joinpath("data", name).read_text(encoding="utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # A browser hashes a script's text with its lines ended by a line feed alone.
    return str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _data(name: str, data: Any) -> str:
    # Within a script element nothing but its end tag, and the beginning of a comment, counts.
    text = json.dumps(_without_nan(data), allow_nan=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )
    return f'<script type="application/json" id="{name}">{text}</script>'


def _without_nan(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(name): _without_nan(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_nan(value) for value in data]
    return data


def _head(findings: Findings) -> list[str]:
    evidence = findings.evidence
    runs = sum(len(task.runs) for task in evidence.tasks)
    words = shlex.join(["archgym", "report", *map(str, evidence.sources), "-o", "report.html"])
    links = "".join(
        f'<a href="#task-{place}">{escape(task.label)}</a>'
        for place, task in enumerate(evidence.tasks)
    )
    return [
        "<h1>ArchGym report</h1>",
        f"<p>{evidence.evaluations:,} evaluations in {runs} run{'s' * (runs != 1)} on "
        f"{len(evidence.tasks)} "
        f'{"task" if len(evidence.tasks) == 1 else "tasks"}.</p><nav aria-label="Sections">'
        f'<a href="#verdict">Verdict</a><a href="#scores">Scores</a>{links}'
        '<a href="#repeat">How to repeat it</a></nav>',
        '<h2 id="verdict">Verdict</h2><div class="verdict">',
        *(f"<p>{escape(line)}</p>" for line in findings.verdict),
        "</div>",
        '<h2 id="repeat">How to repeat it</h2>',
        f"<pre>{escape(words)}</pre>",
        *(_repeat(task) for task in evidence.tasks),
        f'<p class="note">Protocol {findings.protocol.digest[:16]}: '
        f"budget {findings.protocol.budget:,}, {findings.protocol.resamples:,} resamples. Compare "
        "only reports of the same protocol.</p>",
    ]


def _repeat(task: TaskEvidence) -> str:
    runs = [run for run in task.runs if run.agent not in ("log", "merged")]
    lines = []
    if runs:
        run = runs[0]
        best = task.best
        run = best[0] if best is not None and best[0] in runs else run
        words = ["archgym", "search", task.id, "-a", run.agent, "-n", str(run.planned)]
        words += [] if run.seed is None else ["--seed", str(run.seed)]
        settings = json.loads(run.hyperparameters)
        for name, value in settings.items():
            words += ["--hyper", f"{name}={value}"]
        lines.append(
            f"<p>The best run on {escape(task.id)}:</p><pre>{escape(shlex.join(words))}</pre>"
        )
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
        f"{recipe['digest'][:16]}.{answered} How near the simulator comes to its reference: "
        f"archgym validate {recipe['simulator']}. Made with {versions}."
    )
    return "".join([*lines, f'<p class="note">{escape(text)}</p>'])


def _general(findings: Findings, shown: Sequence[Mapping[str, Any]]) -> list[str]:
    tables = [t for t in findings.tables if t.name in _GENERAL]
    parts = ['<h2 id="scores">Scores</h2>']
    for task in findings.evidence.tasks:
        scale = findings.protocol.tasks[task.recipe["digest"]]
        text = (
            f"{task.label}: 0 is reward {scale['average']:.4f}, the mean of "
            f"{scale['average_from']}; 1 is {scale['best']:.4f}, the {scale['best_from']}."
        )
        parts.append(f'<p class="note">{escape(text)}</p>')
    for table in tables:
        parts.append(_table(table))
    parts += [_figure(figure) for figure in shown if "task" not in figure]
    return parts


def _task(
    task: TaskEvidence,
    findings: Findings,
    about: Mapping[str, Any],
    shown: Sequence[Mapping[str, Any]],
) -> list[str]:
    place = findings.evidence.tasks.index(task)
    tables = [t for t in findings.tables if t.name.endswith(f" {task.label}")]
    sampled = (
        ""
        if about["n"] == about["total"]
        else f"Of {about['total']:,} evaluations {about['n']:,} are shown: the front, and an even "
        "random part of the rest."
    )
    again = findings.chosen.get(task.label)
    missing = f"The best design was not evaluated again: {again}" if isinstance(again, str) else ""
    names = [f"{i + 1} {parameter['name']}" for i, parameter in enumerate(about["parameters"])]
    return [
        f'<h2 id="task-{place}">{escape(task.label)}</h2><p class="note">{escape(task.id)}</p>',
        *([f'<p class="note">{escape(missing)}</p>'] if missing else []),
        *(_figure(figure) for figure in shown),
        "<h3>Explorer</h3>",
        _CONTROLS.format(
            id=about["id"], sampled=sampled, numbers=escape("Axes: " + ", ".join(names) + ".")
        ),
        *(_table(table) for table in tables),
    ]


def _figure(figure: Mapping[str, Any]) -> str:
    return (
        f'<h3>{escape(figure["title"])}</h3><p class="note">{escape(figure["note"])}</p>'
        f'<div class="figure" id="{figure["id"]}" role="img" '
        f'aria-label="{escape(figure["title"])}"></div>'
    )


def _table(table: Table) -> str:
    if table.name == "improvement":
        return _framed(table, *_matrix(table))
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
    return _framed(table, head, body)


def _framed(table: Table, head: str, body: str) -> str:
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f"<h3>{escape(table.title)}</h3>{note}"
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.title)}">'
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
        return f'<td><code class="line">{escape(value)}</code></td>'
    if isinstance(value, bool | str):
        width = ' class="long"' if len(str(value)) > _LONG else ""
        return f"<td{width}>{escape(str(value))}</td>"
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    if value is None or not math.isfinite(value):
        return '<td class="n">–</td>'
    return (
        f'<td class="n">{value:.5g}</td>'
        if decimals is None
        else (f'<td class="n">{value:.{decimals}f}</td>')
    )
