"""Application of the command line: commands, and errors as one line and an exit code.

A simulator brings commands in the file `cli.py` of its folder, which defines `commands`, a
`typer.Typer`. Its commands and groups join the application; a group with the name of an existing
one adds its commands to that group. The file is loaded without its package, so that the application
starts fast: heavy modules are imported inside the commands.

Example (`archgym/simulators/branch/cli.py`):
    commands = typer.Typer()

    @commands.command("branch")
    def show_branches() -> None:
        ...
"""

import errno
import io
import logging
import os
import resource
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from archgym.checks import whole
from archgym.cli.commands.bench import bench_app
from archgym.cli.commands.codesign import codesign
from archgym.cli.commands.confirm import confirm
from archgym.cli.commands.control import control_app
from archgym.cli.commands.dataset import dataset_app
from archgym.cli.commands.decide import decide, measure, prove
from archgym.cli.commands.describe import describe
from archgym.cli.commands.evaluate import evaluate
from archgym.cli.commands.explain import explain, simplify
from archgym.cli.commands.explore import explore
from archgym.cli.commands.list import list_names
from archgym.cli.commands.mcp import mcp
from archgym.cli.commands.proxy import proxy_app
from archgym.cli.commands.report import export, report
from archgym.cli.commands.rule import rule_app
from archgym.cli.commands.search import resume, search
from archgym.cli.commands.studies import portfolio, show
from archgym.cli.commands.sweep import sweep_app
from archgym.cli.commands.table import table_app
from archgym.cli.commands.trace import trace_app
from archgym.cli.commands.validate import doctor, validate
from archgym.cli.console.terminal import notice, printable, warn
from archgym.cli.options.groups import with_groups
from archgym.errors import ArchGymError, StudyInterrupted, error_text
from archgym.files.remote import placed
from archgym.files.storage import TOO_MANY_FILES
from archgym.version import __version__

SIMULATORS_FOLDER = Path(__file__).resolve().parent.parent / "simulators"
_COMMANDS_FILE = "cli.py"
_PROGRAM = "archgym"
_DEBUG = "--debug"
_USAGE_CODE = 2
_CLOSED_PIPE_CODE = 141
_EPILOG = (
    "Exit codes: 0 success; 1 error, in one line on stderr; 2 invalid command line; "
    "3 no feasible design, or limits missed; 130 and 143 stopped by SIGINT and SIGTERM."
)

_SEARCH, _LOOK, _COMPARE = "Search", "Look", "Compare"
_DATA, _RARE, _TOOLS, _COMMANDS = "Data", "Less common", "Simulator tools", "Commands"
_PANELS = (_SEARCH, _LOOK, _COMPARE, _DATA, _RARE, _TOOLS, _COMMANDS)
# Longer than any first sentence.
_WHOLE = 10_000


