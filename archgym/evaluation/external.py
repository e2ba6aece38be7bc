"""Simulators that are command-line programs: run in a child process, within limits."""

import errno
import hashlib
import os
import resource
import secrets
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Self, final

import numpy as np

from archgym.checks import check_number, check_whole
from archgym.errors import (
    InvalidArgumentError,
    SimulatorError,
    StudyInterrupted,
    error_text,
    unknown_name,
)
from archgym.evaluation.metrics import given_names, mean_of_runs, with_standard_errors
from archgym.evaluation.simulator import FAILED, BatchResult, Simulator, Workload, check_values
from archgym.files.storage import make_folder, open_file, scratch_folder, storage_errors
from archgym.runtime.watchdog import Watchdog, kill_marked, mark
from archgym.spaces.design import Design

_TAIL_LINES = 20
_TAIL_BYTES = 6000
_BLOCK = 2**20
# chosen: what a program's last output may take to arrive after its end.
_DRAIN_S = 0.2
# chosen: what a supervisor may take to kill what its program left, before it is killed itself.
_SUPERVISOR_S = 2.5
_SUPERVISOR = Path(__file__).with_name("_supervisor.py")
_Limits = tuple[int | None, int | None]
"""Bytes of address space, and of each file that is written; None for no limit."""


@final
@dataclass(frozen=True)
class Infeasible:
    """Result of `ExternalSimulator.parse` for a design that cannot be built.

    Example:
      >>> Infeasible("the cache has more ways than lines").reason
      'the cache has more ways than lines'
    """

    reason: str
    """One of the simulator's `model_reasons`."""


