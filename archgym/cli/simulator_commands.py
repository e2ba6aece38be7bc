"""Commands that simulators bring: the file `cli.py` in a simulator's folder.

The file defines `commands`, a `typer.Typer`. Its commands and groups join the application; a group
with the name of an existing one adds its commands to that group. The file is loaded without its
package, so that the application starts fast: heavy modules are imported inside the commands.

Example (`archgym/simulators/branch/cli.py`):
    commands = typer.Typer()

    @commands.command("branch")
    def show_branches() -> None:
        ...
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import typer

from archgym.cli.console.terminal import warn
from archgym.errors import error_text

SIMULATORS_FOLDER = Path(__file__).resolve().parent.parent / "simulators"
_FILE = "cli.py"


def add_simulator_commands(app: typer.Typer, folder: Path = SIMULATORS_FOLDER) -> None:
    """Add the commands of all simulators to the application.

    A file that cannot be loaded is reported on standard error; all other commands still work.

    Args:
      app: The application.
      folder: Folder with a subfolder per simulator.
    """
    for path in sorted(folder.glob(f"*/{_FILE}")):
        try:
            commands = _load_commands(path)
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error_text(error)}".split())
            warn(f"{path} cannot be loaded: {text}")
            continue
        _join(app, commands)


def _load_commands(path: Path) -> typer.Typer:
    """Return the commands of a file, loaded under its usual name without its package."""
    name = f"archgym.simulators.{path.parent.name}.{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        commands = module.commands
        if not isinstance(commands, typer.Typer):
            raise TypeError(f"`commands` must be a typer.Typer; got {type(commands).__name__}")
    except BaseException:
        del sys.modules[name]
        raise
    return commands


def _join(app: typer.Typer, commands: typer.Typer) -> None:
    groups = {_name(group.typer_instance): group.typer_instance for group in app.registered_groups}
    app.registered_commands += commands.registered_commands
    for group in commands.registered_groups:
        known = groups.get(_name(group.typer_instance))
        if known is None or group.typer_instance is None:
            app.registered_groups.append(group)
        else:
            known.registered_commands += group.typer_instance.registered_commands


def _name(group: typer.Typer | None) -> str | None:
    return None if group is None else str(group.info.name)
