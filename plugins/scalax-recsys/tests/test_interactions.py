"""Tests of the datasets: imports, examples, held-out users, negatives and errors."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scalax_recsys.imports import Imports, imported
from scalax_recsys.movielens import MovieLens100K

import scalax as sx

OPTIONS = {"history": 2, "negatives": 5, "min_users": 2}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALAX_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a.b, c as d\nfrom e import f", ["a.b", "c", "e"]),
        ("def g():\n    import late\nimport soon", ["late", "soon"]),
        ("from . import mod, name", ["p.q.mod", "p.q"]),
        ("from .. import x\nfrom ..r import mod", ["p", "p.r.mod"]),
        ("from a import *; import a", ["a"]),
        ("print 'two'", []),
    ],
)
def test_imports_are_resolved_in_order(text: str, expected: list[str]) -> None:
    assert imported(text.encode(), ("p", "q"), {"p.q.mod", "p.r.mod"}) == expected


def source_tree(folder: Path, files: int) -> Path:
    """Writes packages of files that each import three consecutive modules of six."""
    for k in range(files):
        package = folder / f"pack{k % 3}"
        package.mkdir(parents=True, exist_ok=True)
        lines = [f"import m{(k + j) % 6}" for j in range(3)]
        (package / f"file{k}.py").write_text("\n".join([*lines, f"x = {k}"]))
    return folder


def test_an_example_is_an_import_and_the_imports_before_it(tmp_path: Path) -> None:
    folder = source_tree(tmp_path / "src", 60)
    opened = Imports().open("imports", {"folders": [str(folder)], **OPTIONS})
    assert (opened.spec.unit, opened.spec.classes) == ("examples", 7)
    assert opened.spec.train_examples + opened.spec.eval_examples == 60 * 3
    for split in ("train", "eval"):
        source, named = opened.source(split), []
        for index in range(len(source)):
            example = source[index]
            numbers = [*example["history"][::-1], example["target"]]
            named.append([int(opened.names[k - 1][1:]) for k in numbers if k])
            assert set(example["negatives"]) <= set(range(1, 7))
        for position, seen in enumerate(named):
            assert len(seen) == position % 3 + 1
            assert all((b - a) % 6 == 1 for a, b in itertools.pairwise(seen))
        if split == "train":
            fields = np.array([source[k]["fields"] for k in range(len(source))])
            assert len(np.unique(fields, axis=0)) == 3  # one per package


def test_equal_files_are_in_the_same_split(tmp_path: Path) -> None:
    folder = source_tree(tmp_path / "src", 60)
    for k in range(60):
        text = (folder / f"pack{k % 3}" / f"file{k}.py").read_text()
        (folder / f"pack{k % 3}" / f"copy{k}.py").write_text(text)
    options = {"folders": [str(folder)], **OPTIONS}
    once, again = Imports().open("imports", options), Imports().open("imports", options)
    assert once.spec == again.spec
    for split in once.splits.values():
        assert len(split.starts) % 2 == 0


def test_negatives_are_drawn_as_often_as_they_occur(tmp_path: Path) -> None:
    folder = source_tree(tmp_path / "src", 60)
    for k in range(60):
        (folder / f"lone{k}.py").write_text(f"import m0  # {k}")
    options = {"folders": [str(folder)], "negatives": 200, "min_users": 2}
    opened = Imports().open("imports", options)
    train = opened.source("train")
    drawn = np.concatenate([train[k]["negatives"] for k in range(len(train))])
    targets = np.array([train[k]["target"] for k in range(len(train))])
    np.testing.assert_allclose(
        np.bincount(drawn) / len(drawn), np.bincount(targets) / len(targets), atol=0.01
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folders": ["/no/such/folder"]}, "no Python file in /no/such/folder"),
        ({"seq_len": 8}, r"data\.seq_len: unknown key"),
        ({"history": 0}, r"data\.history: expected a number of at least 1, got 0"),
    ],
)
def test_wrong_options_raise(options: dict, message: str) -> None:
    with pytest.raises(sx.ScalaxError, match=message):
        Imports().open("imports", options)


def test_too_few_users_raise(tmp_path: Path) -> None:
    folder = source_tree(tmp_path / "src", 3)
    with pytest.raises(sx.ScalaxError, match="no interaction in split"):
        Imports().open("imports", {"folders": [str(folder)]})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepares a small set with TFDS, in MovieLens's format and folder."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.structured import movielens

    with tfds.core.registered.skip_registration():

        class Movielens(movielens.Movielens):
            def _split_generators(self, dl_manager):
                return {"train": self._generate_examples()}

            def _generate_examples(self):
                # Films 0 to 7, the last one rated first; every third one is disliked.
                for user in range(80):
                    for film in range(8):
                        yield (
                            f"{user}-{film}",
                            {
                                "user_id": str(user),
                                "movie_id": str(film),
                                "movie_title": "",
                                "movie_genres": [],
                                "user_rating": 2.0 if (user + film) % 3 == 0 else 4.0,
                                "timestamp": 100 - film,
                                "user_gender": user % 2 == 0,
                                "raw_user_age": 30.0,
                                "bucketized_user_age": 25.0,
                                "user_occupation_label": user % 2,
                                "user_occupation_text": "",
                                "user_zip_code": "",
                            },
                        )

    folder = tmp_path_factory.mktemp("tfds")
    builder = Movielens(data_dir=folder, config="100k-ratings", file_format="array_record")
    builder.download_and_prepare()
    return folder


def test_movielens_gives_liked_films_in_order_of_time(prepared: Path) -> None:
    options = {"data_dir": str(prepared), "min_users": 2}
    opened = MovieLens100K().open("tfds:movielens/100k-ratings", options)
    liked = sum((user + film) % 3 != 0 for user in range(80) for film in range(8))
    assert opened.spec.train_examples + opened.spec.eval_examples == liked
    assert opened.spec.features["fields"].shape == (3,)
    for split in ("train", "eval"):
        source = opened.source(split)
        for index in range(len(source)):
            numbers = [source[index]["target"], *source[index]["history"]]
            films = [int(opened.names[k - 1]) for k in numbers if k]
            assert films == sorted(films)  # latest first, since later films have earlier times
    fields = [split.fields for split in opened.splits.values()]
    assert len(np.unique(np.concatenate(fields), axis=0)) == 2


def test_movielens_not_prepared_shows_the_command(tmp_path: Path) -> None:
    with pytest.raises(sx.ScalaxError) as caught:
        MovieLens100K().open("tfds:movielens/100k-ratings", {"data_dir": str(tmp_path)})
    message = str(caught.value)
    assert "not prepared in" in message
    assert f"tfds.builder('movielens/100k-ratings', data_dir='{tmp_path}'" in message
    assert "download_and_prepare()" in message
