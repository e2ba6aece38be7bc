"""`archgym dataset`: evaluations of studies as datasets that others can use."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from archgym.cli.commands.merge import StudiesArgument
from archgym.cli.console.progress import StageBar, announce_compilation
from archgym.cli.console.terminal import heading, number, say, table, unit, write_json
from archgym.cli.options.dataset import (
    FidelityOption,
    OptionOption,
    SpaceOption,
    VersionOption,
    chosen_options,
)
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import named_path

if TYPE_CHECKING:
    from archgym.datasets import Split, Summary, Written

__all__ = ["dataset_app"]

dataset_app = typer.Typer(
    name="dataset",
    help="Make, split, join and check datasets of evaluations.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dataset_app.callback()
def _group() -> None:
    """Make, split, join and check datasets of evaluations."""


DatasetArgument = Annotated[
    Path, typer.Argument(help="A dataset's folder, or its Parquet file.", metavar="DATASET")
]
OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        help="A new folder; or a new .parquet, .csv or .jsonl file for the table alone.",
        parser=named_path,
        metavar="PATH",
    ),
]
NameOption = Annotated[str | None, typer.Option("--name", help="What the dataset is called.")]
LicenseOption = Annotated[
    str | None, typer.Option("--license", help="Its SPDX identifier, such as cc-by-4.0.")
]
_BY = "design, region, workload, agent, or random, which leaks."
SplitOption = Annotated[
    str | None, typer.Option("--split", help=f"Make parts, by {_BY}", metavar="BY")
]
ByOption = Annotated[str, typer.Option("--by", help=f"By {_BY}", metavar="BY")]
ValidationOption = Annotated[
    float, typer.Option("--validation", help="Share for validation, of designs or rows.")
]
TestOption = Annotated[
    float, typer.Option("--test", help="Share for the test, of designs or rows.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the split.", min=0, max=2**63 - 1)]
GroupOption = Annotated[
    str,
    typer.Option("--group", help="With outcome, designs with equal metrics stay in one part."),
]
HoldOutOption = Annotated[
    list[str] | None,
    typer.Option(
        "--hold-out",
        help='What the test part is: a region such as "banks>=8", mode=slow,fast or '
        '"order=K C ...", a workload, an agent; repeat it.',
        metavar="WHAT",
    ),
]


@dataset_app.command()
def build(
    studies: StudiesArgument,
    out: OutOption,
    name: NameOption = None,
    license: LicenseOption = None,
    split: SplitOption = None,
    validation: ValidationOption = 0.1,
    test: TestOption = 0.1,
    seed: SeedOption = 0,
    group: GroupOption = "design",
    hold_out: HoldOutOption = None,
    json: JsonOption = False,
) -> None:
    """Make a dataset of studies: Parquet with units, a card, Croissant metadata, checksums.

    The studies may be by any agents and of any tasks of one simulator. A row is one design on one
    workload.
    """
    from archgym.datasets import build_dataset

    chosen = _split(split, validation, test, seed, group, hold_out)
    with StageBar() as bar:
        written = build_dataset(
            studies, out, name=name, license=license, split=chosen, progress=bar
        )
    _say(written, json)


@dataset_app.command()
def split(
    dataset: DatasetArgument,
    by: ByOption,
    out: OutOption,
    validation: ValidationOption = 0.1,
    test: TestOption = 0.1,
    seed: SeedOption = 0,
    group: GroupOption = "design",
    hold_out: HoldOutOption = None,
    json: JsonOption = False,
) -> None:
    """Split a dataset into train, validation and test parts that do not leak."""
    from archgym.datasets import split_dataset

    chosen = _split(by, validation, test, seed, group, hold_out)
    assert chosen is not None
    with StageBar() as bar:
        written = split_dataset(dataset, chosen, out, progress=bar)
    _say(written, json)


@dataset_app.command()
def merge(
    datasets: Annotated[list[Path], typer.Argument(help="Datasets of one simulator.")],
    out: OutOption,
    name: NameOption = None,
    license: LicenseOption = None,
    split: SplitOption = None,
    validation: ValidationOption = 0.1,
    test: TestOption = 0.1,
    seed: SeedOption = 0,
    group: GroupOption = "design",
    hold_out: HoldOutOption = None,
    json: JsonOption = False,
) -> None:
    """Join datasets of one simulator; duplicates are marked over the whole."""
    from archgym.datasets import merge_datasets

    chosen = _split(split, validation, test, seed, group, hold_out)
    with StageBar() as bar:
        written = merge_datasets(
            datasets, out, name=name, license=license, split=chosen, progress=bar
        )
    _say(written, json)


@dataset_app.command()
def info(dataset: DatasetArgument, json: JsonOption = False) -> None:
    """Say what a dataset holds."""
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
        int, typer.Option("--sample", help="Rows that are simulated again.", min=0)
    ] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Of the sample.", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """Check a dataset's files and rows, and simulate a sample of rows again.

    The exit code is 1 where anything differs, with a line for each kind of difference.
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
        verdict = "not as they should be" if result.problems else "as they should be"
        say(f"{result.rows} rows, {result.simulated} of them simulated again: {verdict}.")
    if result.problems:
        raise typer.Exit(1)