class ExternalSimulator(Simulator):
    """A simulator that runs a command-line program once for each design and workload.

    Implementations give `spec`, `workloads`, `command` and `parse`. A
    run has a process group and an empty temporary folder of its own, and does not outlive the
    process that started it, not even where that is killed by SIGKILL. One that ends with an exit
    code, takes too long, prints too much or prints what `parse` cannot read is a failure of that
    design; the search continues.

    Example:
      >>> import sys
      >>> from archgym.evaluation.metrics import MetricSpec
      >>> from archgym.evaluation.objective import Objective, Term
      >>> from archgym.evaluation.spec import SimulatorSpec
      >>> from archgym.spaces.parameter import Integer
      >>> from archgym.spaces.space import DesignSpace
      >>> class SumSimulator(ExternalSimulator):
      ...     spec = SimulatorSpec(
      ...         name="sum",
      ...         space=DesignSpace("default", [Integer(name="terms", low=1, high=9)]),
      ...         metrics=(MetricSpec("time_ns", "ns", "minimise", 0.1, "Time of the sum."),),
      ...         objectives={"fast": Objective("fast", (Term("time_ns", "minimise"),))},
      ...         default_objective="fast",
      ...     )
      ...     workloads = {"short": "2.5"}
      ...
      ...     def command(self, design, workload):
      ...         script = f"print({design['terms']} * {workload.content})"
      ...         return [sys.executable, "-c", script]
      ...
      ...     def parse(self, output, design):
      ...         return {"time_ns": float(output)}
      >>> adder = SumSimulator()
      >>> adder.evaluate({"terms": 4}, adder.workload("short"))
      Metrics(time_ns=10)
    """

    workloads: Mapping[str, str] = {"default": ""}
    """Text of each named workload, which `command` understands. Files may be given as well."""
    time_limit_s: ClassVar[float] = 60.0
    """Wall time of one run [s]."""
    output_limit: ClassVar[int] = 10_000_000
    """Bytes that one run may print."""
    memory_limit_bytes: ClassVar[int | None] = None
    """Address space of each process of a run [bytes]; None for no limit."""
    environment: ClassVar[Mapping[str, str | None]] = {}
    """Environment variables that a run gets besides `BASE_ENVIRONMENT`, such as those of a
    licence; None as a value passes on this process's own."""
    repeats: ClassVar[int] = 1
    """Runs of each design. Of several, metrics are means, and `NAME_standard_error` metrics, which
    `archgym decide` uses, are added."""
    output_file: ClassVar[str | None] = None
    """File in the run's folder that `parse` gets; None for what the program prints."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        metrics = cls.spec.metrics
        if check_whole("repeats", cls.repeats, 1) > 1:
            metrics = with_standard_errors(metrics, cls.repeats)
        cls.spec = replace(cls.spec, metrics=metrics, is_measured=True)

    @abstractmethod
    def command(self, design: Design, workload: Workload) -> Sequence[str]:
        """Return the program and its arguments; no shell reads them.

        Args:
          design: Canonical and feasible in the space.
          workload: Its `content` is the text from `workloads`, or the path of a file.
        """

    @abstractmethod
    def parse(self, output: str, design: Design) -> Mapping[str, float] | Infeasible:
        """Return every metric by name, or why the design cannot be built."""

    def workload_names(self) -> tuple[str, ...]:
        """Return the names in `workloads`."""
        return tuple(self.workloads)

    def workload(self, name: str | Path) -> Workload:
        """Return the workload with this name, or the file at this path.

        Raises:
          UnknownNameError: Neither a name nor a file.
        """
        if str(name) in self.workloads:
            text = self.workloads[str(name)]
            return Workload(str(name), self._digest(hashlib.sha256(text.encode())), text)
        path = Path(name).absolute()
        if not path.is_file():
            raise unknown_name("workload", str(name), self.workloads)
        digest = hashlib.sha256()
        with storage_errors(path, "read"), open_file(path) as handle:
            while block := handle.read(_BLOCK):
                digest.update(block)
        return Workload(path.name, self._digest(digest), str(path))

    def _digest(self, content: Any) -> str:
        if self.repeats > 1:
            content.update(f"\0{self.repeats} runs".encode())
        return str(content.hexdigest())

    @final
    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Run the program for one design after the other."""
        values = np.full((len(indices), len(self.metrics)), np.nan)
        reason = np.zeros(len(indices), dtype=np.int16)
        failures: dict[int, str] = {}
        for row, design in enumerate(self.space.designs(indices)):
            try:
                runs: list[np.ndarray] = []
                while len(runs) < self.repeats and not reason[row]:
                    result = self._run(design, workload)
                    if isinstance(result, Infeasible):
                        reason[row] = self._reason(result)
                    else:
                        runs.append(self._numbers(result))
                if not reason[row]:
                    values[row] = mean_of_runs(runs, self.metrics)
                    check_values(self, values[row][None, :], workload)
            except SimulatorError as error:
                reason[row] = FAILED
                failures[row] = str(error)
        return BatchResult(values, reason, failures)

    def _run(self, design: Design, workload: Workload) -> Mapping[str, float] | Infeasible:
        command = [str(part) for part in self.command(design, workload)]
        output = run_program(
            command,
            self.time_limit_s,
            self.output_limit,
            self.output_file,
            memory_limit_bytes=self.memory_limit_bytes,
            environment=self.environment,
        )
        try:
            return self.parse(output, design)
        except SimulatorError:
            raise
        # What a person's parser raises on strange output is theirs to choose.
        except Exception as error:
            raise SimulatorError(
                f"Output of {_shown(command)} must be readable; `parse` raised "
                f"{type(error).__name__}: {error_text(error)}.{_shown_tail(output.encode())}"
            ) from error

    def _reason(self, result: Infeasible) -> int:
        if result.reason not in self.spec.model_reasons:
            raise SimulatorError(
                f"`parse` must give one of `model_reasons`, {self.spec.model_reasons!r}; "
                f"got {result.reason!r}."
            )
        return self.spec.reasons.index(result.reason, 1)

    def _numbers(self, result: Any) -> np.ndarray:
        if not isinstance(result, Mapping):
            raise SimulatorError(
                "`parse` must return a mapping of metrics to numbers, or Infeasible; "
                f"got {result!r:.200}."
            )
        names = given_names(self.metrics, self.repeats)
        missing = [name for name in names if name not in result]
        if missing:
            raise SimulatorError(
                f"`parse` must give every metric; {', '.join(f'`{n}`' for n in missing)} missing."
            )
        came = {name: result[name] for name in names}
        try:
            numbers = np.array([float(value) for value in came.values()])
        except (TypeError, ValueError, OverflowError):
            numbers = np.array([np.nan])
        if not np.isfinite(numbers).all():
            raise SimulatorError(f"`parse` must give finite numbers; got {came!r:.200}.")
        return numbers


