"""Streams of requests: sessions at a number that are live, and identities of their blocks."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np

from archgym.simulators.kit import InvalidArgumentError, report_loss
from archgym.simulators.kv.formats.trace import (
    MAX_REQUESTS,
    MAX_TIME_MS,
    Agent,
    Ints,
    RequestTrace,
    SessionTrace,
    Trace,
    Turn,
)
from archgym.simulators.kv.workloads.arrays import NEVER, Arrivals, Blocks, Dependencies, Shorts

_SHARED: Final = 2**22
"""chosen: pieces of a shared prefix at most, far above any system prompt."""
_MAX_USES: Final = 2


@final
@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """Choice of requests from a trace; `first` and `last` cut the stream, 0 for its end.

    Attributes:
      skip_sessions, sessions: Sessions of the file that are left out at first, then taken; 0 for
        all.
      live: Sessions that are live at a time.
      stagger_ms: Time between the starts of the first sessions [ms].
      think_cap_ms: Longest pause of an agent [ms].
      link: True if outputs become the text of the next prompt.
      shared_prefix: True if agents with the same tools and system prompt share their blocks.
      prompt_div, ms_per_output: Service time of requests without a recorded one: prompt tokens
        over the former plus output tokens times the latter [ms].
    """

    first: int = 0
    last: int = 0
    skip_sessions: int = 0
    sessions: int = 0
    live: int = 8
    stagger_ms: int = 20_000
    think_cap_ms: int = 600_000
    link: bool = True
    shared_prefix: bool = True
    prompt_div: int = 10
    ms_per_output: int = 30


@final
@dataclass(frozen=True)
class Stream:
    """Requests in the order of arrival.

    Attributes:
      arrivals: Times and lengths.
      known: (n,), tokens of which the identity is known.
      n_ids: (n,), pieces of the prompt that have an id.
      nodes, node_start: Nodes of the trie of known pieces, request after request.
      n_nodes: Number of nodes.
      piece: Tokens of a piece.
      agent, session: (n,), numbers of the agent and of the session.
      is_last: (n,), 1 if no request of the same agent follows.
      dependencies: Order within sessions; None for requests with arrival times.
    """

    arrivals: Arrivals
    known: Ints
    n_ids: Ints
    nodes: Shorts
    node_start: Ints
    n_nodes: int
    piece: int
    agent: Shorts
    session: Shorts
    is_last: Shorts
    dependencies: Dependencies | None

    def __len__(self) -> int:
        return len(self.known)

    def blocks(self, block: int) -> "StreamBlocks":
        """Return the requests as blocks.

        Raises:
          InvalidArgumentError: The size does not fit the pieces of the trace.
        """
        if self.piece % block and block % self.piece:
            raise InvalidArgumentError(
                f"`block_tokens` must divide {self.piece} or be a multiple of it, as the trace has "
                f"pieces of {self.piece} tokens; got {block}."
            )
        # Compiled code is loaded with the first blocks, not with the simulator.
        from archgym.simulators.kv.workloads.blocks import number_blocks

        computed = self.arrivals.prompt + self.arrivals.output - 1
        start = np.concatenate([[0], np.cumsum(computed // block)])
        chain = np.empty(start[-1], dtype=np.int32)
        label = np.full(self.n_nodes * max(1, self.piece // block), -1, dtype=np.int32)
        n = number_blocks(
            self.nodes, self.node_start, self.known, block, self.piece, label, chain, start
        )
        made = Blocks(
            chain, start, self.arrivals.prompt // block, (self.arrivals.prompt - 1) // block,
            -(-computed // block), np.zeros(0, dtype=np.int32),
        )  # fmt: skip
        return StreamBlocks(self, block, made, int(n))


@final
@dataclass
class StreamBlocks:
    """Requests of a stream as blocks of one size.

    Attributes:
      stream: The stream.
      block: Tokens of a block.
      blocks: Blocks of requests.
      n_identities: Number of different blocks.
    """

    stream: Stream
    block: int
    blocks: Blocks
    n_identities: int
    _uses: dict[tuple[int, bool], tuple[Blocks, Shorts]] = field(default_factory=dict, repr=False)

    def with_next_uses(self, most: int, *, prompts_only: bool = False) -> tuple[Blocks, Shorts]:
        """Return the blocks with their next uses, and the first use of each identity.

        Args:
          most: Blocks of a request that is not rejected, at most.
          prompts_only: True for requests that overlap.
        """
        most = min(most, int(self.blocks.need.max(initial=0)))
        found = self._uses.get((most, prompts_only))
        if found is None:
            from archgym.simulators.kv.workloads.blocks import find_next_uses

            upcoming = np.full(self.n_identities, NEVER, dtype=np.int32)
            next_use = np.full_like(self.blocks.chain, NEVER)
            found = self.blocks._replace(next_use=next_use), upcoming
            find_next_uses(found[0], upcoming, most, prompts_only)
            # The latest pair serves the next designs; few have requests that are rejected.
            self._uses[most, prompts_only] = found
            while len(self._uses) > _MAX_USES:
                self._uses.pop(next(iter(self._uses)), None)
        return found[0], found[1].copy()


def stream_of(trace: Trace, settings: StreamSettings) -> Stream:
    """Return the stream of a trace.

    Raises:
      InvalidArgumentError: No request is left.
    """
    if isinstance(trace, RequestTrace):
        if settings.skip_sessions or settings.sessions:
            report_loss(
                "`skip_sessions` and `sessions` have no effect on a trace of requests alone, which "
                "`first` and `last` cut"
            )
        return _requests_stream(trace, settings)
    return _Sessions(trace, settings).stream()


def _cut(n: int, settings: StreamSettings) -> slice:
    last = min(settings.last or n, n)
    if settings.first >= last:
        raise InvalidArgumentError(
            f"`first` must be below {last:,}, the number of requests; got {settings.first:,}."
        )
    return slice(settings.first, last)


def _requests_stream(trace: RequestTrace, settings: StreamSettings) -> Stream:
    chosen = _cut(len(trace.time), settings)
    prompt, output = trace.prompt[chosen], np.maximum(trace.output[chosen], 1)
    service = prompt // max(1, settings.prompt_div) * (settings.prompt_div > 0)
    service = np.maximum(1, service + settings.ms_per_output * trace.output[chosen])
    start = trace.start[chosen.start : chosen.stop + 1]
    ids = trace.ids[start[0] : start[-1]].copy()
    n = len(prompt)
    numbers = np.arange(n, dtype=np.int32)
    nodes, n_nodes = _trie(ids, start - start[0])
    return Stream(
        Arrivals(trace.time[chosen], service, prompt, output),
        trace.known[chosen], np.diff(start), nodes, start - start[0], n_nodes,
        trace.piece, numbers, numbers, np.ones(n, dtype=np.int32), None,
    )  # fmt: skip


def _trie(ids: Ints, start: Ints) -> tuple[Shorts, int]:
    """Return the nodes of pieces, and how many there are; `ids` is used up."""
    n = len(ids)
    size = 1 << max(4, (2 * n).bit_length())
    table = np.full(size, -1, dtype=np.int32)
    parent, piece = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int64)
    from archgym.simulators.kv.workloads.blocks import make_trie

    n_nodes = make_trie(ids, start, table, parent, piece)
    return ids.astype(np.int32), int(n_nodes)


@dataclass(slots=True)
class _Request:
    """A request of a session while the stream is made; times count from the session's start."""

    issue_ms: int
    session: int
    agent: int
    number: int
    turn: Turn
    ids: Ints
    before: list[tuple["_Request", int]]
    following: "_Request | None" = None


