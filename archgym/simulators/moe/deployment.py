"""Deployments: a model on equal GPUs with an engine, and what the fast clock needs of them."""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.client import SHAPE
from archgym.simulators.moe.clock import Dimensions, dimensions, engine_costs
from archgym.simulators.moe.engines import (
    BITS,
    ENGINE_NAMES,
    Calibration,
    Engine,
    calibration,
    engine,
    labels,
)
from archgym.simulators.moe.hardware import Gpu
from archgym.simulators.moe.models import MoeModel
from archgym.simulators.moe.serving import MAX_DRAFTS

# chosen: an engine's runtime, workspaces and captured graphs on each GPU.
_RUNTIME_BYTES: Final = 2e9
# Tokens of a step use fewer experts than independent ones would. Fitted: one number for all rows of
# measured/serving.csv; with 0.6 a model that is left out has TPOT errors of 12 %, with 1 of 15 %.
INDEPENDENT: Final = 0.6
_MAX_ROWS: Final = 1024  # chosen: eight times the largest tile of a product
_MAX_SEQUENCES: Final = 1024  # vLLM's default of max_num_seqs on large GPUs


@final
@dataclass(frozen=True)
class Deployment:
    """A model on equal GPUs of one server.

    Attributes:
      model: Model that is served.
      gpu: Each GPU.
      engine: Engine by name; one that is not known schedules as vLLM and has typical constants.
      precision: Format of the experts, a key of `BITS`.
      tensor: GPUs that share attention.
      data: Groups of those with requests of their own.
      expert: Groups of GPUs that hold different experts; 1 where all hold slices of each.
      link_gb_per_s: Bandwidth from one GPU to the others, one direction [GB/s].
      kv_bits: Bits of a key or value.
      release: Major and minor version of the engine, such as "vllm 0.11".
      graphs: True if decode steps run as captured graphs.
      memory_share: Share of a GPU's memory that the engine may use.
      max_tokens: Most tokens of a step and group; 0 for the engine's default.
      poll_steps: Steps between two looks for new requests.
      draft_tokens: Tokens that are drafted for each sequence and step; 0 for no speculation.
      acceptance: Probability that a draft is accepted where those before it were.
      independent: Share of a step's further tokens that count as routed on their own.
      padded_rows: Rows of a tile to which products pad each expert, also experts without tokens; 0
        for products that skip them.
      hold_steps: Most steps that prompts wait for others to share their step; 0 for none.
      hold_prompts: Prompts from which they wait no longer.
      hold_tokens: Tokens of a step from which they wait no longer, decodes included.
    """

    model: MoeModel
    gpu: Gpu
    engine: str
    precision: str
    tensor: int = 1
    data: int = 1
    expert: int = 1
    link_gb_per_s: float = 450.0
    kv_bits: float = 16
    release: str = ""
    graphs: bool = True
    memory_share: float = 0.95
    max_tokens: int = 0
    poll_steps: int = 1
    draft_tokens: int = 0
    acceptance: float = 0.8
    independent: float = INDEPENDENT
    padded_rows: int = 0
    hold_steps: int = 0
    hold_prompts: int = 0
    hold_tokens: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.draft_tokens <= MAX_DRAFTS or not 0 <= self.acceptance <= 1:
            raise InvalidArgumentError(
                f"`draft_tokens` must be from 0 to {MAX_DRAFTS} and `acceptance` from 0 to 1; got "
                f"{self.draft_tokens} and {self.acceptance}."
            )
        if not 0 <= self.independent <= 1:
            raise InvalidArgumentError(
                f"`independent` must be from 0 to 1; got {self.independent}."
            )
        if not 0 <= self.padded_rows <= _MAX_ROWS:
            raise InvalidArgumentError(
                f"`padded_rows` must be from 0 to {_MAX_ROWS}; got {self.padded_rows}."
            )
        if self.precision not in BITS:
            raise InvalidArgumentError(
                f"`precision` must be one of {', '.join(BITS)}; got {self.precision!r}."
            )
        if min(self.tensor, self.data, self.expert) < 1 or self.n_gpus % self.expert:
            raise InvalidArgumentError(
                f"`expert` must divide the {self.n_gpus} GPUs of `tensor` times `data`; "
                f"got {self.expert}."
            )

    @property
    def n_gpus(self) -> int:
        """GPUs that serve."""
        return self.tensor * self.data

    @property
    def scheduling(self) -> Engine:
        """Rule by which the engine forms steps."""
        return engine(self.engine if self.engine in ENGINE_NAMES else "vllm")

    @property
    def expert_bits(self) -> float:
        """Bits of an expert's weight."""
        return BITS[self.precision]

    @property
    def attention_bits(self) -> float:
        """Bits of weights outside experts: 4-bit checkpoints keep 8 or 16."""
        if self.model.wide_attention or self.precision in ("bf16", "w4a16"):
            return 16.0
        return 8.0

    @property
    def by_kind(self) -> dict[str, str]:
        """Labels that decide the engine's constants."""
        return labels(
            self.model, self.gpu, self.engine, self.precision,
            release=self.release, grouped=self.data > 1,
        )  # fmt: skip

    @property
    def dimensions(self) -> Dimensions:
        """Sizes for `engine_costs`."""
        return dimensions(
            self.model, self.gpu, link_gb_per_s=self.link_gb_per_s, tensor=self.tensor,
            data=self.data, expert=self.expert, expert_bits=self.expert_bits,
            attention_bits=self.attention_bits, kv_bits=self.kv_bits,
        )  # fmt: skip

    @property
    def weight_bytes(self) -> float:
        """Weights on each GPU [bytes]; embeddings and head keep 16 bits."""
        model = self.model
        experts = model.all_experts_parameters * self.expert_bits / 8 / self.n_gpus
        others = (model.other_parameters - model.embedding_parameters) * self.attention_bits / 8
        return experts + (others + 2.0 * model.embedding_parameters) / self.tensor

    @property
    def free_bytes(self) -> float:
        """Memory left on each GPU for keys and values [bytes]; below 0 where weights do not fit."""
        return self.gpu.memory_bytes * self.memory_share - self.weight_bytes - _RUNTIME_BYTES

    @property
    def max_context(self) -> int:
        """Tokens whose keys and values fit, over all groups."""
        heads = 1 if self.model.latent is not None else min(self.tensor, self.model.kv_heads)
        row = self.model.kv_bytes_per_token(self.kv_bits) / heads
        return max(0, int(self.free_bytes // row)) * self.data

    @property
    def tokens_per_step(self) -> float:
        """Tokens that a sequence gets in a decode step, on average.

        Source:
          Leviathan et al., *Fast Inference from Transformers via Speculative Decoding*, 2023,
          equation 1.
        """
        return sum(self.acceptance**drafts for drafts in range(self.draft_tokens + 1))

    def shape(self) -> npt.NDArray[np.int64]:
        """Return the inputs of a closed loop other than the costs, by `SHAPE`."""
        how = self.scheduling
        values = {
            "n_layers": self.model.moe_layers,
            "n_dense": self.model.layers - self.model.moe_layers,
            "n_experts": self.model.experts,
            "top_k": self.model.top_k,
            "data": self.data,
            "expert": self.expert,
            "max_sequences": _MAX_SEQUENCES,
            "max_tokens": self.max_tokens or how.step_tokens(self.gpu),
            "chunk_tokens": int(how.chunks),
            "max_context": self.max_context,
            "pauses_decodes": int(how.pauses_decodes),
            "poll_steps": self.poll_steps,
            "reserved_percent": how.reserved_percent,
            "draft_tokens": self.draft_tokens,
            "accepted_permille": round(1000 * self.tokens_per_step),
            "acceptance_permille": round(1000 * self.acceptance),
            "padded_rows": self.padded_rows,
            "independent_permille": round(1000 * self.independent),
            "hold_steps": self.hold_steps,
            "hold_prompts": self.hold_prompts,
            "hold_tokens": self.hold_tokens,
        }
        return np.array([values[name] for name in SHAPE], dtype=np.int64)

    def costs(self, fitted: Calibration | None = None) -> npt.NDArray[np.float64]:
        """Return costs by `COSTS`, with the shipped constants or other ones."""
        known = calibration() if fitted is None else fitted
        return engine_costs(self.dimensions, known.constants(self.by_kind), self.graphs)