@dataset_app.command()
def minari(
    dataset: DatasetArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The folder of Minari's datasets; its own where left out.",
            parser=named_path,
            metavar="FOLDER",
        ),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="Its name there, such as archgym/dram-v0.")
    ] = None,
    part: Annotated[
        str | None, typer.Option("--part", help="Only train, validation or test.")
    ] = None,
    space: SpaceOption = None,
    fidelity: FidelityOption = None,
    option: OptionOption = None,
    version: VersionOption = None,
    json: JsonOption = False,
) -> None:
    """Write a dataset for offline reinforcement learning with Minari, one episode a study."""
    from archgym.envs import write_minari

    written = write_minari(
        dataset,
        out,
        id=id,
        part=part,
        space=space,
        fidelity=fidelity,
        options=chosen_options(option),
        version=version,
    )
    if json:
        write_json({**asdict(written), "root": str(written.root)})
    else:
        say(
            f"{written.episodes} episodes, {written.steps} steps: {written.id} "
            f"in {written.root}, the MINARI_DATASETS_PATH to load it with."
        )


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
    tally, about = summary.tally, summary.about
    heading(f"{about.name}: {tally.rows} evaluations by simulator {about.simulator!r}")
    say(
        f"{tally.designs} distinct designs, {tally.duplicates} duplicates, {tally.feasible} "
        f"feasible, {tally.failed} failed; {len(about.studies)} studies of {len(about.tasks)} "
        f"tasks; license {about.license}; {summary.n_bytes} bytes."
    )
    if about.split is not None:
        parts = ", ".join(f"{part} {counted.rows}" for part, counted in tally.parts.items())
        say(f"{parts}. {about.split['statement']}")
    say()
    counts = {"agent": summary.by_agent, "workload": summary.by_workload, "space": summary.by_space}
    rows = [
        (what, name or "none", str(n))
        for what, counted in counts.items()
        for name, n in sorted(counted.items())
    ]
    table(("", "name", "rows"), rows, right=["rows"])
    table(
        ("metric", "unit", "lowest", "highest"),
        [
            (m.spec.name, unit(m.spec.unit), number(m.lowest), number(m.highest))
            for m in summary.metrics
        ],
        right=["lowest", "highest"],
    )


def _split(
    by: str | None,
    validation: float,
    test: float,
    seed: int,
    group: str,
    hold_out: list[str] | None,
) -> "Split | None":
    from archgym.datasets import Split

    if by is None:
        return None
    return Split(cast("Any", by), validation, test, seed, cast("Any", group), tuple(hold_out or ()))


def _say(written: "Written", json: bool) -> None:
    for note in written.notes:
        typer.echo(f"warning: {note}", err=True)
    if json:
        write_json({**asdict(written), "path": str(written.path)})
        return
    say(
        f"{written.rows} rows, {written.designs} distinct designs, {written.duplicates} "
        f"duplicates: {written.path}"
    )
    if written.statement is not None:
        parts = ", ".join(f"{part} {n}" for part, n in written.parts.items())
        say(f"{parts}. {written.statement}")
        for part, n in written.shared.items():
            if n:
                say(f"{n} designs of {part} are in train too.")