@final
class RunningPrograms:
    """The programs that one executor's threads run, so that they can be ended together.

    Programs started by a thread inside ``with programs:`` belong to it.
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def __enter__(self) -> Self:
        _scopes.stack = [*getattr(_scopes, "stack", []), self]
        return self

    def __exit__(self, *error: object) -> None:
        _scopes.stack = _scopes.stack[:-1]

    def stop(self) -> None:
        """Kill every program that runs, and start no other."""
        self._stopped = True
        # A signal handler may come here while this very thread holds the lock.
        locked = self._lock.acquire(timeout=0.2)
        try:
            groups = list(self._groups)
            for group in groups:
                _ask_to_end(group)
            _wait_for(groups)
            for group in groups:
                _kill_group(group)
        finally:
            if locked:
                self._lock.release()

    def _start(
        self,
        command: Sequence[str],
        folder: str,
        environment: Mapping[str, str],
        limits: _Limits,
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise StudyInterrupted("The study was stopped; no other program starts.")
            _watchdog.ready()
            process = _start(command, folder, environment, limits)
            _watchdog.watch(process.pid)
            self._groups.add(process.pid)
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            _end(process)
            self._groups.discard(process.pid)


_scopes = threading.local()
_watchdog = Watchdog()


def run_program(
    command: Sequence[str],
    time_limit_s: float,
    output_limit: int = ExternalSimulator.output_limit,
    output_file: str | None = None,
    *,
    memory_limit_bytes: int | None = None,
    environment: Mapping[str, str | None] | None = None,
) -> str:
    """Run a program and return its standard output, or the content of `output_file`.

    Args:
      command, time_limit_s, output_limit: As in `run_in_folder`; so do the others.
      output_file: Path relative to the program's folder, which is empty at first.
    """
    printed, written = run_in_folder(
        command,
        {},
        () if output_file is None else (output_file,),
        time_limit_s,
        output_limit,
        memory_limit_bytes=memory_limit_bytes,
        environment=environment,
    )
    return written[0] if written else printed


def run_in_folder(
    command: Sequence[str],
    files: Mapping[str, str | bytes],
    output_files: Sequence[str],
    time_limit_s: float,
    output_limit: int,
    *,
    memory_limit_bytes: int | None = None,
    file_limit_bytes: int | None = None,
    environment: Mapping[str, str | None] | None = None,
) -> tuple[str, list[str]]:
    """Run a program in a new folder with some files, and return what it printed and wrote.

    It runs under a supervisor in its own process group. Both are killed at the end together with
    all processes that the program has started, also daemons with a session and an environment of
    their own (on Linux; elsewhere daemons whose environment has our mark). Its temporary folder
    holds the files at first and is removed afterwards; folders that a killed process left are
    removed at the next start.

    Args:
      command: The program and its arguments.
      files: Contents by path relative to its folder.
      output_files: Paths relative to its folder.
      time_limit_s: Wall time it may take [s].
      output_limit: Bytes it may print, and that each of `output_files` may have.
      memory_limit_bytes: Address space of each of its processes [bytes]; None for no limit.
      file_limit_bytes: Size of each file that it writes [bytes]; None for no limit.
      environment: Variables besides `BASE_ENVIRONMENT`; None as a value passes on our own.

    Returns:
      Standard output, and the content of each of `output_files`.

    Raises:
      SimulatorError: It fails, takes too long or prints too much; the message has the command, the
        exit code and the last 20 lines.
      InvalidArgumentError: There is no such program.
    """
    time_limit_s = check_number("time_limit_s", time_limit_s, 1e-9)
    stack = getattr(_scopes, "stack", [])
    programs = stack[-1] if stack else RunningPrograms()
    name = secrets.token_hex(8)
    limits = (memory_limit_bytes, file_limit_bytes)
    written: list[str] = []
    with _run_folder() as folder:
        for path, content in files.items():
            place = make_folder((Path(folder) / path).parent) / PurePosixPath(path).name
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        variables = _variables(environment or {}, folder) | mark(name)
        process = programs._start(command, folder, variables, limits)
        try:
            output, tail, problem = _watch(process, time_limit_s, output_limit)
        finally:
            if not _has_ended(process):
                _ask_to_end(process.pid)
                _wait_for([process.pid])
            programs._end(process)
            kill_marked(name)
        if problem is None and process.returncode:
            problem = f"ended with exit code {process.returncode}"
        for path in output_files if problem is None else ():
            content, problem = _read(Path(folder) / path, output_limit)
            if problem is not None:
                break
            written.append(content.decode(errors="replace"))
    if problem is not None:
        raise SimulatorError(f"Program {_shown(command)} {problem}.{_shown_tail(tail)}")
    return output.decode(errors="replace"), written


BASE_ENVIRONMENT = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TZ",
    "USER",
)
"""Environment variables of this process that external programs get. Others may hold secrets, or
make results depend on who runs them."""


def _variables(chosen: Mapping[str, str | None], folder: str) -> dict[str, str]:
    """Return the environment of a run, whose temporary files go to its folder."""
    variables = {name: os.environ[name] for name in BASE_ENVIRONMENT if name in os.environ}
    variables["TMPDIR"] = folder
    for name, value in chosen.items():
        if value is not None:
            variables[name] = value
        elif name in os.environ:
            variables[name] = os.environ[name]
    return variables


def _limit(pid: int, limits: _Limits) -> None:
    # From outside, since code that runs between fork and exec is not safe with threads.
    for kind, most in zip((resource.RLIMIT_AS, resource.RLIMIT_FSIZE), limits, strict=True):
        if most is not None:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, kind, (most, most))


@contextmanager
def _run_folder() -> Iterator[str]:
    """Make an empty folder for a run, and remove those whose process was killed."""
    root = Path(tempfile.gettempdir()) / f"archgym-programs-{os.getuid()}"
    with suppress(FileExistsError):
        root.mkdir(mode=0o700)
    status = root.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
        with scratch_folder(root) as folder:
            yield str(folder)
    else:
        # Somebody else has taken the name.
        with tempfile.TemporaryDirectory(prefix="archgym-", ignore_cleanup_errors=True) as private:
            yield private


def _start(
    command: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    limits: _Limits,
) -> subprocess.Popen[bytes]:
    try:
        supervised = _supervised(command, folder, environment, limits)
        process = subprocess.Popen(
            supervised or command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if supervised is None:
            _limit(process.pid, limits)
        return process
    except (FileNotFoundError, PermissionError, NotADirectoryError, IndexError) as error:
        raise InvalidArgumentError(
            f"`command` must name a program that can be run; got {_shown(command)}: {error}. "
            "Install it, or give its whole path."
        ) from None


def _supervised(
    command: Sequence[str], folder: str, environment: Mapping[str, str], limits: _Limits
) -> list[str] | None:
    """Return the command under a supervisor; None if there can be none.

    Raises:
      FileNotFoundError, PermissionError, IndexError: The program cannot be run.
    """
    if sys.platform != "linux" or not sys.executable:
        return None
    name = command[0]
    path = Path(folder) / name if "/" in name else shutil.which(name, path=environment.get("PATH"))
    if path is None or not Path(path).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if Path(path).is_dir() or not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    own = [sys.executable, "-I", "-S", str(_SUPERVISOR), str(os.getpid())]
    return [*own, *(str(most or 0) for most in limits), *command]


def _ask_to_end(pid: int) -> None:
    """Ask a supervisor to kill all that its program has started, and to end."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGTERM)


