"""Text from TensorFlow Datasets (TFDS), read by index and without TensorFlow."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from scalax.data.base import Dataset
from scalax.data.tokens import TokenDataset, pack
from scalax.errors import ScalaxError
from scalax.schema import Settings, parse


class _Options(Settings):
    seq_len: int = Field(ge=1)
    column: str = "text"
    split: str = "train"
    data_dir: str | None = None


class TfdsText(Dataset):
    """``tfds:NAME``: the text feature of a TFDS dataset, as bytes.

    Options: ``column`` (the feature, ``text`` by default), ``split``, ``data_dir``, ``seq_len``.
    """

    name: ClassVar[str] = "tfds"
    title: ClassVar[str] = "tfds:NAME, the text of a set of TensorFlow Datasets, as bytes"

    def open(self, name: str, options: Mapping[str, Any]) -> TokenDataset:
        """Packs the split on first use; see `Dataset.open`."""
        parsed = parse(_Options, options, where="data")
        builder = open_builder(name, parsed.data_dir)
        if parsed.column not in builder.info.features:
            raise ScalaxError(
                f"no feature {parsed.column!r} among {', '.join(builder.info.features)}",
                where=f"data {name!r}",
                fix='name it: column = "..." in [data]',
            )
        key: dict[str, object] = {
            "dataset": name,
            "version": str(builder.info.full_name),
            "split": parsed.split,
            "column": parsed.column,
            "checksum": str(builder.info.splits.total_num_examples),
            "data_dir": str(builder.data_dir),
        }

        def documents() -> Iterator[bytes]:
            source = builder.as_data_source(split=parsed.split)
            for index in range(len(source)):
                value = source[index][parsed.column]
                yield value if isinstance(value, bytes) else str(value).encode("utf-8")

        return pack(name, parsed.seq_len, key, documents)


def open_builder(
    name: str, data_dir: str | None = None, make: Callable[..., Any] | None = None
) -> Any:
    """Returns the TFDS builder of ``tfds:NAME``, prepared as array_record files.

    Args:
        name: The name that the user wrote.
        data_dir: Folder of TFDS's sets; TFDS's default folder if None.
        make: Creates the builder from ``data_dir`` and ``file_format``, for sets whose builder in
            TFDS requires TensorFlow even to read; it must have the same name and version.

    Raises:
        ScalaxError: The set is unknown or not prepared; the message has the command that
            prepares it.
    """
    import tensorflow_datasets as tfds

    logging.getLogger("absl").setLevel(logging.ERROR)  # the error below replaces TFDS's warnings
    set_name = name.partition(":")[2]
    if not set_name:
        raise ScalaxError("expected tfds:NAME", where=f"data {name!r}", fix='write "tfds:mnist"')
    folder = f"data_dir='{data_dir}', " if data_dir is not None else ""
    prepare = (
        f'prepare it once where TensorFlow is installed: python -c "import tensorflow_datasets '
        f"as tfds; tfds.builder('{set_name}', {folder}file_format='array_record')"
        '.download_and_prepare()"'
    )
    try:
        make = make or functools.partial(tfds.builder, set_name)
        builder = make(data_dir=data_dir, file_format="array_record")
    except Exception as error:
        text = str(error).strip().splitlines()[0]
        raise ScalaxError(
            f"TFDS cannot open it ({type(error).__name__}: {text})",
            where=f"data {name!r}",
            fix=prepare,
        ) from error
    if not builder.is_prepared():
        raise ScalaxError(
            f"not prepared in {builder.data_dir}", where=f"data {name!r}", fix=prepare
        )
    return builder
