"""Requests to a server: when they come, how long they are; read from traces or drawn."""

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import (
    FileFormatError,
    InvalidArgumentError,
    check_choice,
    check_number,
    check_whole,
    report_loss,
)
from archgym.traces.requests import PIECE_TOKENS, read_rows

# chosen: a day of the busiest public trace, and more tokens than any model reads at once.
MAX_REQUESTS: Final = 1_000_000
MAX_TOKENS: Final = 10_000_000
_MAX_ARRIVAL_S: Final = 1e8
_NS_PER_S: Final = 1e9
ARRIVALS: Final = ("poisson", "gamma", "on-off", "at-once")
"""Kinds of arrivals of requests."""


@final
@dataclass(frozen=True)
class Requests:
    """n requests in the order in which they come.

    Attributes:
      arrival_ns: (n,) int64, from 0, never falling [ns].
      prompt_tokens: (n,) int32, 1 or more.
      output_tokens: (n,) int32, 1 or more.
      name: Name.
      hash_ids: Numbers of each prompt's first blocks of `PIECE_TOKENS` tokens, by request;
        prompts whose numbers begin alike begin alike. Empty where nothing is known.
      counted_from: First request that counts: those before it only spread clients over time.
    """

    arrival_ns: npt.NDArray[np.int64]
    prompt_tokens: npt.NDArray[np.int32]
    output_tokens: npt.NDArray[np.int32]
    name: str = ""
    hash_ids: tuple[tuple[int, ...], ...] = ()
    counted_from: int = 0

    def __post_init__(self) -> None:
        n = len(self.arrival_ns)
        if not 1 <= n <= MAX_REQUESTS:
            raise InvalidArgumentError(f"Requests must be 1 to {MAX_REQUESTS}; got {n}.")
        wanted = {"arrival_ns": np.int64, "prompt_tokens": np.int32, "output_tokens": np.int32}
        for name, kind in wanted.items():
            column = getattr(self, name)
            if column.dtype != kind or column.shape != (n,):
                raise InvalidArgumentError(
                    f"`{name}` must have shape {(n,)} and type {np.dtype(kind)}; got "
                    f"{column.shape}, {column.dtype}."
                )
        if self.arrival_ns[0] < 0 or (np.diff(self.arrival_ns) < 0).any():
            raise InvalidArgumentError("`arrival_ns` must be 0 or more and never fall.")
        if self.hash_ids and len(self.hash_ids) != n:
            raise InvalidArgumentError(
                f"`hash_ids` must have an entry for each of {n} requests; got {len(self.hash_ids)}."
            )
        for name in ("prompt_tokens", "output_tokens"):
            column = getattr(self, name)
            if column.min() < 1 or column.max() > MAX_TOKENS:
                raise InvalidArgumentError(
                    f"`{name}` must be from 1 to {MAX_TOKENS}; got {column.min()} to "
                    f"{column.max()}."
                )

    def __len__(self) -> int:
        return len(self.arrival_ns)

    @property
    def digest(self) -> str:
        """SHA-256 of everything but the name."""
        found = sha256()
        for column in (self.arrival_ns, self.prompt_tokens, self.output_tokens):
            found.update(np.ascontiguousarray(column).tobytes())
        if self.hash_ids:
            found.update(repr(self.hash_ids).encode())
        return found.hexdigest()

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens whose routing a request needs: its prompt and all outputs but the last."""
        return self.prompt_tokens.astype(np.int64) + self.output_tokens - 1

    def repeated(self, n: int) -> "Requests":
        """Return n requests at once, which take the lengths of these in turn.

        Prompts of a later turn begin like no prompt of an earlier one.
        """
        order = np.arange(n) % len(self)
        hashes: tuple[tuple[int, ...], ...] = ()
        if self.hash_ids:
            turns = np.arange(n) // len(self)
            hashes = tuple(
                tuple(number + (int(turn) << 62) for number in self.hash_ids[at])
                for at, turn in zip(order, turns, strict=True)
            )
        return Requests(
            np.zeros(n, dtype=np.int64), self.prompt_tokens[order], self.output_tokens[order],
            self.name, hashes,
        )  # fmt: skip

    def staggered(self, clients: int) -> "Requests":
        """Return these requests with first ones of rising lengths, which do not count.

        Clients whose first outputs are 1/n, 2/n, ... of the usual one are spread over the time of
        a request from then on.
        """
        share = (np.arange(clients) + 1.0) / clients
        outputs = self.output_tokens.copy()
        longest = float(self.output_tokens[:clients].max())
        outputs[:clients] = np.maximum(2, np.round(longest * share))
        return replace(self, output_tokens=outputs, counted_from=clients)

    def arriving(self, rate_per_s: float, seed: int = 7) -> "Requests":
        """Return these requests with Poisson arrivals, as a benchmark's client sends them.

        Args:
          rate_per_s: Mean rate [1/s].
          seed: Random seed.
        """
        gaps_s = np.random.default_rng(seed).exponential(1.0 / rate_per_s, len(self))
        arrival_s = np.cumsum(gaps_s) - gaps_s[0]
        return replace(self, arrival_ns=np.rint(arrival_s * _NS_PER_S).astype(np.int64))

    def capped(self, output_tokens: int) -> "Requests":
        """Return these requests with at most `output_tokens` each."""
        capped = np.minimum(self.output_tokens, output_tokens).astype(np.int32)
        return replace(self, output_tokens=capped)

    def first(self, n: int) -> "Requests":
        """Return the first n requests, or all where there are fewer."""
        check_whole("n", n, 1)
        return Requests(
            self.arrival_ns[:n],
            self.prompt_tokens[:n],
            self.output_tokens[:n],
            self.name,
            self.hash_ids[:n],
        )


def prefix_hits(requests: Requests, n_tokens: int) -> npt.NDArray[np.int64]:
    """Return tokens of each prompt that a prefix cache of this size holds when it comes.

    The cache keeps the blocks that were used last. Requests use it in the order in which they come.
    The last token of a prompt is always read, since it gives the first output.
    """
    found = np.zeros(len(requests), dtype=np.int64)
    room = n_tokens // PIECE_TOKENS
    if room < 1 or not requests.hash_ids:
        return found
    held: OrderedDict[int, None] = OrderedDict()
    for request, hashes in enumerate(requests.hash_ids):
        n_hits = 0
        while n_hits < len(hashes) and hashes[n_hits] in held:
            n_hits += 1
        found[request] = min(n_hits * PIECE_TOKENS, int(requests.prompt_tokens[request]) - 1)
        # The first blocks are used last, so that a prefix never lacks its beginning.
        for number in reversed(hashes):
            held[number] = None
            held.move_to_end(number)
        while len(held) > room:
            held.popitem(last=False)
    return found


def generate_requests(
    n: int,
    seed: int,
    *,
    rate_per_s: float,
    prompt_mean: float,
    output_mean: float,
    prompt_spread: float = 0.0,
    output_spread: float = 0.0,
    arrivals: str = "poisson",
    cv: float = 1.0,
    on_s: float = 10.0,
    off_s: float = 10.0,
) -> Requests:
    """Draw requests.

    Args:
      n: Number to draw.
      seed: 0 or more.
      rate_per_s: Mean rate over all time [1/s].
      prompt_mean: Mean length of prompts [tokens].
      output_mean: Mean length of outputs [tokens].
      prompt_spread: Standard deviation of the logarithm of a prompt's length; 0 for equal ones.
      output_spread: That of an output.
      arrivals: `poisson`; `gamma` with the coefficient of variation `cv` between arrivals;
        `on-off`, Poisson in periods of `on_s` with pauses of `off_s` between, both exponential;
        or `at-once`, all at 0.
      cv: See `arrivals`.
      on_s: Mean of a period with arrivals [s].
      off_s: Mean of a pause [s].

    Raises:
      InvalidArgumentError: An argument is outside its limits.
    """
    check_whole("n", n, 1, MAX_REQUESTS)
    check_whole("seed", seed, 0, 2**63 - 1)
    check_choice("arrivals", arrivals, ARRIVALS)
    check_number("rate_per_s", rate_per_s, 1e-6, 1e9)
    check_number("cv", cv, 0.01, 100.0)
    check_number("on_s", on_s, 1e-6, 1e6)
    check_number("off_s", off_s, 0.0, 1e6)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    if arrivals == "at-once":
        gaps_s = np.zeros(n)
    elif arrivals == "gamma":
        shape = 1.0 / cv**2
        gaps_s = rng.gamma(shape, 1.0 / (rate_per_s * shape), n)
    else:
        gaps_s = rng.exponential(1.0 / rate_per_s, n)
    arrival_s = np.cumsum(gaps_s)
    if arrivals == "on-off":
        arrival_s = _spread_over_periods(arrival_s, on_s, off_s, rng)
    arrival_s -= arrival_s[0]
    return Requests(
        np.rint(arrival_s * _NS_PER_S).astype(np.int64),
        _lengths("prompt", n, prompt_mean, prompt_spread, rng),
        _lengths("output", n, output_mean, output_spread, rng),
        arrivals,
    )


def uniform_requests(n: int, prompt: int, output: int, shortest: float, seed: int = 7) -> Requests:
    """Return n requests at once with uniform lengths, as a benchmark's client draws them.

    Args:
      n: Number to draw.
      prompt: Longest prompt [tokens].
      output: Longest output [tokens].
      shortest: Share of the longest that the shortest has.
      seed: Random seed.
    """
    rng = np.random.default_rng(seed)
    lengths = [
        rng.integers(max(1, int(shortest * longest)), longest + 1, n).astype(np.int32)
        for longest in (prompt, output)
    ]
    return Requests(np.zeros(n, dtype=np.int64), lengths[0], lengths[1], "uniform")


def _spread_over_periods(
    arrival_s: npt.NDArray[np.float64], on_s: float, off_s: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Put pauses between arrivals; time is first compressed, so that the mean rate stays."""
    busy = arrival_s * on_s / (on_s + off_s)
    ends = [0.0]
    while ends[-1] < busy[-1] and len(ends) <= MAX_REQUESTS:
        ends.extend(ends[-1] + np.cumsum(rng.exponential(on_s, 256)))
    pauses = np.concatenate(([0.0], np.cumsum(rng.exponential(off_s, len(ends)))))
    return busy + pauses[np.searchsorted(ends[1:], busy)]


