"""A corpus that is on every machine: the source text of Python's standard library.

It has about 30 MB of code and English. It differs between Python versions, so each run records its
hash.
"""

from __future__ import annotations

import platform
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from scalax.data.base import Dataset
from scalax.data.tokens import TokenDataset, pack
from scalax.errors import ScalaxError
from scalax.schema import Settings, parse

_EXCLUDED = {"site-packages", "dist-packages", "__pycache__"}


class _Options(Settings):
    seq_len: int = Field(ge=1)


class Stdlib(Dataset):
    """Python's standard library as bytes; each file is a document. Option: ``seq_len``."""

    name: ClassVar[str] = "stdlib"
    trial: ClassVar[Mapping[str, Any]] = {"seq_len": 128}
    title: ClassVar[str] = "source text of Python's standard library, as bytes; on every machine"

    def open(self, name: str, options: Mapping[str, Any]) -> TokenDataset:
        """Packs the files on first use; see `Dataset.open`."""
        parsed = parse(_Options, options, where="data")
        root = Path(sysconfig.get_paths()["stdlib"])
        files = sorted(
            path for path in root.rglob("*.py") if not _EXCLUDED & set(path.relative_to(root).parts)
        )
        if not files:
            raise ScalaxError(
                f"no source files in {root}",
                where=f"data {name!r}",
                fix='use a Python with its standard library\'s sources, or dataset = "text"',
            )
        key: dict[str, object] = {
            "dataset": name,
            "python": platform.python_version(),
            "files": [(str(f.relative_to(root)), f.stat().st_size) for f in files],
        }

        def documents() -> Iterator[bytes]:
            return (path.read_bytes() for path in files)

        return pack(name, parsed.seq_len, key, documents)
