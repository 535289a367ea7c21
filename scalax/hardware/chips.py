"""Accelerators by name, from chips.toml and a user's own file; what their makers state, no more."""

from __future__ import annotations

import datetime
import functools
import json
import os
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from scalax.errors import ScalaxError, suggest
from scalax.folders import cache_folder
from scalax.hardware.names import Precision
from scalax.schema import Settings, parse

ENVIRONMENT = "SCALAX_CHIPS"


class Achieved(Settings):
    """What the step model assumes of a chip's peaks, as shares of them.

    Attributes:
        matmul: Of the peak, by large matrix products.
        memory: Of the memory's bandwidth.
        network: Of the links' bandwidth.
        attention: Of what large products achieve, by attention.
        overhead_seconds: What each pass through a block takes besides, such as to start kernels.
        softmax_seconds: What an element of a softmax takes, for each pass over it, where it is
            no part of a kernel: attention's scores on a CPU, and logits.
    """

    matmul: float = Field(gt=0, le=1)
    memory: float = Field(gt=0, le=1)
    network: float = Field(gt=0, le=1)
    attention: float = Field(0.77, gt=0)
    overhead_seconds: float = Field(0.0, ge=0)
    softmax_seconds: float = Field(0.0, ge=0)


class Chip(Settings):
    """One kind of accelerator; the head of chips.toml says what each field means."""

    title: str
    aliases: tuple[str, ...] = Field((), strict=False)
    device_kinds: tuple[str, ...] = Field((), strict=False)
    counted: Literal["chips", "cores"] = "chips"
    cores: int = Field(1, ge=1, le=2)
    mxu: int = Field(128, ge=1)
    peak: dict[Precision, float]
    memory_bytes: float = Field(gt=0)
    usable_bytes: int = Field(gt=0)
    memory_bandwidth: float = Field(gt=0)
    topology: Literal["2d-torus", "3d-torus", "nvlink", "host"]
    link_bandwidth: float = Field(gt=0)
    links: int = Field(1, ge=1)
    wraps: int = Field(0, ge=0)
    node: int = Field(1, ge=1)
    dcn_bandwidth: float = Field(gt=0)
    usd_per_hour: float | None = Field(None, gt=0)
    price_date: datetime.date | None = None
    compile_name: str | None = None
    slices: tuple[str, ...] = Field(strict=False)
    most_chips: int = Field(ge=1)
    achieved: Achieved
    sources: tuple[str, ...] = Field((), strict=False)

    def peak_flops(self, precision: str) -> float:
        """FLOP/s of a chip.

        Raises:
            ScalaxError: The chip does not multiply in that precision.
        """
        rate = self.device_peak(precision)
        if rate is None:
            raise ScalaxError(
                f"{self.title} has no {precision} products",
                where="--precision",
                fix=f"write one of {', '.join(sorted(self.peak))}",
            )
        return rate * self.cores

    def device_peak(self, precision: str) -> float | None:
        """FLOP/s of one device as jax counts them; None where it has no such products."""
        rate = {str(name): value for name, value in self.peak.items()}.get(precision)
        return None if rate is None else rate / self.cores


@dataclass(frozen=True)
class Chips:
    """All known chips.

    Attributes:
        by_name: Each under its name in the file.
        files: Where they were read from, the last one overriding those before.
    """

    by_name: dict[str, Chip]
    files: tuple[str, ...]

    def find(self, name: str) -> tuple[str, Chip]:
        """A chip by name or alias, and its own name.

        Raises:
            ScalaxError: No such chip.
        """
        low = name.lower()
        for own, chip in self.by_name.items():
            if low == own or low in chip.aliases:
                return own, chip
        raise ScalaxError(
            f"unknown chip {name!r}",
            where="--chips",
            fix=(
                "measure this machine first: scalax simulate calibrate"
                if low == "cpu"
                else suggest(low, self.by_name, otherwise="describe it in a file for --chips-file")
            ),
        )


def read_chips(path: str | None = None) -> Chips:
    """The chips of scalax, with those of a user's own file added or replaced.

    Args:
        path: A TOML file in the form of chips.toml; by default what SCALAX_CHIPS names, if set.
            A table of a name that scalax knows needs only the keys that differ.

    Raises:
        ScalaxError: The file cannot be read, or a key is unknown, missing or wrong.
    """
    calibrated = calibration_file()
    stamp = calibrated.stat().st_mtime_ns if calibrated.is_file() else 0
    return _read(path or os.environ.get(ENVIRONMENT) or None, str(calibrated), stamp)


@functools.cache
def _read(path: str | None, calibrated: str, stamp: int) -> Chips:
    text = resources.files("scalax.hardware").joinpath("chips.toml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    files = ["scalax/hardware/chips.toml"]
    if stamp:  # a file measured since is another one
        for name, table in read_calibration().items():
            tables[name] = {**tables.get(name, {}), **table}
        files.append(calibrated)
    if path is not None:
        for name, table in _user_tables(path).items():
            tables[name.lower()] = {**tables.get(name.lower(), {}), **table}
        files.append(path)
    return Chips(
        {name: parse(Chip, table, where=f"{files[-1]}: {name}") for name, table in tables.items()},
        tuple(files),
    )


def calibration_file() -> Path:
    """Where `scalax simulate calibrate` keeps what it measured on this machine."""
    return cache_folder() / "calibration.json"


def read_calibration() -> dict[str, dict[str, Any]]:
    """What was measured here, by chip, in the form of chips.toml; empty where nothing was.

    Raises:
        ScalaxError: The file is damaged.
    """
    path = calibration_file()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): dict(entry["chip"]) for name, entry in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScalaxError(
            f"damaged ({error})",
            where=str(path),
            fix="delete it, or measure again: scalax simulate calibrate",
        ) from None


def _user_tables(path: str) -> dict[str, dict[str, Any]]:
    try:
        tables = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ScalaxError(f"cannot read: {error.strerror or error}", where=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScalaxError(f"not a TOML file: {error}", where=path) from None
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ScalaxError(
                f"expected a table for each chip, got {name} = {table!r}",
                where=path,
                fix="write [mychip] above its keys",
            )
    return tables


def known_device(kind: str) -> Chip | None:
    """The chip that jax calls so (``device_kind``), or None; a device may be one of its cores."""
    for chip in read_chips().by_name.values():
        if kind in chip.device_kinds:
            return chip
    return None
