"""Child process that compiles and runs rules, with limits on time and memory.

A rule that hangs, faults or kills its process costs that run only. The child sends JSON, never
objects, and cannot open files for writing, start programs or connect to anything.
"""

import ast
import json
import multiprocessing
import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, final

from archgym.checks import check_number
from archgym.errors import (
    ArchGymError,
    FileFormatError,
    SimulatorError,
    UnknownNameError,
    error_text,
)
from archgym.rules.domain import Domain
from archgym.rules.domain import domain as known_domain
from archgym.rules.language import RuleSource, bounds_of, check_rule
from archgym.runtime.closing import Closing

# Problems of rules begin "the policy …": logs record them, and verify compares them.
# chosen: compiling the longest rule takes a quarter of it on a slow machine.
DEFAULT_SECONDS = 60.0
# chosen: Numba needs 1.5 GB of addresses, most of it never touched.
_MEMORY_BYTES = 6 * 2**30
# chosen: compiling the largest kernel takes 40 s on a free core, once for each machine.
_START_SECONDS = 600.0
# chosen: counts take a few kilobytes.
_MAX_ANSWER_BYTES = 1_000_000
# chosen: a compiled rule takes about a megabyte.
_MAX_COMPILED = 64


@final
class RuleRunner(Closing):
    """Child process that serves many runs, so that equal code is compiled once.

    Use it as a context manager.

    Args:
      seconds: Time limit of one run, compilation included [s].
    """

    def __init__(self, seconds: float = DEFAULT_SECONDS) -> None:
        """Keep the limit; the process starts with the first run."""
        self._seconds = check_number("seconds", seconds, 1e-9, 3600)
        self._process: Any = None
        # Domain whose kernels the process has prepared.
        self._prepared = ""
        self._connection: Connection | None = None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def run(
        self, text: str, case: Mapping[str, Any], tuned: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return the counts of a rule on a case.

        Args:
          text: Source of the rule, which has passed `check_rule`.
          case: Input of the domain's simulation; arrays and numbers.
          tuned: Values of tunable constants.

        Returns:
          Counts as the domain defines them; or ``{"problem": text}`` if the rule failed.

        Raises:
          SimulatorError: The process cannot be started.
        """
        try:
            source = check_rule(text)
            self._start(source.domain)
        except (FileFormatError, UnknownNameError) as error:
            return {"problem": " ".join(str(error).split())}
        assert self._connection is not None
        try:
            self._connection.send((text, dict(case), dict(tuned or {})))
            if not self._connection.poll(self._seconds):
                self.close()
                return {
                    "problem": f"the policy took longer than {self._seconds:g} s; its longest hook "
                    f"begins in line {source.longest.lineno}"
                }
            answer = json.loads(self._connection.recv_bytes(_MAX_ANSWER_BYTES))
        except (EOFError, OSError, ValueError, RecursionError):
            code = None if self._process is None else self._process.exitcode
            self.close()
            return {"problem": f"the policy ended its process (exit code {code})"}
        if not isinstance(answer, dict):
            return {"problem": "the policy gave no counts"}
        return answer

    def _start(self, domain: Domain) -> None:
        """Start the process unless it runs and can run rules of the domain."""
        is_ready = domain.prepare is None or self._prepared == domain.name
        if self._process is not None and self._process.is_alive() and is_ready:
            return
        self.close()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._prepared = domain.name
        process = context.Process(target=_serve, args=(theirs, domain.name), daemon=True)
        process.start()
        theirs.close()
        self._process, self._connection = process, ours
        is_ready = ours.poll(_START_SECONDS)
        with suppress(EOFError):
            if is_ready and ours.recv_bytes(16) == b"ready":
                return
        self.close()
        raise SimulatorError(
            "The process for rules did not start. See its output above. A script that evaluates "
            'rules must start under `if __name__ == "__main__":`.'
        )


# ---- in the child


def _serve(connection: Connection, domain_name: str) -> None:
    """Run rules until the parent leaves."""
    import numba  # noqa: F401 - before the limits

    # Imports what simulations need, before files are refused.
    chosen = known_domain(domain_name)
    if chosen.prepare is not None:
        chosen.prepare()
    _limit()
    connection.send_bytes(b"ready")
    compiled: dict[tuple[Any, ...], Any] = {}
    while True:
        try:
            text, case, tuned = connection.recv()
        except EOFError:
            return
        try:
            answer = _run(text, case, tuned, compiled)
        except ArchGymError as error:
            answer = {"problem": " ".join(str(error).split())}
        except MemoryError:
            answer = {"problem": "the policy needs too much memory"}
        except Exception as error:
            # Numba reports types that do not fit by exceptions of several classes.
            lines = [line.strip() for line in error_text(error).splitlines() if line.strip()]
            text = " ".join(
                line for line in lines if not line.startswith(("Failed in nopython", "File "))
            )
            text = text if len(text) <= 300 else f"{text[:300]}…"
            answer = {"problem": f"the policy cannot be compiled: {text}"}
        connection.send_bytes(json.dumps(answer, allow_nan=False).encode())


def _run(
    text: str, case: Mapping[str, Any], tuned: Mapping[str, int], compiled: dict[Any, Any]
) -> dict[str, Any]:
    from archgym.rules.calls import FAULTS
    from archgym.rules.compilation import compile_rule, new_storage

    source = check_rule(text)
    sizes, values = dict(case["sizes"]), dict(case["values"])
    bounds_of(source, values)
    key = (source.domain.name, _structure(source), *sorted(sizes.items()))
    if key not in compiled:
        while len(compiled) >= _MAX_COMPILED:
            compiled.pop(next(iter(compiled)))
        compiled[key] = source.domain.compile(compile_rule(source, sizes).hooks)
    storage = new_storage(source, sizes, values, tuned)
    counts = source.domain.simulate(compiled[key], storage, case)
    code, line = storage.fault
    if code:
        return {"problem": f"line {line}: {FAULTS[code]}" if line else FAULTS[code]}
    return counts


def _structure(source: RuleSource) -> str:
    """Return what decides the machine code: the hooks, and the kinds of names, not their values."""
    kinds = [f"{name}:{type(value).__name__}" for name, value in source.constants.items()]
    arrays = [f"{a.name}:{a.size}:{a.bits}" for a in source.arrays]
    # Bounds of loops are read at run time, so constants are not part of it.
    hooks = [ast.unparse(hook) for hook in source.hooks.values()]
    lines = [str(node.lineno) for hook in source.hooks.values() for node in hook.body]
    return "\n".join([*kinds, *arrays, *hooks, *lines])


def _limit() -> None:
    """Limit memory and files of this process, for good."""
    for what, limit in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (limit, limit))
    sys.addaudithook(_refuse)


_REFUSED = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "socket.")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_REFUSED) or event in ("os.remove", "os.rename", "os.mkdir", "os.symlink"):
        raise PermissionError(f"policies may not use {event}")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
        raise PermissionError("policies may not write files")
