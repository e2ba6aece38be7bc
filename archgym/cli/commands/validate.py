"""`archgym validate` and `doctor`: checks of a simulator, and of the installation."""

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from archgym.cli.console.terminal import file_size, heading, notice, say, table, write_json
from archgym.cli.options.task import JsonOption
from archgym.cli.options.values import complete_simulator
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
    group: Annotated[
        str | None, typer.Option("--group", help="Group of results to compare; all by default.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare a simulator with reference results, in a checkout of ArchGym.

    Results count as evidence if they are designs that a search can evaluate. Component checks
    compare a kernel, a formula or a log alone, and have a table of their own. The exit code is 1 if
    a result is worse than its recorded limit.
    """
    from archgym.cli.console.progress import announce_compilation

    module = evidence_of(simulator)
    if reference is not None and not reference.is_dir():
        raise StorageError(
            f"{reference} cannot be read: the folder does not exist. Check the path."
        )
    announce_compilation()
    result = module.validate(reference, lambda text: notice(f"{text} …"), group=group)
    if json:
        rows = [
            {
                "group": of.name,
                "is_evidence": of.is_searched,
                **dict(zip(result.columns, row, strict=True)),
            }
            for of in result.groups
            for row in result.rows_of(of)
        ]
        write_json({"simulator": simulator, "rows": rows, "problems": list(result.problems)})
    else:
        import_module("evidence.view").write_validation(result)
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


def doctor(json: JsonOption = False) -> None:
    """Check the installation: versions, kernel cache, disk, optional parts.

    The exit code is 1 if something hinders the core install.
    """
    from archgym.runtime.installation import examine

    found = examine()
    if json:
        write_json(found.to_json())
    else:
        heading("Versions")
        table(("name", "version"), found.versions.items())
        heading("Storage")
        say(f"kernel cache: {found.kernel_cache}")
        say(f"compiled simulators: {', '.join(found.compiled) or 'none yet'}")
        for folder, n_bytes in found.free_bytes.items():
            say(f"free in {folder}: {file_size(n_bytes)}")
        heading("Optional parts")
        table(
            ("part", "for", "state", "install"),
            [
                (
                    feature.name,
                    feature.purpose,
                    f"missing: {', '.join(feature.missing)}" if feature.missing else "ready",
                    feature.remedy,
                )
                for feature in found.features
            ],
        )
        say()
        for problem in found.problems:
            say(f"problem: {problem}")
        if not found.problems:
            say("The core install is complete.")
    if found.problems:
        raise typer.Exit(1)
