"""Workloads: requests, which experts their tokens use, and what is promised to them."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import FileFormatError, InvalidArgumentError, unknown_name
from archgym.simulators.moe.workloads.composition import composition_routing, llama_composition
from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.presets import model
from archgym.simulators.moe.workloads.requests import (
    Requests,
    generate_requests,
    read_requests,
    uniform_requests,
)
from archgym.simulators.moe.workloads.routing import (
    Routing,
    RoutingPreset,
    generate,
    popularity,
    routing_preset,
)
from archgym.simulators.moe.workloads.routing_trace import read_routing

_NS_PER_MS: Final = 1e6
# chosen: as many as InferenceX's client sends for each request in flight.
WAVES: Final = 10
# chosen: five times the largest public trace of an hour.
_MAX_TRACED: Final = 100_000
# chosen: a minute a design, and some minutes once for routing.
_MAX_TOKENS, _MAX_DRAWN = 50_000_000, 4_000_000_000
# chosen: documents that requests of a trace take in turn, and tokens of each.
_DOCUMENTS, _DOCUMENT_TOKENS = 24, 256
# chosen: a quarter of a recorded document is its prompt, at least a token.
_PROMPT_SHARE: Final = 0.25


@final
@dataclass(frozen=True)
class Promise:
    """When a request counts as well served: both hold.

    Attributes:
      ttft_ms: Most time to its first token [ms].
      tpot_ms: Most time for each further token, on average [ms].
    """

    ttft_ms: float
    tpot_ms: float


@final
@dataclass(frozen=True)
class Client:
    """Behaviour of the clients of a closed loop.

    Attributes:
      uniform: Longest prompt and output [tokens] and the share of them that the shortest has, where
        lengths are uniform; None for the workload's own requests.
      staggered: True if clients start spread over the time of a request.
      waves: Requests of each client; 0 for the workload's requests as they are.
    """

    uniform: tuple[int, int, float] | None = None
    staggered: bool = False
    waves: int = WAVES


@final
@dataclass(frozen=True, eq=False)
class Asked:
    """Requests and routing that designs are evaluated on.

    Attributes:
      name: Name.
      model: Model that is served.
      requests: Requests to serve.
      promise: Promised latencies.
      seed: Random seed of the routing that is generated.
      document_tokens: Tokens of each of the documents whose routing requests take in turn.
      n_documents: Number of documents.
      trace: Routing that was recorded; None if it is generated.
      skew: Zipf exponent over the models of a composition; None for a mixture.
      popularity_skew: Skew that replaces that of the routing preset; None for the preset's.
      topic: Topic strength that replaces that of the routing preset; None for the preset's.
      longest: Tokens of the longest request, also of those that are left out.
      independent: Share of a step's further tokens that choose their experts on their own.
      client: Behaviour of the clients of a closed loop.
    """

    name: str
    model: MoeModel
    requests: Requests
    promise: Promise
    seed: int = 1
    document_tokens: int = 256
    n_documents: int = 8
    trace: Routing | None = None
    skew: float | None = None
    popularity_skew: float | None = None
    topic: float | None = None
    longest: int = 0
    independent: float = 1.0
    client: Client = Client()

    def requests_of(self, clients: int) -> Requests:
        """Return the requests that this number of clients sends; those as they are without clients.

        With `Client.uniform` they are `Client.waves` drawn requests of each client. Otherwise they
        are the workload's, repeated up to that number where it has fewer.
        """
        if not clients:
            return self.requests
        found, n = self.requests, clients * self.client.waves
        if self.client.uniform is not None and n:
            found = uniform_requests(n, *self.client.uniform)
        elif n > len(found):
            found = found.repeated(n)
        # One request counts at least, however few the option `requests` leaves.
        n_first = min(clients, len(found) - 1)
        return found.staggered(n_first) if self.client.staggered and n_first else found

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides a result."""
        recipe = (
            "routing 1",
            repr(self.model),
            self.requests.digest,
            repr(self.promise),
            self.seed,
            self.document_tokens,
            self.n_documents,
            repr(self.skew),
            "" if self.trace is None else self.trace.digest,
            "" if self.skew is not None else repr(self.preset),
            *(() if self.independent == 1.0 else (self.independent,)),
            *(() if self.client == Client() else (repr(self.client),)),
        )
        return sha256(repr(recipe).encode()).hexdigest()

    @cached_property
    def routing_digest(self) -> str:
        """SHA-256 of all that decides the routing."""
        model = self.model
        recipe = (
            (model.moe_layers, model.experts, model.top_k), self.seed, self.document_tokens,
            self.n_documents, repr(self.skew), len(self.requests) if self.skew is not None else 0,
            "" if self.trace is None else self.trace.digest,
            "" if self.skew is not None else repr(self.preset),
        )  # fmt: skip
        return sha256(repr(recipe).encode()).hexdigest()

    @property
    def preset(self) -> RoutingPreset:
        """Preset from which routing is drawn if no routing was recorded."""
        preset = routing_preset(self.model.routing)
        if self.topic is not None:
            preset = replace(preset, topic=self.topic)
        if self.popularity_skew is None:
            return preset
        return replace(preset, skew=self.popularity_skew)


