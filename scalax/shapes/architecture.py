"""A decoder-only transformer in general, to count what one costs: open models and our own alike.

`TransformerShape` is what scalax trains; an `Architecture` also tells experts, biases, learned or
relative positions, extra norms and local attention. Parameters and FLOPs are counted from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scalax.errors import ScalaxError
from scalax.shapes.base import Counts
from scalax.shapes.transformer import TransformerShape

Positions = Literal["rotary", "learned", "relative"]


@dataclass(frozen=True)
class Architecture:
    """A decoder-only transformer.

    Attributes:
        vocab: Size of the vocabulary.
        width: Width of the residual stream.
        layers: Blocks.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Width of a head.
        hidden: Width of the MLP, or of each expert.
        gated: Whether the MLP is gated.
        tied: Whether the head shares the embedding's matrix.
        seq_len: Tokens in a sequence.
        experts: MLPs in a block.
        experts_per_token: Those of them that a token uses.
        biases: Whether matrices and norms have biases, as in GPT-2 and GPT-3.
        positions: ``rotary`` (no parameters), ``learned`` (a vector a position), or ``relative``
            (a matrix of width x width in each block, as in Transformer-XL, Gopher and Chinchilla).
        norms: Norms in a block; one more stands after the last.
        window: Keys that a position of a local layer sees; 0 where there are none.
        local_layers: Blocks with local attention.
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
    experts: int = 1
    experts_per_token: int = 1
    biases: bool = False
    positions: Positions = "rotary"
    norms: int = 2
    window: int = 0
    local_layers: int = 0

    def __post_init__(self) -> None:
        for name in ("vocab", "width", "layers", "heads", "kv_heads", "head_dim", "hidden"):
            if getattr(self, name) < 1:
                raise ScalaxError(f"expected 1 or more, got {getattr(self, name)}", where=name)
        if self.heads % self.kv_heads:
            raise ScalaxError(
                f"{self.heads} heads cannot share {self.kv_heads} key-value heads evenly",
                where="kv_heads",
                fix="give a divisor of heads",
            )
        if not 1 <= self.experts_per_token <= self.experts:
            raise ScalaxError(
                f"a token uses {self.experts_per_token} of {self.experts} experts",
                where="experts_per_token",
                fix=f"give 1 to {self.experts}",
            )

    @property
    def attention_params(self) -> int:
        """Of the query, key, value and output matrices of a block, without biases."""
        return self.width * self.head_dim * (2 * self.heads + 2 * self.kv_heads)

    @property
    def expert_params(self) -> int:
        """Of one MLP of a block, without biases."""
        return (3 if self.gated else 2) * self.width * self.hidden

    @property
    def matmul_params_active(self) -> int:
        """Weights that multiply a token on its way, the head's among them."""
        router = self.width * self.experts if self.experts > 1 else 0
        block = self.attention_params + router + self.experts_per_token * self.expert_params
        return self.layers * block + self.width * self.vocab

    def counts(self) -> Counts:
        """Exact parameter counts.

        Example:
            >>> from scalax.shapes.presets import preset
            >>> preset("llama-3.1-8b").counts().params
            8030261248
        """
        norm = self.width * (2 if self.biases else 1)
        mlp_bias = (self.hidden * (2 if self.gated else 1) + self.width) if self.biases else 0
        head_widths = self.head_dim * (self.heads + 2 * self.kv_heads)
        fixed = (
            self.attention_params
            + (head_widths + self.width if self.biases else 0)
            + self.norms * norm
            + (self.width * self.width if self.positions == "relative" else 0)
            + (self.width * self.experts if self.experts > 1 else 0)
        )
        expert = self.expert_params + mlp_bias
        embedding = self.vocab * self.width
        outside = (
            embedding
            + (0 if self.tied else embedding)
            + (self.seq_len * self.width if self.positions == "learned" else 0)
            + norm
        )
        params = outside + self.layers * (fixed + self.experts * expert)
        active = outside + self.layers * (fixed + self.experts_per_token * expert)
        return Counts(params=params, params_embedding=embedding, params_active=active)

    def attended(self, attention: Literal["causal", "full"] = "causal") -> float:
        """Keys that a query meets, on average over positions and layers.

        ``causal`` counts those that the mask keeps, (seq_len + 1) / 2 where nothing is local;
        ``full`` all of the sequence, or of the window.
        """
        length = self.seq_len
        everywhere = length if attention == "full" else (length + 1) / 2
        if not self.local_layers or self.window >= length:
            return everywhere
        window = self.window
        kept = window * (window + 1) / 2 + (length - window) * window
        local = window if attention == "full" else kept / length
        return (self.local_layers * local + (self.layers - self.local_layers) * everywhere) / (
            self.layers
        )

    def forward_flops_per_token(self, attention: Literal["causal", "full"] = "causal") -> float:
        """Multiply-adds of every matrix product of a forward pass, times two, per token.

        Relative positions are multiplied once for a batch and are not counted.
        """
        scores = 2 * 2 * self.heads * self.head_dim * self.attended(attention)
        return 2 * self.matmul_params_active + self.layers * scores

    def flops_per_token(self, attention: Literal["causal", "full"] = "causal") -> float:
        """Training FLOPs per token: forward, and twice that for backward; no recomputation."""
        return 3 * self.forward_flops_per_token(attention)

    def trained(self) -> TransformerShape | None:
        """The shape that scalax itself trains, or None where it cannot build this architecture."""
        plain = not self.biases and self.positions == "rotary" and self.norms == 2
        if self.experts > 1 or self.local_layers or not plain:
            return None
        names = ("vocab", "width", "layers", "heads", "kv_heads", "head_dim", "hidden")
        return TransformerShape(
            **{name: getattr(self, name) for name in names},
            gated=self.gated,
            tied=self.tied,
            seq_len=self.seq_len,
        )


def architecture(shape: TransformerShape) -> Architecture:
    """A shape that scalax trains, as an architecture; both count the same."""
    names = ("vocab", "width", "layers", "heads", "kv_heads", "head_dim", "hidden")
    return Architecture(
        **{name: getattr(shape, name) for name in names},
        gated=shape.gated,
        tied=shape.tied,
        seq_len=shape.seq_len,
    )