class _Sessions:
    """Sessions on their way to a stream."""

    def __init__(self, trace: SessionTrace, settings: StreamSettings) -> None:
        low = settings.skip_sessions
        high = low + settings.sessions if settings.sessions else len(trace.sessions)
        self._chosen = trace.sessions[low:high]
        what = (
            f"sessions must be 0 to {len(trace.sessions) - 1:,} of the trace; got {low:,} to "
            f"{max(low, high - 1):,}"
        )
        if not self._chosen:
            raise InvalidArgumentError(f"{what}.")
        if high > len(trace.sessions):
            report_loss(f"{what}, of which {len(self._chosen):,} run")
        self._settings = settings
        self._piece = trace.piece
        self._pairs: dict[tuple[int, int], int] = {}
        self._n_agents = 0

    def stream(self) -> Stream:
        """Return the requests of all sessions in the order of arrival."""
        requests: list[tuple[int, _Request]] = []
        base, ends = 0, list[int]()
        for number, agent in enumerate(self._chosen):
            start = number * self._settings.stagger_ms
            if number >= max(1, self._settings.live):
                start = heapq.heappop(ends)
            found: list[_Request] = []
            self._n_agents = 0
            end, _ = self._walk(agent, number, base, 0, [], found)
            heapq.heappush(ends, start + end)
            largest = max((int(each.turn.ids.max(initial=-1)) for each in found), default=-1)
            base += largest + 1
            requests += [(start + each.issue_ms, each) for each in found]
            if len(requests) > MAX_REQUESTS or start + end > MAX_TIME_MS:
                raise InvalidArgumentError(
                    f"A stream must have at most {MAX_REQUESTS:,} requests within "
                    f"{MAX_TIME_MS:,} ms; take fewer `sessions`, or a smaller `think_cap_ms`."
                )
        requests.sort(key=lambda pair: (pair[0], pair[1].session, pair[1].agent, pair[1].number))
        chosen = requests[_cut(len(requests), self._settings)]
        return self._assembled(chosen)

    def _walk(
        self,
        agent: Agent,
        session: int,
        base: int,
        clock: int,
        sources: list[_Request],
        found: list[_Request],
    ) -> tuple[int, list[_Request]]:
        """Run an agent's items at nominal times; return its end, and the requests it waits for."""
        me = self._n_agents
        self._n_agents += 1
        end, end_sources = clock, list(sources)
        joined, joins = clock, list[_Request]()
        number, before = 0, None
        shared = self._shared_pieces(agent, base)
        for item in agent.items:
            if isinstance(item, Agent):
                at, waits = self._walk(item, session, base, clock, sources, found)
                joined = max(joined, at)
                joins += waits
                continue
            think = min(item.think_ms, self._settings.think_cap_ms)
            issue = max(clock + think, joined)
            waits_for = [(each, think) for each in sources] + [(each, 0) for each in joins]
            ids = self._global(item, base, shared)
            request = _Request(issue, session, me, number, item, ids, waits_for)
            found.append(request)
            if before is not None:
                before.following = request
            before, number = request, number + 1
            clock = issue + item.service_ms
            sources, joined, joins = [request], clock, []
            end, end_sources = max(end, clock), [request]
        # Sub-agents that no request follows.
        return max(end, joined), end_sources + joins

    def _shared_pieces(self, agent: Agent, base: int) -> tuple[Ints, int]:
        """Return the pieces that an agent shares, and the number of their identities."""
        first = next((item for item in agent.items if isinstance(item, Turn)), None)
        if first is None or not self._settings.shared_prefix:
            return np.zeros(0, dtype=np.int64), 0
        n = sum(agent.shared_tokens) // self._piece
        pair = self._pairs.setdefault(agent.shared_tokens, len(self._pairs))
        return first.ids[: min(n, _SHARED)], pair

    def _global(self, turn: Turn, base: int, shared: tuple[Ints, int]) -> Ints:
        ids = turn.ids + base
        pieces, pair = shared
        n = min(len(pieces), len(ids))
        differs = np.flatnonzero(turn.ids[:n] != pieces[:n])
        n = int(differs[0]) if len(differs) else n
        ids[:n] = -1 - pair * _SHARED - np.arange(n)
        return ids

    def _known(self, request: _Request) -> Ints:
        following = request.following
        if self._settings.link and following is not None:
            n = len(request.ids)
            if len(following.ids) >= n and np.array_equal(following.ids[:n], request.ids):
                return following.ids
        return request.ids

    def _assembled(self, chosen: list[tuple[int, _Request]]) -> Stream:
        requests = [request for _, request in chosen]
        known = [self._known(request) for request in requests]
        start = np.concatenate([[0], np.cumsum([len(ids) for ids in known])])
        nodes, n_nodes = _trie(np.concatenate(known) if known else np.zeros(0, np.int64), start)
        turns = [request.turn for request in requests]

        def column(values: Iterator[int], kind: Any = np.int64) -> Any:
            return np.fromiter(values, dtype=kind, count=len(requests))

        agents: dict[tuple[int, int], int] = {}
        pairs = [(request.session, request.agent) for request in requests]
        numbers = [agents.setdefault(pair, len(agents)) for pair in pairs]
        arrivals = Arrivals(
            column(time for time, _ in chosen),
            column(max(1, turn.service_ms) for turn in turns),
            column(turn.prompt for turn in turns),
            column(max(1, turn.output) for turn in turns),
        )
        return Stream(
            arrivals,
            self._piece * np.diff(start),
            column(len(request.ids) for request in requests),
            nodes, start, n_nodes, self._piece,
            column(iter(numbers), np.int32),
            column((request.session for request in requests), np.int32),
            column((request.following is None for request in requests), np.int32),
            _dependencies(requests),
        )  # fmt: skip


def _dependencies(requests: list[_Request]) -> Dependencies:
    """Return the order within sessions; requests that the stream leaves out are not waited for."""
    place = {id(request): n for n, request in enumerate(requests)}
    edges = [
        (place[id(before)], n, delay)
        for n, request in enumerate(requests)
        for before, delay in request.before
        if id(before) in place
    ]
    edges.sort()
    table = np.array(edges, dtype=np.int64).reshape(-1, 3)
    n = len(requests)
    start = np.searchsorted(table[:, 0], np.arange(n + 1))
    n_before = np.bincount(table[:, 1], minlength=n)
    return Dependencies(start, table[:, 1].copy(), table[:, 2].copy(), n_before)