def _lengths(
    what: str, n: int, mean: float, spread: float, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    check_number(f"{what}_mean", mean, 1.0, MAX_TOKENS)
    check_number(f"{what}_spread", spread, 0.0, 10.0)
    # The mean of a log-normal number is exp(mu + spread**2 / 2).
    drawn = np.exp(math.log(mean) - spread**2 / 2 + spread * rng.standard_normal(n))
    clipped = int(((drawn < 0.5) | (drawn > MAX_TOKENS + 0.5)).sum())
    if clipped:
        report_loss(
            f"{what}: {clipped:,} of {n:,} drawn lengths are clipped to 1 to {MAX_TOKENS:,} "
            f"tokens; choose another `{what}_mean` or `{what}_spread`."
        )
    return np.clip(np.rint(drawn), 1, MAX_TOKENS).astype(np.int32)


def read_requests(path: str | Path, limit: int = MAX_REQUESTS) -> Requests:
    """Read a trace: Azure's or BurstGPT's CSV, Mooncake's JSONL, or one with our own names.

    Our names are arrival_s, prompt_tokens and output_tokens. Arrivals count from the first; lines
    out of order are sorted, and a request that asks for no output counts as asking for one token.
    Objects of JSONL may have `hash_ids`, numbers of the prompt's blocks of 512 tokens.

    Args:
      path: One JSON object a line, or CSV with a heading; may be compressed.
      limit: Lines that are read at most.

    Raises:
      FileFormatError: It holds something else; the error names the line.
      StorageError: It cannot be read.
    """
    path = Path(path)
    check_whole("limit", limit, 1, MAX_REQUESTS)
    rows: list[tuple[float, int, int]] = []
    hashes: list[tuple[int, ...]] = []
    for row in islice(read_rows(path), limit):
        tokens = max(row.prompt, row.output)
        if tokens > MAX_TOKENS:
            what = f"a request must have at most {MAX_TOKENS:,} tokens; got {tokens:,}"
            raise FileFormatError(path, row.line, what)
        if row.ids and row.piece != PIECE_TOKENS:
            what = f"`piece_tokens` must be {PIECE_TOKENS}; got {row.piece}"
            raise FileFormatError(path, row.line, what)
        rows.append((row.arrival_ns, row.prompt, row.output))
        hashes.append(tuple(row.ids))
    if not rows:
        raise FileFormatError(path, None, "the file must hold requests; it has none")
    table = np.array(rows, dtype=np.float64)
    order = np.argsort(table[:, 0], kind="stable")
    table = table[order]
    span_s = float(table[-1, 0] - table[0, 0]) / _NS_PER_S
    if span_s > _MAX_ARRIVAL_S:
        raise FileFormatError(
            path, None, f"arrivals must lie within {_MAX_ARRIVAL_S:g} s; they span {span_s:g} s"
        )
    return Requests(
        np.rint(table[:, 0] - table[0, 0]).astype(np.int64),
        table[:, 1].astype(np.int32),
        table[:, 2].astype(np.int32),
        path.stem,
        tuple(hashes[place] for place in order) if any(hashes) else (),
    )
