"""`archgym doctor`: what is installed, what is missing, and how to get it."""

import typer

from archgym.cli.console.terminal import file_size, heading, say, table, write_json
from archgym.cli.options.task import JsonOption


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
