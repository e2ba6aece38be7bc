"""Architectures of models: what weighs how much, and how tokens are routed."""

from dataclasses import dataclass
from typing import final

from archgym.simulators.kit import InvalidArgumentError

# chosen: ten times the largest model that is served today, in every dimension.
_LIMITS = {
    "layers": 1_000,
    "moe_layers": 1_000,
    "hidden": 100_000,
    "experts": 4_096,
    "top_k": 64,
    "expert_inner": 1_000_000,
    "shared_inner": 1_000_000,
    "matrices": 3,
    "heads": 1_024,
    "kv_heads": 1_024,
    "head_size": 1_024,
    "vocabulary": 10_000_000,
    "dense_layers": 1_000,
    "dense_inner": 1_000_000,
    "full_attention_layers": 1_000,
    "window": 10_000_000,
}
_MAY_BE_ZERO = {
    "moe_layers",
    "shared_inner",
    "dense_layers",
    "dense_inner",
    "full_attention_layers",
    "window",
}
_OPTIONAL = {
    "latent", "linear", "query_norm", "output_gate", "wide_attention", "tied_embeddings",
    *("routing", "source", *(_MAY_BE_ZERO - {"moe_layers"})),
}  # fmt: skip
_LINEAR = ("key_heads", "value_heads", "key_size", "value_size")
_QUERY_NORMS = ("none", "head", "all")
_LATENT = ("query_rank", "kv_rank", "rope_size", "nope_size", "value_size")
_BITS_PER_BYTE = 8
# States of linear attention are kept in 32 bits (Qwen3-Next, its published configuration).
_STATE_BYTES = 4


@final
@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention: keys and values are stored as one small vector.

    Source:
      DeepSeek-AI, *DeepSeek-V2*, 2024, section 2.1; 0 for `query_rank` is no compression.
    """

    query_rank: int
    kv_rank: int
    rope_size: int
    nope_size: int
    value_size: int


@final
@dataclass(frozen=True)
class LinearAttention:
    """Linear attention with a state of fixed size in place of keys and values.

    Source:
      Yang et al., *Gated Delta Networks*, 2024; sizes are those of a model's configuration.
    """

    key_heads: int
    value_heads: int
    key_size: int
    value_size: int

    @property
    def state_size(self) -> int:
        """Numbers of one sequence's state in one layer."""
        return self.value_heads * self.key_size * self.value_size

    def parameters(self, hidden: int) -> int:
        """Return the weights of one layer: queries, keys, values, gates and output."""
        keys, values = self.key_heads * self.key_size, self.value_heads * self.value_size
        return hidden * (2 * keys + 3 * values + 2 * self.value_heads)


