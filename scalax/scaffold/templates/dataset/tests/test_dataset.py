"""Tests that the dataset has whole texts, in order."""

from __future__ import annotations

from pydoc_data.topics import topics

import pytest
from template_plugin.dataset import TemplatePlugin

import scalax as sx


def test_the_windows_of_a_split_join_to_whole_texts() -> None:
    opened = TemplatePlugin().open("template-plugin", {"seq_len": 32})
    for split in ("train", "eval"):
        source = opened.source(split)
        text = bytes(t for k in range(len(source)) for t in source[k]["tokens"][:32].tolist())
        articles = text.split(b"\0")[:-1]
        assert articles
        assert set(articles) <= {topic.encode() for topic in topics.values()}


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(sx.ScalaxError, match=r"data\.seq_length: unknown key"):
        TemplatePlugin().open("template-plugin", {"seq_length": 32})
