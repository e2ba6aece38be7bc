"""`archgym validate`: comparison of a simulator with reference results."""

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from archgym.cli.console.terminal import notice, write_json
from archgym.cli.options.completion import complete_simulator
from archgym.cli.options.task import JsonOption
from archgym.cli.views.validation import write_validation
from archgym.errors import InvalidArgumentError, StorageError


def validate(
    simulator: Annotated[
        str,
        typer.Argument(
            help="Simulator that ships with reference results.",
            autocompletion=complete_simulator,
        ),
    ],
    reference: Annotated[
        Path | None,
        typer.Option("--reference", help="Folder with further reference results."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare a simulator with reference results.

    The exit code is 1 if a result is worse than its recorded limit.
    """
    from archgym.cli.console.progress import announce_compilation

    module = evidence_of(simulator)
    if reference is not None and not reference.is_dir():
        raise StorageError(
            f"{reference} cannot be read: the folder does not exist. Check the path."
        )
    announce_compilation()
    result = module.validate(reference, _say_progress)
    if json:
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
        write_json({"simulator": simulator, "rows": rows, "problems": list(result.problems)})
    else:
        tables = getattr(result, "tables", ())
        write_validation(result.columns, result.rows, result.problems, tables)
    if result.problems:
        raise typer.Exit(1)


def evidence_of(simulator: str) -> ModuleType:
    """Import the evidence for a simulator, `evidence.SIMULATOR`, from the checkout.

    Raises:
      InvalidArgumentError: No folder `evidence` lies next to the package, or it has no results
        for this simulator.
    """
    from archgym.evaluation.simulator import simulator_class

    simulator_class(simulator)
    source = Path(__file__).parents[3] / "evidence" / "__init__.py"
    if not source.is_file():
        raise InvalidArgumentError(
            "Validation needs a checkout of ArchGym, since recorded results are not installed: "
            "clone the repository and run the command there."
        )
    if not (source.parent / simulator / "__init__.py").is_file():
        raise InvalidArgumentError(
            f"Simulator {simulator!r} has no reference results and cannot be validated."
        )
    if "evidence" not in sys.modules:
        # By its file: the checkout need not be on the import path.
        spec = spec_from_file_location("evidence", source)
        assert spec is not None
        assert spec.loader is not None
        sys.modules["evidence"] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules["evidence"])
    return import_module(f"evidence.{simulator}")


def _say_progress(text: str) -> None:
    notice(f"{text} …")