@final
@dataclass(frozen=True)
class MoeModel:
    """A model's dimensions; every weight and byte follows from them.

    Attributes:
      name: Name.
      layers: All layers of attention.
      moe_layers: Layers with experts; 0 for a dense model.
      hidden: Size of a token's vector.
      experts: Routed experts of a layer.
      top_k: Routed experts that a token uses in a layer.
      expert_inner: Inner size of a routed expert.
      shared_inner: Inner size of all shared experts of a layer together; 0 for none.
      matrices: Matrices of an expert: 3 where it is gated, else 2.
      heads: Heads of queries.
      kv_heads: Heads of keys and values.
      head_size: Size of a head.
      vocabulary: Tokens there are.
      dense_layers: Layers with a plain feed-forward network.
      dense_inner: Its inner size.
      latent: Multi-head latent attention, where the model has it.
      full_attention_layers: Layers that attend to the whole context; 0 for all.
      window: Tokens that the other layers attend to; 0 where those are linear.
      linear: Linear attention of the other layers, where they have it.
      query_norm: Norm of queries and keys: "none", "head" for each head alone, "all" for all heads
        together, which takes an all-reduce.
      output_gate: True if attention's output is gated by a further product.
      wide_attention: True if published low-precision checkpoints keep 16 bits outside experts.
      tied_embeddings: True if input and output share one embedding.
      routing: Preset of the routing generator that fits it.
      source: Source of the dimensions.
    """

    name: str
    layers: int
    moe_layers: int
    hidden: int
    experts: int
    top_k: int
    expert_inner: int
    matrices: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    shared_inner: int = 0
    dense_layers: int = 0
    dense_inner: int = 0
    latent: LatentAttention | None = None
    full_attention_layers: int = 0
    window: int = 0
    linear: LinearAttention | None = None
    query_norm: str = "none"
    output_gate: bool = False
    wide_attention: bool = False
    tied_embeddings: bool = False
    routing: str = "mixtral-8x7b"
    source: str = ""

    def __post_init__(self) -> None:
        for name, high in _LIMITS.items():
            value = getattr(self, name)
            low = 0 if name in _MAY_BE_ZERO else 1
            if not low <= value <= high:
                raise InvalidArgumentError(
                    f"`{name}` of a model must be a whole number from {low} to {high}; "
                    f"got {value!r}."
                )
        if self.top_k > self.experts:
            raise InvalidArgumentError(
                f"`top_k` of a model must be at most its {self.experts} `experts`; "
                f"got {self.top_k}."
            )
        if self.query_norm not in _QUERY_NORMS:
            raise InvalidArgumentError(
                f"`query_norm` of a model must be one of {', '.join(_QUERY_NORMS)}; "
                f"got {self.query_norm!r}."
            )
        if self.full_attention_layers > self.layers:
            raise InvalidArgumentError(
                f"`full_attention_layers` of a model must be at most its {self.layers} `layers`; "
                f"got {self.full_attention_layers}."
            )
        if self.moe_layers + self.dense_layers > self.layers:
            raise InvalidArgumentError(
                f"`moe_layers` and `dense_layers` of a model must be at most its {self.layers} "
                f"`layers` together; got {self.moe_layers} and {self.dense_layers}."
            )

    @property
    def expert_parameters(self) -> int:
        """Weights of one routed expert of one layer."""
        return self.matrices * self.hidden * self.expert_inner

    @property
    def shared_parameters(self) -> int:
        """Weights of the shared experts of one layer."""
        return self.matrices * self.hidden * self.shared_inner

    @property
    def router_parameters(self) -> int:
        """Weights of one layer's router."""
        return self.hidden * self.experts

    @property
    def dense_parameters(self) -> int:
        """Weights of one plain feed-forward network."""
        return self.matrices * self.hidden * self.dense_inner

    @property
    def attention_parameters(self) -> int:
        """Weights of one layer's attention, averaged over kinds of layers."""
        if self.latent is None:
            size = self.heads * self.head_size
            full = self.hidden * ((3 if self.output_gate else 2) * size + self.kv_row_size)
            if self.linear is None:
                return full
            n_full = self.full_layers
            linear = self.linear.parameters(self.hidden)
            return round((n_full * full + (self.layers - n_full) * linear) / self.layers)
        latent = self.latent
        query_size = self.heads * (latent.nope_size + latent.rope_size)
        if latent.query_rank:
            queries = latent.query_rank * (self.hidden + query_size)
        else:
            queries = self.hidden * query_size
        down = self.hidden * (latent.kv_rank + latent.rope_size)
        up = latent.kv_rank * self.heads * (latent.nope_size + latent.value_size)
        return queries + down + up + self.heads * latent.value_size * self.hidden

    @property
    def full_layers(self) -> int:
        """Layers that attend to the whole context."""
        return self.full_attention_layers or self.layers

    @property
    def kv_row_size(self) -> int:
        """Numbers that one layer keeps of one token."""
        if self.latent is not None:
            return self.latent.kv_rank + self.latent.rope_size
        return 2 * self.kv_heads * self.head_size

    @property
    def score_size(self) -> int:
        """Multiplications of one pair of prompt token and context in one layer."""
        if self.latent is None:
            return 2 * self.heads * self.head_size
        latent = self.latent
        return self.heads * (latent.nope_size + latent.rope_size + latent.value_size)

    @property
    def decode_flops(self) -> int:
        """Operations of one token of context in one layer's decoding."""
        if self.latent is None:
            return 2 * self.score_size
        # Decoding multiplies with the latent vector itself (absorbed weights).
        return 2 * self.heads * (2 * self.latent.kv_rank + self.latent.rope_size)

    @property
    def embedding_parameters(self) -> int:
        """Weights of the input's and the output's embedding."""
        return (1 if self.tied_embeddings else 2) * self.vocabulary * self.hidden

    @property
    def all_experts_parameters(self) -> int:
        """Weights of all routed experts."""
        return self.moe_layers * self.experts * self.expert_parameters

    @property
    def other_parameters(self) -> int:
        """Weights of everything but routed experts."""
        return (
            self.layers * self.attention_parameters
            + self.moe_layers * (self.shared_parameters + self.router_parameters)
            + self.dense_layers * self.dense_parameters
            + self.embedding_parameters
        )

    @property
    def total_parameters(self) -> int:
        """Number of all weights, those of every expert included."""
        return self.all_experts_parameters + self.other_parameters

    @property
    def active_parameters(self) -> int:
        """Weights that one token uses."""
        used = self.moe_layers * self.top_k * self.expert_parameters
        return used + self.other_parameters

    def expert_bytes(self, bits: float = 16) -> int:
        """Return bytes of one routed expert whose weights have this number of bits."""
        return round(self.expert_parameters * bits / _BITS_PER_BYTE)

    def plain_bits(self, bits: float, expert_bits: float) -> float:
        """Return bits of a plain network's weight: those of experts where a model is dense."""
        return bits if self.moe_layers else min(bits, expert_bits)

    def other_bytes(
        self, bits: float = 16, expert_bits: float = 16, embedding_bits: float = 0
    ) -> int:
        """Return bytes of everything but routed experts.

        Args:
          bits: Bits of a weight.
          expert_bits: Bits of an expert's weight, and so of a dense model's plain networks.
          embedding_bits: Bits of a weight of the embeddings; 0 for `bits`.
        """
        plain = self.dense_layers * self.dense_parameters
        embeddings = self.embedding_parameters
        rest = self.other_parameters - plain - embeddings
        total = rest * bits + plain * self.plain_bits(bits, expert_bits)
        return round((total + embeddings * (embedding_bits or bits)) / _BITS_PER_BYTE)

    def kv_bytes_per_token(self, bits: float = 16) -> int:
        """Return bytes of keys and values of one token, over all layers that keep them all."""
        return round(self.full_layers * self.kv_row_size * bits / _BITS_PER_BYTE)

    def kv_shares(self, tensor: int) -> int:
        """Return the parts into which keys and values divide over this number of accelerators.

        A head of keys and values stays whole, and latent vectors have no heads: further
        accelerators hold copies.
        """
        return 1 if self.latent is not None else min(tensor, self.kv_heads)

    def sequence_bytes(self, bits: float = 16) -> int:
        """Return bytes that one sequence holds whatever its context: windows and linear states."""
        others = self.layers - self.full_layers
        if self.linear is not None:
            return others * self.linear.state_size * _STATE_BYTES
        return round(others * self.window * self.kv_row_size * bits / _BITS_PER_BYTE)
