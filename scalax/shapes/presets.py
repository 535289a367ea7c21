"""Reads the shapes of well-known open models and of a user's TOML file."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from scalax.errors import ScalaxError, suggest
from scalax.schema import Settings, parse
from scalax.shapes.transformer import STANDARD, TransformerShape, TransformerVariant


class _Shape(Settings):
    vocab: int = Field(ge=1)
    width: int = Field(ge=1)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int | None = Field(None, ge=1)
    head_dim: int | None = Field(None, ge=1)
    hidden: int = Field(ge=1)
    gated: bool = True
    tied: bool = False
    seq_len: int = Field(2048, ge=1)
    experts: int = Field(1, ge=1)
    experts_per_token: int = Field(1, ge=1)
    biases: bool = False
    positions: Literal["rotary", "learned", "relative"] = "rotary"
    norms: int = Field(2, ge=1)
    window: int = Field(0, ge=0)
    local_layers: int = Field(0, ge=0)

    def architecture(self, where: str) -> TransformerShape:
        if self.head_dim is None and self.width % self.heads:
            raise ScalaxError(
                f"a width of {self.width} is not divisible by {self.heads} heads",
                where=f"{where}: heads",
                fix="set head_dim",
            )
        variant = TransformerVariant(
            experts=self.experts,
            experts_per_token=self.experts_per_token,
            biases=self.biases,
            positions=self.positions,
            norms=self.norms,
            window=self.window,
            local_layers=self.local_layers,
        )
        return TransformerShape(
            vocab=self.vocab,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            kv_heads=self.kv_heads or self.heads,
            head_dim=self.head_dim or self.width // self.heads,
            hidden=self.hidden,
            gated=self.gated,
            tied=self.tied,
            seq_len=self.seq_len,
            variant=None if variant == STANDARD else variant,
        )


@dataclass(frozen=True)
class Preset:
    """An open model.

    Attributes:
        name: The name that a user writes.
        title: The model and its maker.
        source: The publication of its shape.
        architecture: The shape, with the sequence length of its training.
        params: Number of parameters that the source prints, rounded.
        active: Parameters that one token uses, if the source prints them.
    """

    name: str
    title: str
    source: str
    architecture: TransformerShape
    params: float
    active: float | None = None


@functools.cache
def presets() -> dict[str, Preset]:
    """Returns all presets by name."""
    text = resources.files("scalax.shapes").joinpath("presets.toml").read_text(encoding="utf-8")
    known = {}
    for name, entry in tomllib.loads(text).items():
        shape = parse(_Shape, entry.pop("shape"), where=f"presets.toml: {name}")
        known[name] = Preset(name=name, architecture=shape.architecture(name), **entry)
    return known


def preset(name: str, seq_len: int | None = None) -> TransformerShape:
    """Returns the shape of an open model.

    Args:
        name: The preset, such as ``llama-3.1-8b``.
        seq_len: Tokens in a sequence; by default that of the model's training.

    Raises:
        ScalaxError: No such preset.

    Example:
        >>> from scalax.shapes.transformer import counts
        >>> counts(preset("mixtral-8x7b")).params_active
        12879925248
    """
    known = presets()
    if name not in known:
        raise ScalaxError(f"unknown model {name!r}", where="--preset", fix=suggest(name, known))
    shape = known[name].architecture
    return shape if seq_len is None else replace(shape, seq_len=seq_len)


def read_shape(path: str | Path, seq_len: int | None = None) -> TransformerShape:
    """Reads a shape from a TOML file.

    The keys are those of `TransformerShape` and `TransformerVariant`.

    Args:
        path: The file.
        seq_len: Tokens in a sequence; by default that of the file, or 2048.

    Raises:
        ScalaxError: The file cannot be read, or a key is unknown or missing, or a value
            is invalid.
    """
    try:
        values: dict[str, Any] = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ScalaxError(
            f"cannot read: {error.strerror or error}", where=str(path), fix="give a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScalaxError(f"not a TOML file: {error}", where=str(path)) from None
    if isinstance(values.get("model"), dict):
        values = values["model"]
    shape = parse(_Shape, values, where=str(path)).architecture(str(path))
    return shape if seq_len is None else replace(shape, seq_len=seq_len)
