"""The shapes of well-known open models, and shapes that a user writes down."""

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
from scalax.shapes.architecture import Architecture


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

    def architecture(self, where: str) -> Architecture:
        values = self.model_dump()
        values["kv_heads"] = self.kv_heads or self.heads
        if self.head_dim is None and self.width % self.heads:
            raise ScalaxError(
                f"a width of {self.width} is not {self.heads} equal heads",
                where=f"{where}: heads",
                fix="give head_dim",
            )
        values["head_dim"] = self.head_dim or self.width // self.heads
        return Architecture(**values)


@dataclass(frozen=True)
class Preset:
    """An open model.

    Attributes:
        name: What a user writes.
        title: The model and who made it.
        source: Where its shape is stated.
        architecture: The shape, with the sequence length of its training.
        params: Parameters as the source prints them, to the digits printed.
        active: Those that a token uses, where the source prints them.
    """

    name: str
    title: str
    source: str
    architecture: Architecture
    params: float
    active: float | None = None


@functools.cache
def presets() -> dict[str, Preset]:
    """All presets by name."""
    text = resources.files("scalax.shapes").joinpath("presets.toml").read_text(encoding="utf-8")
    found = {}
    for name, entry in tomllib.loads(text).items():
        shape = parse(_Shape, entry.pop("shape"), where=f"presets.toml: {name}")
        found[name] = Preset(name=name, architecture=shape.architecture(name), **entry)
    return found


def preset(name: str, seq_len: int | None = None) -> Architecture:
    """The architecture of an open model.

    Args:
        name: Such as ``llama-3.1-8b``.
        seq_len: Tokens in a sequence; by default as the model was trained.

    Raises:
        ScalaxError: No such preset.

    Example:
        >>> preset("mixtral-8x7b").counts().params_active
        12879925248
    """
    known = presets()
    if name not in known:
        raise ScalaxError(f"unknown model {name!r}", where="--preset", fix=suggest(name, known))
    found = known[name].architecture
    return found if seq_len is None else replace(found, seq_len=seq_len)


def read_shape(path: str | Path, seq_len: int | None = None) -> Architecture:
    """The architecture that a user wrote down in a TOML file, keys as those of `Architecture`.

    Args:
        path: The file.
        seq_len: Tokens in a sequence; by default what the file says, or 2048.

    Raises:
        ScalaxError: The file cannot be read, or a key is unknown, missing or wrong.
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
    found = parse(_Shape, values, where=str(path)).architecture(str(path))
    return found if seq_len is None else replace(found, seq_len=seq_len)
