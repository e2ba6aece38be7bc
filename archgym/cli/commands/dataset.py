"""`archgym dataset`: datasets of evaluations, as Parquet with units and a card."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from archgym.cli.console.progress import StageBar, announce_compilation
from archgym.cli.console.terminal import heading, number, say, table, warn, write_json
from archgym.cli.options.groups import command_group, with_groups
from archgym.cli.options.run import MAX_SEED
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import StudiesArgument, lasting
from archgym.errors import InvalidArgumentError
from archgym.files.remote import shown

if TYPE_CHECKING:
    from archgym.datasets import Split, Summary, Written

dataset_app = command_group("dataset", "Build, split, merge and verify datasets of evaluations.")

DatasetArgument = Annotated[
    Path,
    typer.Argument(help="Folder of a dataset, or its Parquet file; or a URL.", metavar="DATASET"),
]
OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        help="Folder to create, or a .parquet, .csv or .jsonl file for the table alone; or a URL.",
        metavar="PATH",
    ),
]
_BY = "design, region, workload, agent or random (random leaks designs)."
ByOption = Annotated[str, typer.Option("--by", help=f"Split the rows by {_BY}", metavar="BY")]


@dataclass(frozen=True)
class PartOptions:
    """Options that say how large the parts of a split are, and what holds rows together."""

    validation: Annotated[
        float, typer.Option("--validation", help="Share of designs or rows for validation.")
    ] = 0.1
    test: Annotated[
        float, typer.Option("--test", help="Share of designs or rows for the test.")
    ] = 0.1
    seed: Annotated[
        int, typer.Option("--seed", help="Random seed of the split.", min=0, max=MAX_SEED)
    ] = 0
    group: Annotated[
        str,
        typer.Option(
            "--group", help="Unit of the split: design, or outcome (equal metrics stay together)."
        ),
    ] = "design"
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            "--hold-out",
            help='Rows of the test part: a region such as "banks>=8", mode=slow,fast or '
            '"order=K C ...", a workload or an agent; repeat for more.',
            metavar="WHAT",
        ),
    ] = None

    def split(self, by: str) -> "Split":
        """Return the split by designs, regions, workloads, agents or at random."""
        from archgym.datasets import Split

        held_out = tuple(self.hold_out or ())
        kinds = cast("Any", by), cast("Any", self.group)
        return Split(kinds[0], self.validation, self.test, self.seed, kinds[1], held_out)


@dataclass(frozen=True)
class NewOptions:
    """Options of a dataset that is made."""

    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the dataset (default: that of its folder)."),
    ] = None
    license: Annotated[
        str | None,
        typer.Option("--license", help="SPDX identifier of the license, such as cc-by-4.0."),
    ] = None
    split: Annotated[
        str | None, typer.Option("--split", help=f"Split the rows by {_BY}", metavar="BY")
    ] = None
    parts: PartOptions = PartOptions()

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the library's functions."""
        given = replace(self.parts, hold_out=self.parts.hold_out or None)
        if self.split is None and given != PartOptions():
            raise InvalidArgumentError("Options of the parts need `--split BY`; it was not given.")
        split = None if self.split is None else self.parts.split(self.split)
        return {"name": self.name, "license": self.license, "split": split}


@dataset_app.command()
@with_groups
def build(
    studies: StudiesArgument, out: OutOption, new: NewOptions, json: JsonOption = False
) -> None:
    """Build a dataset from studies: Parquet with units, a card, Croissant metadata, checksums.

    The studies may be of any agents and tasks of one simulator. A row is one design on one
    workload.
    """
    from archgym.datasets import build_dataset

    with StageBar() as bar:
        written = build_dataset(studies, lasting(out), progress=bar, **new.arguments())
    _say(written, json)


@dataset_app.command()
@with_groups
def split(
    dataset: DatasetArgument,
    by: ByOption,
    out: OutOption,
    parts: PartOptions,
    json: JsonOption = False,
) -> None:
    """Split a dataset into train, validation and test parts that do not leak."""
    from archgym.datasets import split_dataset

    with StageBar() as bar:
        written = split_dataset(dataset, parts.split(by), lasting(out), progress=bar)
    _say(written, json)


