"""Text becomes windows of bytes: all of it, each byte once, split by document."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from scalax.data.stdlib import Stdlib
from scalax.data.text import Text
from scalax.data.tokens import split_of
from scalax.errors import ScalaxError

DOCUMENTS = [f"document {k}: " + "words and more words " * (k % 7 + 3) for k in range(200)]


def open_text(files: list[Path], **options: object):
    return Text().open("text", {"files": [str(f) for f in files], "seq_len": 16, **options})


def all_text(dataset, split: str) -> bytes:
    source = dataset.source(split)
    windows = [source[k]["tokens"] for k in range(len(source))]
    return b"".join(bytes(w[:-1].astype(np.uint8)) for w in windows) + bytes([windows[-1][-1]])


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    file = tmp_path / "documents.jsonl"
    file.write_text("".join(json.dumps({"text": d, "n": 1}) + "\n" for d in DOCUMENTS))
    return file


def test_windows_give_back_the_documents_of_each_split_in_order(jsonl: Path) -> None:
    dataset = open_text([jsonl])
    for split in ("train", "eval"):
        packed = b"".join(d.encode() + b"\0" for d in DOCUMENTS if split_of(d.encode()) == split)
        text = all_text(dataset, split)
        assert packed.startswith(text)
        assert len(packed) - len(text) < 16


def test_all_three_kinds_of_file_give_the_same_tokens(jsonl: Path, tmp_path: Path) -> None:
    table = tmp_path / "documents.parquet"
    parquet.write_table(pa.table({"body": DOCUMENTS}), table)
    texts = []
    for k, document in enumerate(DOCUMENTS):
        texts.append(tmp_path / f"{k:04d}.txt")
        texts[-1].write_text(document)
    prints = {
        open_text([jsonl]).spec.fingerprint,
        open_text([table], column="body").spec.fingerprint,
        open_text([tmp_path / "*.txt"]).spec.fingerprint,
    }
    assert len(prints) == 1


def test_changed_text_is_another_fingerprint(jsonl: Path) -> None:
    before = open_text([jsonl]).spec.fingerprint
    jsonl.write_text(jsonl.read_text().replace("document 7", "document 8"))
    assert open_text([jsonl]).spec.fingerprint != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "fine"}\n{"body": "no"}\n', "line 2"),
        ('{"text": 3}\n', "expected text, got 3"),
        ("not json\n", "line 1"),
        ("", "too few"),
        ('{"text": "short"}\n', "too few for one window"),
    ],
)
def test_unusable_text_says_where(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(text)
    with pytest.raises(ScalaxError, match=message):
        open_text([file])


def test_missing_files_and_unknown_kinds_are_named(tmp_path: Path) -> None:
    with pytest.raises(ScalaxError, match=r"no file matches.*|nowhere"):
        open_text([tmp_path / "nowhere-*.txt"])
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(ScalaxError, match=r"unknown kind of file '\.docx'"):
        open_text([tmp_path / "a.docx"])


def test_the_embedded_corpus_is_large_real_and_the_same_each_time() -> None:
    first, second = (Stdlib().open("stdlib", {"seq_len": 128}) for _ in range(2))
    assert first.spec == second.spec
    assert first.spec.train_examples > 50_000
    assert first.spec.eval_examples > 1_000
    assert b"def " in all_text_start(first)


def all_text_start(dataset) -> bytes:
    source = dataset.source("train")
    return b"".join(bytes(source[k]["tokens"].astype(np.uint8)) for k in range(100))