def _wait_for(pids: Sequence[int]) -> None:
    """Wait a moment until children have ended, without reaping them."""
    deadline = time.monotonic() + _SUPERVISOR_S
    for pid in pids:
        while not _is_dead(pid) and time.monotonic() < deadline:
            time.sleep(0.005)


def _watch(
    process: subprocess.Popen[bytes], time_limit_s: float, output_limit: int
) -> tuple[bytes, bytes, str | None]:
    """Return standard output, the last of both outputs, and what went wrong."""
    assert process.stdout is not None
    assert process.stderr is not None
    output: list[bytes] = []
    tail = b""
    n_bytes = 0
    deadline = time.monotonic() + time_limit_s
    ended_at: float | None = None
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            now = time.monotonic()
            if ended_at is None and _has_ended(process):
                ended_at = now
            # A grandchild may keep the pipes open after the program's end.
            if ended_at is not None and now > ended_at + _DRAIN_S:
                break
            if now > deadline:
                return b"", tail, f"took longer than {time_limit_s:g} s"
            for key, _ in selector.select(min(0.1, deadline - now)):
                piece = _read_piece(key.fd)
                if not piece:
                    selector.unregister(key.fileobj)
                    continue
                n_bytes += len(piece)
                tail = (tail + piece)[-_TAIL_BYTES:]
                if key.fileobj is process.stdout:
                    output.append(piece)
                if n_bytes > output_limit:
                    return b"", tail, f"printed more than {output_limit} bytes"
    # The pipes are closed; a program may continue without them.
    while not _has_ended(process):
        if time.monotonic() > deadline:
            return b"", tail, f"took longer than {time_limit_s:g} s"
        time.sleep(0.005)
    return b"".join(output), tail, None


def _read_piece(pipe: int) -> bytes:
    try:
        return os.read(pipe, 65536)
    except BlockingIOError:
        return b""


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return _is_dead(process.pid)


def _is_dead(pid: int) -> bool:
    # Without reaping it: its number must not go to another process before its group is killed.
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    _kill_group(process.pid)
    # Before it is reaped, after which another process may get its number.
    _watchdog.forget(process.pid)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _read(path: Path, limit: int) -> tuple[bytes, str | None]:
    try:
        with open_file(path) as handle:
            content = handle.read(limit + 1)
    except OSError:
        return b"", f"wrote no file {path.name!r}"
    return content, f"wrote more than {limit} bytes" if len(content) > limit else None


def _shown(command: Sequence[str]) -> str:
    text = " ".join(command)
    return repr(text if len(text) <= 500 else text[:497] + "...")


def _shown_tail(output: bytes) -> str:
    lines = output[-_TAIL_BYTES:].decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
    if not lines:
        return " It printed nothing."
    return " Its last lines:\n" + "\n".join(lines)
