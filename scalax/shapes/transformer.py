"""Describes a decoder-only transformer and counts its parameters and FLOPs, without jax.

The trainer, the simulator and the families in plugins all use this one description and these
counts. `scalax.models.decoder` builds the module; `scalax.shapes.transformer_search` finds the
shape of a size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scalax.errors import ScalaxError
from scalax.shapes.base import Counts

Attention = Literal["causal", "full"]
Positions = Literal["rotary", "learned", "relative"]


@dataclass(frozen=True)
class TransformerVariant:
    """Features of published transformers that scalax counts and simulates but does not train.

    Attributes:
        experts: MLPs in a block; 1 for a dense model.
        experts_per_token: MLPs that one token uses.
        biases: Whether matrices and norms have biases, as in GPT-2 and GPT-3.
        positions: ``rotary`` (no parameters), ``learned`` (one vector per position), or
            ``relative`` (one matrix of width x width per block, as in Transformer-XL, Gopher and
            Chinchilla).
        norms: Norms in a block; one more follows the last block.
        window: Keys that a position of a local layer attends to; 0 without local layers.
        local_layers: Blocks with local attention.
    """

    experts: int = 1
    experts_per_token: int = 1
    biases: bool = False
    positions: Positions = "rotary"
    norms: int = 2
    window: int = 0
    local_layers: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.experts_per_token <= self.experts:
            raise ScalaxError(
                f"a token uses {self.experts_per_token} of {self.experts} experts",
                where="experts_per_token",
                fix=f"set it to 1 to {self.experts}",
            )


STANDARD = TransformerVariant()
"""The variant that scalax trains."""


@dataclass(frozen=True)
class TransformerShape:
    """A decoder-only transformer.

    Attributes:
        vocab: Size of the vocabulary.
        width: Width of the residual stream.
        layers: Number of blocks.
        heads: Query heads.
        kv_heads: Key and value heads; fewer than ``heads`` is grouped-query attention.
        head_dim: Width of a head.
        hidden: Width of the MLP, or of each expert.
        gated: Whether the MLP is gated (SwiGLU) or plain (GELU).
        tied: Whether the head shares the embedding's matrix.
        seq_len: Tokens in a sequence.
        base_width: Width at which the maximal-update parametrisation equals the standard one;
            None for the standard parametrisation.
        base_head_dim: Width of a head at ``base_width``.
        variant: Features that scalax does not train; None if there are none.
    """

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    gated: bool
    tied: bool
    seq_len: int
    base_width: int | None = None
    base_head_dim: int | None = None
    variant: TransformerVariant | None = None

    def __post_init__(self) -> None:
        for name in ("vocab", "width", "layers", "heads", "kv_heads", "head_dim", "hidden"):
            if getattr(self, name) < 1:
                raise ScalaxError(
                    f"expected 1 or more, got {getattr(self, name)}", where=f"model.{name}"
                )
        if self.heads % self.kv_heads:
            raise ScalaxError(
                f"{self.heads} heads cannot share {self.kv_heads} key-value heads evenly",
                where="model.kv_heads",
                fix="choose a divisor of heads",
            )
        if self.head_dim % 2 and self.parts.positions == "rotary":
            raise ScalaxError(
                f"expected an even number, got {self.head_dim} (rotary positions rotate pairs)",
                where="model.head_dim",
            )

    @property
    def parts(self) -> TransformerVariant:
        """The variant; `STANDARD` if it is None."""
        return self.variant or STANDARD

    @property
    def experts(self) -> int:
        """MLPs in a block."""
        return self.parts.experts

    @property
    def experts_per_token(self) -> int:
        """MLPs that one token uses."""
        return self.parts.experts_per_token

    @property
    def widening(self) -> float:
        """Width over ``base_width``; 1 in the standard parametrisation."""
        return 1.0 if self.base_width is None else self.width / self.base_width

    @property
    def score_scale(self) -> float:
        """Factor of attention scores: 1 / sqrt(head_dim), or sqrt(base_head_dim) / head_dim."""
        return (self.base_head_dim or self.head_dim) ** 0.5 / self.head_dim

    @property
    def attention_params(self) -> int:
        """Parameters of the query, key, value and output matrices of one block, without biases."""
        return self.width * self.head_dim * (2 * self.heads + 2 * self.kv_heads)

    @property
    def expert_params(self) -> int:
        """Parameters of one MLP, without biases."""
        return (3 if self.gated else 2) * self.width * self.hidden

    @property
    def router_params(self) -> int:
        """Parameters of one block's router; 0 for a dense model."""
        return self.width * self.experts if self.experts > 1 else 0


def counts(shape: TransformerShape) -> Counts:
    """Counts parameters exactly: embedding, positions, blocks, norms and head.

    Example:
        >>> from scalax.shapes.presets import preset
        >>> counts(preset("llama-3.1-8b")).params
        8030261248
    """
    s, parts = shape, shape.parts
    norm = s.width * (2 if parts.biases else 1)
    mlp_bias = (s.hidden * (2 if s.gated else 1) + s.width) if parts.biases else 0
    attention_bias = (s.head_dim * (s.heads + 2 * s.kv_heads) + s.width) if parts.biases else 0
    shared = s.attention_params + attention_bias + parts.norms * norm + s.router_params
    if parts.positions == "relative":
        shared += s.width * s.width
    expert = s.expert_params + mlp_bias
    embedding = s.vocab * s.width
    outside = embedding + (0 if s.tied else embedding) + norm
    if parts.positions == "learned":
        outside += s.seq_len * s.width
    return Counts(
        params=outside + s.layers * (shared + s.experts * expert),
        params_embedding=embedding,
        params_active=outside + s.layers * (shared + s.experts_per_token * expert),
    )


def attended_keys(shape: TransformerShape, attention: Attention = "causal") -> float:
    """Returns the keys that a query attends to, averaged over positions and layers.

    Args:
        shape: The architecture.
        attention: ``causal`` counts the keys that the mask keeps, (seq_len + 1) / 2 without local
            layers; ``full`` counts the whole sequence, or the whole window, as a dense kernel
            computes it.
    """
    length, window, local_layers = shape.seq_len, shape.parts.window, shape.parts.local_layers
    global_keys = length if attention == "full" else (length + 1) / 2
    if not local_layers or window >= length:
        return global_keys
    visible = window * (window + 1) / 2 + (length - window) * window
    local = window if attention == "full" else visible / length
    return (local_layers * local + (shape.layers - local_layers) * global_keys) / shape.layers


def forward_flops(shape: TransformerShape, attention: Attention = "causal") -> float:
    """Returns the FLOPs of a forward pass per token: two for each multiply-add of a product.

    Table look-ups, norms, rotations and activations are not counted, nor are relative positions,
    which are multiplied once per batch.

    Args:
        shape: The architecture.
        attention: Which scores count: see `attended_keys`.
    """
    s = shape
    block = s.attention_params + s.router_params + s.experts_per_token * s.expert_params
    scores = 2 * 2 * s.heads * s.head_dim * attended_keys(s, attention)
    return 2 * (s.layers * block + s.width * s.vocab) + s.layers * scores


def train_flops(shape: TransformerShape, attention: Attention = "causal") -> float:
    """Returns the training FLOPs per token: three forward passes, without recomputation."""
    return 3 * forward_flops(shape, attention)
