"""Tests of the datasets: messages, splits, prepared TFDS sets and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scalax_text.catalogues import Message, read_messages, split
from scalax_text.encoding import BYTES, PAD, decode
from scalax_text.imdb import ImdbReviews
from scalax_text.messages import Catalogues, Languages
from scalax_text.wmt import wmt14_de_en, wmt19_fr_de

import scalax as sx

HUMANIZE = {"packages": ["humanize"], "min_messages": 20}
PO = """
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

msgid "Log in"
msgstr "Anmelden"

#, fuzzy
msgid "Log out"
msgstr "Abgemeldet"

msgid "Home"
msgstr ""

msgid "OK"
msgstr "OK"

#, python-format
msgid "%(n)d day"
msgid_plural "%(n)d days"
msgstr[0] "%(n)d Tag"
msgstr[1] "%(n)d Tage"

#~ msgid "Gone"
#~ msgstr "Weg"
"""


def catalogue(folder: Path, locale: str, text: str) -> Path:
    file = folder / locale / "LC_MESSAGES" / "app.po"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_fuzzy_empty_and_obsolete_entries_are_skipped(tmp_path: Path) -> None:
    file = catalogue(tmp_path, "de", PO)
    want = [Message("%(n)d days", "de", "%(n)d Tage"), Message("Log in", "de", "Anmelden")]
    assert read_messages([], [str(tmp_path)], where="data") == want
    import polib

    polib.pofile(str(file)).save_as_mofile(str(file.with_suffix(".mo")))
    file.unlink()  # the compiled .mo file has the same messages
    assert read_messages([], [str(tmp_path)], where="data") == want


def test_splits_share_no_source_and_no_translation() -> None:
    messages = read_messages(["Django", "humanize"], None, where="data")
    splits = split(messages)
    assert 0.05 < len(splits["eval"]) / len(messages) < 0.15
    for part in ("source", "target"):
        train, held_out = ({getattr(m, part) for m in splits[name]} for name in splits)
        assert not train & held_out
    assert {name: sorted(part) for name, part in split(reversed(messages)).items()} == splits
    same = [Message(text, "de", f"{k}") for k, text in enumerate(["Log in", "log in!", "LOG IN"])]
    assert sorted(map(len, split(same).values())) == [0, 3]


def test_examples_decode_to_the_messages() -> None:
    opened = Catalogues().open("catalogues", HUMANIZE)
    known = {(m.source, m.locale): m.target for m in read_messages(["humanize"], None, where="x")}
    source = opened.source("train")
    assert len(source) == opened.spec.train_examples > 500
    for index in range(0, len(source), 7):
        example = source[index]
        locale = opened.names[example["source"][0] - BYTES]
        assert known[decode(example["source"]), locale] == decode(example["target"])
    assert opened.spec.classes == BYTES + len(opened.names)


def test_labels_are_languages_without_country_or_script() -> None:
    opened = Languages().open("languages", HUMANIZE)
    assert {"pt", "zh"} <= set(opened.names)
    assert not any("_" in name for name in opened.names)
    text, label = (opened.splits["train"].columns[k] for k in ("text", "label"))
    known = {
        (m.target.encode()[:48], m.language) for m in read_messages(["humanize"], None, where="x")
    }
    for row, number in zip(text[::5], label[::5], strict=True):
        assert (decode(row).encode(), opened.names[number]) in known


def test_texts_that_are_equal_once_cut_are_in_one_split() -> None:
    opened = Languages().open("languages", {**HUMANIZE, "seq_len": 4})
    rows = [{row.tobytes() for row in s.columns["text"]} for s in opened.splits.values()]
    assert not rows[0] & rows[1]


def test_long_pairs_are_left_out() -> None:
    opened = Catalogues().open("catalogues", {**HUMANIZE, "seq_len": 12})
    target = opened.splits["train"].columns["target"]
    assert (np.sum(target == 1, axis=1) == 1).all()  # each target has one end mark


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"packages": ["no-such-thing"]}, "not installed. Fix: pip install no-such-thing"),
        ({"packages": ["polib"]}, "no translated message in polib"),
        ({**HUMANIZE, "locales": ["de_DE", "xx"]}, "no message in xx. Fix: choose among ar, "),
        ({**HUMANIZE, "min_messages": 10_000}, "no locale has 10000 messages"),
        ({**HUMANIZE, "seq_len": 2}, "is short enough"),
        ({"column": "text"}, r"data\.column: unknown key"),
    ],
)
def test_wrong_options_raise(options: dict, message: str) -> None:
    with pytest.raises(sx.ScalaxError, match=message):
        Catalogues().open("catalogues", options)


def test_a_damaged_catalogue_is_named(tmp_path: Path) -> None:
    catalogue(tmp_path, "de", 'msgid "a"\nwhat?\n')
    with pytest.raises(sx.ScalaxError, match=r"app\.po: cannot read the catalogue"):
        Languages().open("languages", {"folders": [str(tmp_path)]})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepares small sets with TFDS, in the formats and folders of IMDB and WMT 2014."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.translate import wmt14

    folder = tmp_path_factory.mktemp("tfds")
    with tfds.core.registered.skip_registration():

        class ImdbReviews(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")
            BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="plain_text"),)

            def _info(self):
                label = tfds.features.ClassLabel(names=["neg", "pos"])
                features = tfds.features.FeaturesDict(
                    {"text": tfds.features.Text(), "label": label}
                )
                return tfds.core.DatasetInfo(builder=self, features=features)

            def _split_generators(self, dl_manager):
                return {"train": self._generate_examples(8), "test": self._generate_examples(4)}

            def _generate_examples(self, count):
                for k in range(count):
                    yield k, {"text": f"{count} stars, number {k}", "label": k % 2}

        class Wmt14Translate(wmt14.Wmt14Translate):
            def _split_generators(self, dl_manager):
                return {
                    "train": self._generate_examples(8),
                    "validation": self._generate_examples(3),
                }

            def _generate_examples(self, count):
                for k in range(count):
                    yield k, {"de": f"Straße {k} von {count}", "en": f"street {k} of {count}"}

    ImdbReviews(data_dir=folder, file_format="array_record").download_and_prepare()
    Wmt14Translate(
        data_dir=folder, config="de-en", file_format="array_record"
    ).download_and_prepare()
    return folder


def test_imdb_gives_reviews_cut_and_labels(prepared: Path) -> None:
    options = {"data_dir": str(prepared), "seq_len": 12}
    opened = ImdbReviews().open("tfds:imdb_reviews", options)
    assert (opened.spec.train_examples, opened.spec.eval_examples) == (8, 4)
    assert opened.spec.classes == 2
    for split_name, count in (("train", 8), ("eval", 4)):
        source = opened.source(split_name)
        reviews = [(decode(source[k]["text"]), int(source[k]["label"])) for k in range(len(source))]
        assert {text for text, _ in reviews} == {f"{count} stars, number"[:12]}
        assert sorted(label for _, label in reviews) == [0] * (count // 2) + [1] * (count // 2)


@pytest.mark.parametrize(("to", "ends"), [(None, "street"), ("de", "Straße")])
def test_wmt_translates_either_way(prepared: Path, to: str | None, ends: str) -> None:
    options = {"data_dir": str(prepared), "seq_len": 24} | ({"to": to} if to else {})
    opened = wmt14_de_en().open("tfds:wmt14_translate/de-en", options)
    assert (opened.spec.train_examples, opened.spec.eval_examples) == (8, 3)
    for split_name in ("train", "eval"):
        source = opened.source(split_name)
        for index in range(len(source)):
            example = source[index]
            one, two = decode(example["source"]), decode(example["target"])
            assert two.startswith(ends)
            assert not one.startswith(ends)
            assert one.split()[1] == two.split()[1]  # the same number, so the same pair
            assert example["source"][0] == BYTES
            assert example["target"][-1] == PAD


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        (ImdbReviews(), "imdb_reviews"),
        (wmt14_de_en(), "wmt14_translate/de-en"),
        (wmt19_fr_de(), "wmt19_translate/fr-de"),
    ],
)
def test_a_set_not_prepared_shows_the_command(dataset, name, tmp_path: Path) -> None:
    with pytest.raises(sx.ScalaxError, match="not prepared in") as caught:
        dataset.open(f"tfds:{name}", {"data_dir": str(tmp_path)})
    assert f"tfds.builder('{name}', data_dir='{tmp_path}'" in str(caught.value)


def test_wmt_rejects_other_languages() -> None:
    with pytest.raises(sx.ScalaxError, match=r"unknown language 'fr' \(expected de or en\)"):
        wmt14_de_en().open("tfds:wmt14_translate/de-en", {"to": "fr"})
