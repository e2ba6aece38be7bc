"""`archgym report` and `export`: a page of studies, and a design for another tool."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import heading, prose, say, table, warn, write_json
from archgym.cli.options.design import DesignArgument, TaskOfDesignArgument, named_design
from archgym.cli.options.task import JsonOption, TaskOptions
from archgym.cli.options.values import FORCE, ForceOption, ProvenTablesOption
from archgym.errors import InvalidArgumentError
from archgym.files.remote import require_local, shown
from archgym.files.storage import MARK, make_folder, require_replaceable, require_writable


def report(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Folders of studies or sweeps.", metavar="STUDY_OR_SWEEP..."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the report to this .html file."),
    ] = None,
    tables: ProvenTablesOption = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", help="Write the tables as CSV files to this folder."),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option("--json", help="Write all results to this JSON file."),
    ] = None,
    evaluate: Annotated[
        bool,
        typer.Option(
            "--evaluate/--no-evaluate",
            help="Also evaluate the best design of each task, its neighbours and other workloads.",
        ),
    ] = True,
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "ArchGym report",
    author: Annotated[str, typer.Option("--author", help="Author that the page names.")] = "",
    date: Annotated[
        str | None,
        typer.Option("--date", help="Date that the page shows (default: today).", metavar="TEXT"),
    ] = None,
    folders: Annotated[
        bool,
        typer.Option(
            "--folders/--no-folders",
            help="Show the paths of the studies on the page, or leave them out.",
        ),
    ] = True,
    force: ForceOption = False,
) -> None:
    """Report the best design, its gain and its confidence, as a page that needs no network."""
    from datetime import UTC, datetime

    from archgym.cli.console.progress import StageBar, announce_compilation
    from archgym.report import find, read_evidence
    from archgym.report.findings import write_csv, write_json_file
    from archgym.report.page import PageOptions, write_page

    _check_targets(out, csv, json, force)
    announce_compilation()
    with StageBar() as bar:
        findings = find(read_evidence(sources, tables or ()), evaluate, bar)
    for line in findings.verdict:
        prose(line)
    scores = findings.tables[0]
    # Scores compare agents and seeds; one run has none.
    if findings.evidence.n_runs > 1:
        heading(scores.title)
        prose(scores.note)
        table(
            scores.columns,
            [tuple(_cell(value) for value in row) for row in scores.rows],
            right=scores.columns[1:],
        )
    if csv is not None:
        say(f"Tables: {len(write_csv(findings, csv))} files in {csv}")
    if json is not None:
        write_json_file(findings, json)
        say(f"JSON: {json}")
    if out is not None:
        today = datetime.now(UTC).strftime("%Y-%m-%d")
        options = PageOptions(
            title=title, author=author, date=today if date is None else date, has_folders=folders
        )
        size = write_page(findings, out, options)
        say(f"Page: {out}, {size / 1e6:.1f} MB")


def _check_targets(out: Path | None, csv: Path | None, json: Path | None, force: bool) -> None:
    """Refuse an output path that cannot be written, before an analysis that takes minutes."""
    from archgym.report.findings import REPORT_MARK, SCORES_MARK

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise InvalidArgumentError(f"`--out` must end in .html; got {str(out)!r}.")
    scores = None if csv is None else make_folder(require_local(csv, "A report")) / "scores.csv"
    for option, path, mark in (
        ("--out", out, MARK),
        ("--json", json, REPORT_MARK),
        ("--csv", scores, SCORES_MARK),
    ):
        if path is not None:
            require_local(path, "A report")
            require_writable(path)
            require_replaceable(option, path, is_forced=force, mark=mark, force=FORCE)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def export(
    design: DesignArgument,
    options: TaskOptions,
    simulator: TaskOfDesignArgument = "",
    form: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="Format, such as json, markdown, timeloop, dramsys or champsim (default: list "
            "the formats of the simulator).",
            metavar="FORMAT",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="New file, folder for several files, or a URL (default: write a single file to "
            "standard output).",
            metavar="PATH",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Export a design in the format of another tool, as JSON or as a Markdown table.

    Without --as the formats of the simulator are listed.
    """
    from archgym.cli.views.study import limits_text
    from archgym.report.export import export_design, export_formats, unknown_format

    task, indices = named_design(design, simulator, options)
    formats = export_formats(task.simulator)
    if form is None:
        if json:
            write_json(formats)
            return
        table(("format", "files"), list(formats.items()))
        return
    if form not in formats:
        raise unknown_format(task.simulator, form, formats)
    with prompt_stops():
        found = export_design(task, indices, form)
    if out is None and found.text is None:
        raise InvalidArgumentError(
            f"`--out` must name a folder for the {len(found.files)} files of format {form!r}."
        )
    paths = [] if out is None else found.write(out)
    if json:
        write_json(
            {
                "format": form,
                "files": [shown(path) for path in paths],
                "texts": dict(found.files) if out is None else None,
                "notes": found.notes,
                "missed_limits": list(found.missed_limits),
            }
        )
    elif out is None:
        say(str(found.text).rstrip("\n"))
    else:
        place = shown(paths[0]) if len(paths) == 1 else f"{len(paths)} files in {shown(str(out))}"
        say(f"Written: {place}")
    for line in () if json else found.notes:
        warn(line)
    if task.limits and not json and (out is not None or found.missed_limits):
        (warn if found.missed_limits else say)(limits_text(found.missed_limits))