@final
@dataclass(frozen=True, eq=False)
class Prepared:
    """A workload as runs take it.

    Attributes:
      routing: Experts of every document's tokens.
      ranking: `popularity` of all blocks.
    """

    routing: Routing
    ranking: npt.NDArray[np.float64]


# chosen: the workloads of every space, or one with some fifty thousand tokens of a large model.
_MAX_BYTES: Final = 2**30
_HELD: OrderedDict[str, Prepared] = OrderedDict()
_LOCK = Lock()


def prepared(asked: Asked) -> Prepared:
    """Return the workload made ready; its routing is generated once while it is in use."""
    with _LOCK:
        found = _HELD.get(asked.routing_digest)
        if found is not None:
            _HELD.move_to_end(asked.routing_digest)
            return found
        found = _prepare(asked)
        _HELD[asked.routing_digest] = found
        while len(_HELD) > 1 and sum(p.routing.experts.nbytes for p in _HELD.values()) > _MAX_BYTES:
            _HELD.popitem(last=False)
        return found


def _prepare(asked: Asked) -> Prepared:
    if asked.trace is not None:
        routing = asked.trace
    elif asked.skew is not None:
        routing = composition_routing(
            len(asked.requests), asked.model.experts, asked.skew, asked.seed
        )
    else:
        preset = asked.preset
        if (preset.n_experts, preset.top_k) != (asked.model.experts, asked.model.top_k):
            preset = replace(preset, n_experts=asked.model.experts, top_k=asked.model.top_k)
        lengths = [asked.document_tokens] * asked.n_documents
        # A dense model's tokens have a layer that nobody looks at.
        routing = generate(preset, asked.seed, lengths, max(1, asked.model.moe_layers))
    return Prepared(routing, popularity(routing))


@final
@dataclass(frozen=True)
class _Recipe:
    """A shipped workload: one line about it, the arguments of its requests, and their sources."""

    doc: str
    n: int
    rate_per_s: float
    prompt: float
    output: float
    ttft_ms: float
    tpot_ms: float
    spread: float = 0.6
    arrivals: str = "poisson"
    cv: float = 1.0
    n_documents: int = 8
    document_tokens: int = 256
    skew: float | None = None
    popularity_skew: float | None = None
    topic: float | None = None
    independent: float = 1.0
    note: str = ""

    @property
    def promise(self) -> Promise:
        """Promised latencies."""
        return Promise(self.ttft_ms, self.tpot_ms)


def _shipped() -> dict[str, dict[str, _Recipe]]:
    path = resources.files("archgym.simulators.moe").joinpath("data/workloads.json")
    document: dict[str, dict[str, dict[str, Any]]] = json.loads(path.read_text("utf-8"))
    return {
        space: {name: _Recipe(**members) for name, members in recipes.items()}
        for space, recipes in document.items()
    }


_RECIPES: Final[Mapping[str, Mapping[str, _Recipe]]] = _shipped()
_DEFAULT_MODEL: Final = {
    # 57e9 weights, which at 4 bits are more than a consumer card holds.
    "edge-offload": "qwen2-57b-a14b",
    "edge-offload-table": "qwen2-57b-a14b",
    "single-server": "qwen3-235b-a22b",
    "expert-parallel": "deepseek-v3",
    "closed-loop": "deepseek-r1",
    "three-tier": "",
}
# The composition that SambaNova serves.
_N_MODELS: Final = 150


def shipped_names(space: str) -> tuple[str, ...]:
    """Return the names of a space's workloads, its default first."""
    return tuple(_RECIPES[space])


