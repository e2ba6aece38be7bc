"""Draw requests from ServeGen's clients, as a trace that `archgym kv` and `--workload` take.

    python examples/servegen_requests.py FOLDER trace.jsonl --seconds 600

FOLDER holds the clients of a model, as github.com/alibaba/ServeGen publishes them: rates in windows
of time, and distributions of lengths.
"""

import argparse
import ast
import csv
import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.errors import FileFormatError
from archgym.files.storage import storage_errors
from archgym.simulators.kv.formats.trace import Ints
from archgym.traces.requests import lines_of

_WINDOW_S: Final = 600.0
_MOST: Final = 10**6  # chosen: requests of a window; no recorded client has a thousandth of it.


def generate(folder: Path, seconds: float, seed: int, start_s: float = 0.0) -> list[dict[str, Any]]:
    """Return requests of all clients of a folder, in the order of arrival, as Mooncake's lines.

    Args:
      folder: Folder with `chunk-N-trace.csv` and `chunk-N-dataset.json`, plain or compressed.
      seconds: Length of the trace [s].
      seed: Random seed.
      start_s: Time in ServeGen's week at which it begins [s].

    Raises:
      FileFormatError: The folder has no client, or a file is not as it must be.
    """
    found = []
    clients = sorted(folder.glob("chunk-*-trace.csv*"))
    if not clients:
        raise FileFormatError(folder, None, "a folder must have files chunk-N-trace.csv")
    for client, children in zip(
        clients, np.random.SeedSequence(seed).spawn(len(clients)), strict=True
    ):
        rng = np.random.default_rng(children)
        name = client.name.replace("-trace.csv", "-dataset.json")
        lengths = _lengths(client.with_name(name))
        for number, text in lines_of(client):
            cells = next(csv.reader([text]))
            try:
                begin, rate, cv = (float(cell) for cell in cells[:3])
                shape = float(cells[4] or 0)
            except (ValueError, IndexError):
                what = f"a window must have a start, a rate and a variation; got {text[:60]!r}"
                raise FileFormatError(client, number, what) from None
            low, high = max(begin, start_s), min(begin + _WINDOW_S, start_s + seconds)
            if low >= high or rate <= 0.0 or not math.isfinite(rate * cv):
                continue
            times = _arrivals(rng, rate, cv, cells[3], shape, high - low)
            prompt, output = (_draw(rng, values, begin, len(times)) for values in lengths)
            for time, tokens, answer in zip(times, prompt, output, strict=True):
                at = int(1000.0 * (low - start_s + time))
                found.append((at, max(1, int(tokens)), int(answer)))
    found.sort()
    names = ("timestamp", "input_length", "output_length")
    return [{**dict(zip(names, each, strict=True)), "hash_ids": []} for each in found]


def _arrivals(
    rng: np.random.Generator, rate: float, cv: float, family: str, shape: float, seconds: float
) -> Any:
    """Return arrival times within a window [s]."""
    n = min(_MOST, int(rate * seconds * 2.0) + 20)
    if family == "Weibull" and shape > 0.0:
        gaps = rng.weibull(shape, n) / (rate * math.gamma(1.0 + 1.0 / shape))
    elif family == "Gamma" and cv > 0.0:
        gaps = rng.gamma(1.0 / cv**2, cv**2 / rate, n)
    else:
        gaps = rng.exponential(1.0 / rate, n)
    times = np.cumsum(gaps)
    return times[times < seconds]


def _lengths(path: Path) -> tuple[Mapping[float, Any], Mapping[float, Any]]:
    """Return distributions of prompt and output lengths by window, without empty ones."""
    try:
        with (
            storage_errors(path, "read"),
            gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as handle,
        ):
            windows = json.load(handle)
        found: tuple[dict[float, Any], dict[float, Any]] = ({}, {})
        for window, fields in windows.items():
            for into, name in zip(found, ("input_tokens", "output_tokens"), strict=True):
                values = ast.literal_eval(fields[name])
                if values:
                    into[float(window)] = values
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        SyntaxError,
        AttributeError,
    ) as error:
        what = (
            f"distributions must be texts of dicts by window; {' '.join(str(error).split())[:80]}"
        )
        raise FileFormatError(path, None, what) from None
    if not found[0] or not found[1]:
        raise FileFormatError(path, None, "a client must have a distribution of lengths")
    return found


def _draw(rng: np.random.Generator, windows: Mapping[float, Any], at: float, n: int) -> Ints:
    """Draw lengths from the distribution of the nearest window before, or the first one."""
    window = max((each for each in windows if each <= at), default=min(windows))
    values = windows[window]
    weights = np.array(list(values.values()), dtype=np.float64)
    return rng.choice(np.array(list(values), dtype=np.int64), n, p=weights / weights.sum())


def main() -> None:
    """Write a trace."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0, help="length of the trace")
    parser.add_argument("--start", type=float, default=129_600.0, help="time of the week [s]")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = generate(given.folder, given.seconds, given.seed, given.start)
    if not found:
        parser.error("no client has a request in this time; give another --start")
    given.out.write_text("".join(json.dumps(row) + "\n" for row in found))
    print(f"{len(found):,} requests in {given.seconds:g} s")


if __name__ == "__main__":
    main()
