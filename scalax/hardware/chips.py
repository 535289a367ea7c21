"""Reads the table of accelerators: chips.toml, this machine's calibration and a user's file."""

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
    """Shares of a chip's peak rates that the step model assumes.

    Attributes:
        matmul: Share of the peak FLOP/s reached by large matrix products.
        memory: Share of the memory bandwidth.
        network: Share of the link bandwidth.
        attention: Rate of attention, relative to that of large matrix products.
        overhead_seconds: Fixed seconds of each pass through a block, such as for kernel launches.
        softmax_seconds: Seconds per element and pass of a softmax that runs outside an attention
            kernel: attention scores on a CPU, and logits.
    """

    matmul: float = Field(gt=0, le=1)
    memory: float = Field(gt=0, le=1)
    network: float = Field(gt=0, le=1)
    attention: float = Field(0.77, gt=0)
    overhead_seconds: float = Field(0.0, ge=0)
    softmax_seconds: float = Field(0.0, ge=0)


class Chip(Settings):
    """One kind of accelerator. The head of chips.toml explains each field."""

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
        """Returns the peak FLOP/s of a chip.

        Raises:
            ScalaxError: The chip has no matrix products in that precision.
        """
        rate = self.device_peak(precision)
        if rate is None:
            raise ScalaxError(
                f"{self.title} has no matrix products in {precision}",
                where="--precision",
                fix=f"write one of {', '.join(sorted(self.peak))}",
            )
        return rate * self.cores

    def device_peak(self, precision: str) -> float | None:
        """Returns the peak FLOP/s of one JAX device, or None if it lacks the precision."""
        rate = {str(name): value for name, value in self.peak.items()}.get(precision)
        return None if rate is None else rate / self.cores


@dataclass(frozen=True)
class Chips:
    """All known chips.

    Attributes:
        by_name: Chips by their name in the file.
        files: The files they were read from; a later file overrides an earlier one.
    """

    by_name: dict[str, Chip]
    files: tuple[str, ...]

    def find(self, name: str) -> tuple[str, Chip]:
        """Returns the canonical name and the chip of a name or alias.

        Raises:
            ScalaxError: The chip is unknown.
        """
        low = name.lower()
        for canonical, chip in self.by_name.items():
            if low == canonical or low in chip.aliases:
                return canonical, chip
        raise ScalaxError(
            f"unknown chip {name!r}",
            where="--chips",
            fix=(
                "calibrate this machine first: scalax simulate calibrate"
                if low == "cpu"
                else suggest(low, self.by_name, otherwise="describe it in a file for --chips-file")
            ),
        )


def read_chips(path: str | None = None) -> Chips:
    """Returns scalax's chips, with the chips of a user's file added or overridden.

    Args:
        path: A TOML file in the format of chips.toml; by default the file that SCALAX_CHIPS names,
            if set. A table for a chip that scalax knows needs only the keys that differ.

    Raises:
        ScalaxError: The file cannot be read, or a key is unknown, missing or invalid.
    """
    calibrated = calibration_file()
    stamp = calibrated.stat().st_mtime_ns if calibrated.is_file() else 0
    return _read(path or os.environ.get(ENVIRONMENT) or None, str(calibrated), stamp)


@functools.cache
def _read(path: str | None, calibrated: str, stamp: int) -> Chips:
    text = resources.files("scalax.hardware").joinpath("chips.toml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    files = ["scalax/hardware/chips.toml"]
    if stamp:  # also part of the cache key: a new measurement is read again
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
    """Returns the file in which `scalax simulate calibrate` stores its results."""
    return cache_folder() / "calibration.json"


def read_calibration() -> dict[str, dict[str, Any]]:
    """Returns this machine's calibration by chip, in the format of chips.toml.

    Raises:
        ScalaxError: The file is damaged.
    """
    path = calibration_file()
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): dict(entry["chip"]) for name, entry in entries.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScalaxError(
            f"damaged ({error})",
            where=str(path),
            fix="delete the file, or run: scalax simulate calibrate",
        ) from None


def _user_tables(path: str) -> dict[str, dict[str, Any]]:
    try:
        tables = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ScalaxError(
            f"cannot read the file: {error.strerror or error}",
            where=path,
            fix="write --chips-file FILE.toml, or set SCALAX_CHIPS to such a file",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScalaxError(
            f"not a TOML file: {error}", where=path, fix="correct the line that it names"
        ) from None
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ScalaxError(
                f"expected a table for each chip, got {name} = {table!r}",
                where=path,
                fix="write [mychip] above its keys",
            )
    return tables


def known_device(kind: str) -> Chip | None:
    """Returns the chip with JAX's ``device_kind``, or None. A device can be one core of a chip."""
    for chip in read_chips().by_name.values():
        if kind in chip.device_kinds:
            return chip
    return None