def default_model(space: str) -> MoeModel:
    """Return the model that a space serves by default."""
    name = _DEFAULT_MODEL[space]
    return model(name) if name else llama_composition(_N_MODELS)


def shipped(space: str, name: str | Path, served: MoeModel) -> Asked:
    """Return the workload with this name, or made of the trace at this path.

    A `.npz` is a trace of routing, as `write_routing` writes it: each document is a request,
    and the model's dimensions are those of `served` with the trace's layers and experts. Other
    files are traces of requests.

    Raises:
      UnknownNameError: Neither a shipped workload nor a file.
      FileFormatError: The file is not such a trace, or one that takes too long.
      InvalidArgumentError: The model's routing takes too long to draw.
      StorageError: It cannot be read.
    """
    drawn = _DOCUMENTS * _DOCUMENT_TOKENS * served.moe_layers * served.experts
    if drawn > _MAX_DRAWN:
        raise InvalidArgumentError(
            f"A model's layers times experts must be at most "
            f"{_MAX_DRAWN // (_DOCUMENTS * _DOCUMENT_TOKENS):,}, or drawing its routing takes too "
            f"long; {served.name} has {served.moe_layers} times {served.experts}."
        )
    recipes = _RECIPES[space]
    promise = next(iter(recipes.values())).promise
    skew = next(iter(recipes.values())).skew
    # A recorded trace brings its own layers; all else of a composition has one.
    if skew is not None and served.moe_layers != 1 and Path(name).suffix != ".npz":
        raise InvalidArgumentError(
            f"`model` of space {space!r} must have 1 layer with experts, each a whole model; "
            f"{served.name} has {served.moe_layers}. Take another space for it."
        )
    recipe = recipes.get(str(name))
    if recipe is not None:
        requests = generate_requests(
            recipe.n,
            7,
            rate_per_s=recipe.rate_per_s,
            prompt_mean=recipe.prompt,
            output_mean=recipe.output,
            prompt_spread=recipe.spread,
            output_spread=recipe.spread,
            arrivals=recipe.arrivals,
            cv=recipe.cv,
        )
        return Asked(
            str(name),
            served,
            requests,
            recipe.promise,
            document_tokens=recipe.document_tokens,
            n_documents=recipe.n_documents,
            skew=recipe.skew,
            popularity_skew=recipe.popularity_skew,
            topic=recipe.topic,
            independent=recipe.independent,
        )
    path = Path(name)
    # What is there but no file, such as a folder, is refused as it is read.
    if not path.exists():
        raise unknown_name("workload", str(name), recipes)
    if path.suffix == ".npz":
        return _traced(path, served, promise)
    # One more than may be, so that a longer trace is refused instead of cut.
    requests = read_requests(path, _MAX_TRACED + 1)
    if len(requests) > _MAX_TRACED:
        raise FileFormatError(
            path,
            None,
            f"it must have at most {_MAX_TRACED:,} requests; it has more",
            "Split it, or take a part",
        )
    n_tokens = int(requests.lengths.sum())
    if n_tokens > _MAX_TOKENS:
        raise FileFormatError(
            path,
            None,
            f"its {len(requests):,} requests must have at most {_MAX_TOKENS:,} tokens together; "
            f"they have {n_tokens:,}",
            "Take fewer or shorter requests",
        )
    return Asked(
        path.stem,
        served,
        requests,
        promise,
        document_tokens=_DOCUMENT_TOKENS,
        n_documents=_DOCUMENTS,
        skew=skew,
    )


def _traced(path: Path, served: MoeModel, promise: Promise) -> Asked:
    """Return recorded documents as requests that come at once; a quarter of each is its prompt."""
    trace = read_routing(path)
    lengths = np.diff(trace.starts)
    prompts = np.maximum(1, (lengths * _PROMPT_SHARE).astype(np.int64))
    requests = Requests(
        np.zeros(len(lengths), dtype=np.int64),
        prompts.astype(np.int32),
        # The last token is never read again, so that its routing is not needed.
        (lengths - prompts + 1).astype(np.int32),
        path.stem,
    )
    others = served.layers - served.moe_layers
    fitted = replace(
        served,
        name=f"{served.name}, traced",
        layers=trace.n_layers + others,
        moe_layers=trace.n_layers,
        experts=trace.n_experts,
        top_k=trace.top_k,
    )
    return Asked(path.stem, fitted, requests, promise, trace=trace)