@dataset_app.command()
@with_groups
def merge(
    datasets: Annotated[list[Path], typer.Argument(help="Datasets of the same simulator.")],
    out: OutOption,
    new: NewOptions,
    json: JsonOption = False,
) -> None:
    """Merge datasets of one simulator, and mark duplicates across them."""
    from archgym.datasets import merge_datasets

    with StageBar() as bar:
        written = merge_datasets(datasets, lasting(out), progress=bar, **new.arguments())
    _say(written, json)


@dataset_app.command()
def info(dataset: DatasetArgument, json: JsonOption = False) -> None:
    """Show the contents of a dataset."""
    from archgym.datasets import summarise_dataset

    summary = summarise_dataset(dataset)
    if json:
        write_json(_info_json(summary))
    else:
        _say_info(summary)


@dataset_app.command()
def verify(
    dataset: DatasetArgument,
    sample: Annotated[
        int, typer.Option("--sample", help="Number of rows to simulate again.", min=0)
    ] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the sample.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Verify the files and rows of a dataset, and simulate a sample of rows again.

    The exit code is 1 if anything differs; each kind of difference is one line.
    """
    from archgym.cli.console.signals import prompt_stops
    from archgym.datasets import verify_dataset

    announce_compilation()
    with prompt_stops(), StageBar() as bar:
        result = verify_dataset(dataset, sample=sample, seed=seed, progress=bar)
    if json:
        write_json(asdict(result))
    else:
        for problem in result.problems:
            say(problem)
        verdict = "problems found" if result.problems else "no problems found"
        say(f"{result.rows} rows, {result.simulated} of them simulated again: {verdict}.")
    if result.problems:
        raise typer.Exit(1)


def _info_json(summary: "Summary") -> dict[str, Any]:
    tally, about = summary.tally, summary.about
    return {
        "path": str(summary.path),
        "digest": summary.digest,
        "name": about.name,
        "license": about.license,
        "simulator": about.simulator,
        "bytes": summary.n_bytes,
        "rows": tally.rows,
        "designs": tally.designs,
        "feasible": tally.feasible,
        "failed": tally.failed,
        "duplicates": tally.duplicates,
        "parts": {part: counted.rows for part, counted in tally.parts.items()},
        "split": about.split,
        "agents": summary.by_agent,
        "workloads": summary.by_workload,
        "spaces": summary.by_space,
        "studies": len(about.studies),
        "tasks": [task["id"] for task in about.tasks],
        "metrics": {
            metric.spec.name: {
                "unit": metric.spec.unit,
                "lowest": metric.lowest,
                "highest": metric.highest,
            }
            for metric in summary.metrics
        },
    }


def _say_info(summary: "Summary") -> None:
    from archgym.report.quantities import counted

    tally, about = summary.tally, summary.about
    heading(f"{about.name}: {counted(tally.rows, 'evaluation')} by simulator {about.simulator!r}")
    say(
        f"{tally.designs} distinct designs, {tally.duplicates} duplicates, {tally.feasible} "
        f"feasible, {tally.failed} failed; {counted(len(about.studies), 'study')} of "
        f"{counted(len(about.tasks), 'task')}; license {about.license}; {summary.n_bytes} bytes."
    )
    if about.split is not None:
        parts = ", ".join(f"{part} {found.rows}" for part, found in tally.parts.items())
        say(f"{parts}. {about.split['statement']}")
    say()
    counts = {"agent": summary.by_agent, "workload": summary.by_workload, "space": summary.by_space}
    rows = [
        (what, name or "none", str(n))
        for what, found in counts.items()
        for name, n in sorted(found.items())
    ]
    table(("", "name", "rows"), rows, right=["rows"])
    table(
        ("metric", "unit", "lowest", "highest"),
        [(m.spec.name, m.spec.unit, number(m.lowest), number(m.highest)) for m in summary.metrics],
        right=["lowest", "highest"],
    )


def _say(written: "Written", json: bool) -> None:
    for note in written.notes:
        warn(note)
    if json:
        write_json({**asdict(written), "path": shown(written.path)})
        return
    say(
        f"{written.rows} rows, {written.designs} distinct designs, {written.duplicates} "
        f"duplicates: {shown(written.path)}"
    )
    if written.statement is not None:
        parts = ", ".join(f"{part} {n}" for part, n in written.parts.items())
        say(f"{parts}. {written.statement}")
        for part, n in written.shared.items():
            if n:
                say(f"{n} designs of {part} are also in train.")