class _Group(TyperGroup):
    """Group of commands whose help shows the whole first sentence of each command."""

    def format_commands(self, context: Any, formatter: Any) -> None:
        """Write the commands by panel, without Rich, which takes long to import."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(context):
            command = self.get_command(context, name)
            if command is not None and not command.hidden:
                summary = command.get_short_help_str(_WHOLE)
                panels.setdefault(self._panel(command), []).append((name, summary))
        for panel in sorted(panels, key=_PANELS.index):
            with formatter.section(panel):
                formatter.write_dl(panels[panel])

    def _panel(self, command: Any) -> str:
        return _COMMANDS


class _GroupedCommands(_Group):
    """Commands of the application, in the panels of the help."""

    def _panel(self, command: Any) -> str:
        panel = getattr(command, "rich_help_panel", None)
        return panel if isinstance(panel, str) and panel in _PANELS else _TOOLS


def add_simulator_commands(app: typer.Typer, folder: Path = SIMULATORS_FOLDER) -> None:
    """Add the commands of all simulators to the application.

    A file that cannot be loaded is reported on standard error; all other commands still work.

    Args:
      app: The application.
      folder: Folder with a subfolder per simulator.
    """
    for path in sorted(folder.glob(f"*/{_COMMANDS_FILE}")):
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


app = typer.Typer(
    cls=_GroupedCommands,
    name=_PROGRAM,
    help="Search hardware design spaces with simulators.",
    epilog=_EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(rich_help_panel=_SEARCH)(with_groups(search))
app.command(rich_help_panel=_SEARCH)(with_groups(resume))
app.command("list", rich_help_panel=_LOOK)(list_names)
app.command(rich_help_panel=_LOOK)(with_groups(explore))
app.command(rich_help_panel=_LOOK)(with_groups(describe))
app.command(rich_help_panel=_LOOK)(with_groups(evaluate))
app.command(rich_help_panel=_LOOK)(with_groups(explain))
app.command(rich_help_panel=_LOOK)(with_groups(simplify))
app.command(rich_help_panel=_LOOK)(with_groups(export))
app.command(rich_help_panel=_LOOK)(with_groups(confirm))
app.command(rich_help_panel=_LOOK)(with_groups(measure))
app.command(rich_help_panel=_LOOK)(with_groups(decide))
app.command(rich_help_panel=_LOOK)(prove)
app.command(rich_help_panel=_LOOK)(show)
app.command(rich_help_panel=_LOOK)(doctor)
app.command(rich_help_panel=_COMPARE)(report)
app.command(rich_help_panel=_COMPARE)(with_groups(codesign))
app.add_typer(sweep_app, rich_help_panel=_COMPARE)
app.add_typer(bench_app, rich_help_panel=_COMPARE)
app.command(rich_help_panel=_RARE)(validate)
app.add_typer(dataset_app, rich_help_panel=_DATA)
app.add_typer(table_app, rich_help_panel=_DATA)
app.add_typer(proxy_app, rich_help_panel=_DATA)
app.command(rich_help_panel=_RARE)(portfolio)
app.add_typer(control_app, rich_help_panel=_RARE)
app.add_typer(rule_app, rich_help_panel=_RARE)
app.add_typer(trace_app, rich_help_panel=_TOOLS)
app.command(rich_help_panel=_RARE)(mcp)
add_simulator_commands(app)
for _group in app.registered_groups:
    _group.cls = _Group


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{_PROGRAM} {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(_DEBUG, help="Show tracebacks and log messages (allowed at any position)."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _is_unicode(encoding: str) -> bool:
    return encoding.lower().replace("-", "").startswith("utf")


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit.

    Args:
      arguments: Arguments after the name of the program (default: those of `sys.argv`).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Arguments after `--` belong to another program.
    n_ours = given.index("--") if "--" in given else len(given)
    is_debug = _DEBUG in given[:n_ours]
    ours = [argument for argument in given[:n_ours] if argument != _DEBUG]
    for stream in (sys.stdout, sys.stderr):
        # In a locale without UTF-8, a letter that it lacks must not end a command.
        if isinstance(stream, io.TextIOWrapper) and not _is_unicode(stream.encoding):
            stream.reconfigure(errors="replace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _PrintableFormatter("%(name)s: %(message)s" if is_debug else "warning: %(message)s")
    )
    logging.basicConfig(level=logging.DEBUG if is_debug else logging.WARNING, handlers=[handler])
    if is_debug:
        # Debug messages of libraries are not wanted.
        for library in ("numba", "matplotlib", "PIL"):
            logging.getLogger(library).setLevel(logging.WARNING)
    for option, argument in zip([_PROGRAM, *ours], ours, strict=False):
        if not argument:
            _fail(f"{option} takes no empty text. Leave it out, or name something.", _USAGE_CODE)
        if argument.encode(errors="ignore").decode() != argument:
            remedy = "Rename the file"
            if not _is_unicode(sys.getfilesystemencoding()):
                remedy = "This locale has no such letters: set PYTHONUTF8=1"
            _fail(f"an argument must be UTF-8 text; got {argument!r}. {remedy}.", _USAGE_CODE)
    given = [_local(each) for each in ours] + given[n_ours:]
    try:
        code = _called(given)
        sys.stdout.flush()
    except BrokenPipeError:
        _end_closed_pipe()
    except KeyboardInterrupt:
        _fail("interrupted.", 130)
    except typer.Abort:
        _fail("aborted.", 130)
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            # Click and Rich exit with code 1 while they handle a closed pipe.
            _end_closed_pipe()
        # Commands end by returning, so this is a simulator's, an agent's or a library's.
        if is_debug:
            raise
        _fail(f"other code ended the program with SystemExit({stop.code!r}).", 1)
    except (Exception, RecursionError) as error:
        if _is_usage_error(error):
            _fail(_usage(error), _USAGE_CODE)
        if is_debug:
            raise
        if _is_full_output(error):
            # Python would try to write the rest again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _fail(
                "standard output cannot be written: no space is left. Free some space, or redirect "
                "the output.",
                1,
            )
        code = 128 + error.signal_number if isinstance(error, StudyInterrupted) else 1
        _fail(_one_line(error), code)
    sys.exit(code if isinstance(code, int) else 0)


def _called(given: list[str]) -> Any:
    """Call the application; the number of an option that takes whole ones may be written as 1e3."""
    try:
        return app(args=given, prog_name=_PROGRAM, standalone_mode=False)
    except Exception as error:
        # Types of options are not public in Typer. Nothing has run yet.
        options = getattr(getattr(error, "param", None), "opts", ())
        plain = []
        for before, argument in zip(["", *given], given, strict=False):
            heads = (head for o in options for head in (f"{o}=", o))
            head = next(filter(argument.startswith, heads), "")
            number = whole(argument.removeprefix(head)) if head or before in options else argument
            plain.append(f"{head}{number}" if isinstance(number, int) else argument)
        if plain == given or not _is_usage_error(error):
            raise
    return _called(plain)


def _local(argument: str) -> str:
    """Return an argument in which a `file:` URL is its path, before a `Path` takes a slash."""
    head, sign, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    is_url = value.lower().startswith("file:")
    try:
        return f"{head}{sign}{placed(value)[0]}" if is_url else argument
    except ArchGymError as error:
        _fail(str(error), _USAGE_CODE)


def _end_closed_pipe() -> NoReturn:
    """Exit silently, since the reader closed the pipe, as in `archgym list | head`."""
    # Python would try to write the rest again at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(_CLOSED_PIPE_CODE)


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _is_usage_error(error: BaseException) -> bool:
    """Return True for an error in the command line, whose class is not public in Typer."""
    return hasattr(error, "format_message") and getattr(error, "exit_code", None) == _USAGE_CODE


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else _PROGRAM
    return f"{error.format_message().rstrip('.')}. Try: {command} --help"


def _one_line(error: BaseException) -> str:
    text = " ".join(error_text(error).split()) or type(error).__name__
    is_bare = isinstance(error, OSError) and not isinstance(error, ArchGymError)
    if is_bare and getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        return f"{TOO_MANY_FILES[0].upper()}{TOO_MANY_FILES[1:]}."
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if isinstance(error, MemoryError | ImportError) and limit != resource.RLIM_INFINITY:
        # Libraries say something else, such as a file that is missing.
        return (
            f"Memory is not enough: the address space is limited to {limit >> 20} MiB. Raise the "
            f"limit (ulimit -v unlimited). {type(error).__name__}: {text[:200]}"
        )
    if isinstance(error, ArchGymError | OSError):
        return text
    # Not an error of ArchGym: a bug to report.
    return f"{type(error).__name__}: {text} (run again with {_DEBUG} for the traceback)"


def _is_full_output(error: BaseException) -> bool:
    return (
        isinstance(error, OSError)
        and not isinstance(error, ArchGymError)
        and error.errno == errno.ENOSPC
        and error.filename is None
    )


def _fail(message: str, code: int) -> NoReturn:
    notice(f"error: {message}")
    sys.exit(code)
