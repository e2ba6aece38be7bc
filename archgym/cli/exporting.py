"""`archgym export` and `archgym merge`: studies as tables, and studies joined."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.showing import who
from archgym.cli.tasks import JsonOption
from archgym.cli.terminal import say, write_json
from archgym.cli.values import named_path
from archgym.errors import InvalidArgumentError
from archgym.storage import atomic_file, make_folder, write_atomic

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["export", "merge"]

StudiesArgument = Annotated[list[Path], typer.Argument(help="Folders of studies.")]
_EXPORTS = Path("exports")


def export(
    studies: StudiesArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="A folder for Parquet and its card, or a .parquet, .csv or .jsonl file; "
            "exports/<name of the study>.",
            parser=named_path,
            metavar="PATH",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write studies as a table with units."""
    from archgym.datasets.export import export as export_parquet
    from archgym.datasets.export import to_table
    from archgym.study import read_study

    target = out or _EXPORTS / _name(studies)
    if target.suffix in (".csv", ".jsonl"):
        table = to_table([read_study(folder) for folder in studies])
        make_folder(target.parent)
        _write_csv(table, target) if target.suffix == ".csv" else _write_jsonl(table, target)
        written, n_rows = target, table.num_rows
    elif target.suffix in ("", ".parquet") or target.is_dir():
        import pyarrow.parquet as pq

        written = export_parquet(list(studies), target)
        n_rows = pq.ParquetFile(written).metadata.num_rows
    else:
        raise InvalidArgumentError(
            f"`--out` must be a folder or end in .parquet, .csv or .jsonl; got {str(target)!r}."
        )
    if json:
        write_json({"path": str(written), "rows": n_rows})
    else:
        say(f"{n_rows} evaluations: {written}")


def _name(studies: list[Path]) -> str:
    first = studies[0].absolute().name
    return first if len(studies) == 1 else f"{first}-and-{len(studies) - 1}-more"


def _write_csv(table: "pa.Table", path: Path) -> None:
    import pyarrow.csv as csv

    with atomic_file(path) as scratch:
        csv.write_csv(_flat(table), scratch)


def _write_jsonl(table: "pa.Table", path: Path) -> None:
    import json

    from archgym.cli.terminal import plain

    rows: list[dict[str, Any]] = table.to_pylist()
    lines = (json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    write_atomic(path, (line.encode() for line in lines))


def _flat(table: "pa.Table") -> "pa.Table":
    """The table without dictionary columns, which CSV cannot hold."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            column = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field.name, column)
    return table


def merge(
    studies: StudiesArgument,
    out: Annotated[
        Path, typer.Option("--out", help="A new folder.", parser=named_path, metavar="PATH")
    ],
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Take interrupted studies as they are.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Join finished studies of one task into one."""
    from archgym.merge import merge as join

    log = join(studies, out, unfinished=unfinished)
    if json:
        write_json({"folder": str(out), "evaluations": log.evaluations, "asks": log.asks})
    else:
        say(f"{who(log)}, {log.evaluations} evaluations: {out}")
