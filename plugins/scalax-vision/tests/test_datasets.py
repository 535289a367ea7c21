"""Tests of the datasets: their content, fixed and disjoint splits, and errors."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scalax_vision.digits import Digits
from scalax_vision.tfds_images import Cifar10, ImageNet, Mnist

import scalax as sx


def test_digits_are_deterministic_and_equal_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    first, second = Digits().open("digits", {}), Digits().open("digits", {})
    assert first.spec == second.spec
    labels = {}
    for split in ("train", "eval"):
        source, again = first.source(split), second.source(split)
        for index in range(len(source)):
            example = source[index]
            assert example["image"].dtype == np.float32
            assert example["image"].shape == first.spec.features["image"].shape == (8, 8, 1)
            assert example["label"].dtype == np.int32
            np.testing.assert_array_equal(example["image"], again[index]["image"])
            labels[(example["image"] * 16).astype(np.uint8).tobytes()] = int(example["label"])
    digits = load_digits()
    scans = [scan.astype(np.uint8).tobytes() for scan in digits.images]
    assert labels == dict(zip(scans, digits.target.tolist(), strict=True))


def test_digits_splits_are_disjoint_and_have_every_label() -> None:
    opened = Digits().open("digits", {})
    sources = {split: opened.source(split) for split in ("train", "eval")}
    assert opened.spec.train_examples == len(sources["train"]) == 1208
    assert opened.spec.eval_examples == len(sources["eval"]) == 589
    scans = {
        split: {source[i]["image"].tobytes() for i in range(len(source))}
        for split, source in sources.items()
    }
    assert not scans["train"] & scans["eval"]
    for source in sources.values():
        assert {int(source[i]["label"]) for i in range(len(source))} == set(range(10))


def test_fewer_digits_are_a_subset_and_do_not_change_the_held_out_ones() -> None:
    whole, some, few = (
        Digits().open("digits", {"examples": n} if n else {}) for n in (None, 300, 40)
    )
    scans = [
        {opened.source("train")[i]["image"].tobytes() for i in range(opened.spec.train_examples)}
        for opened in (few, some, whole)
    ]
    assert [len(each) for each in scans] == [40, 300, 1208]
    assert scans[0] < scans[1] < scans[2]
    held_out = whole.source("eval")
    for opened in (some, few):
        assert opened.spec.fingerprint != whole.spec.fingerprint
        np.testing.assert_array_equal(opened.source("eval").image, held_out.image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 16}, r"^data\.size: unknown key"),
        ({"examples": 2000}, r"data\.examples: .*expected at most 1,208, got 2,000"),
        ({"examples": 0}, r"data\.examples: expected a number of at least 1, got 0"),
    ],
)
def test_wrong_options_of_digits_raise(options: dict, message: str) -> None:
    with pytest.raises(sx.ScalaxError, match=message):
        Digits().open("digits", options)


SETS = {
    "mnist": (Mnist(), "3.0.1", ("train", "test")),
    "cifar10": (Cifar10(), "3.0.2", ("train", "test")),
    "imagenet2012": (ImageNet(), "5.1.0", ("train", "validation")),
}
SIDES = {"mnist": [(28, 28)], "cifar10": [(32, 32)], "imagenet2012": [(40, 60), (90, 30), (24, 24)]}


def pixels_of(name: str, split: str) -> list[np.ndarray]:
    """Returns small pictures of random tiles, whose centres JPEG hardly changes."""
    rng = np.random.default_rng(split == "train")
    channels = 1 if name == "mnist" else 3
    pictures = []
    for index in range(10 if split == "train" else 6):
        height, width = SIDES[name][index % len(SIDES[name])]
        tile = 1 if name != "imagenet2012" else 8
        shape = (-(-height // tile), -(-width // tile), channels)
        tiles = rng.integers(0, 256, shape, dtype=np.uint8)
        pictures.append(tiles.repeat(tile, 0).repeat(tile, 1)[:height, :width])
    return pictures


def encoded(pixels: np.ndarray, form: str) -> io.BytesIO:
    stream = io.BytesIO()
    quality = {"quality": 95, "subsampling": 0} if form == "JPEG" else {}
    Image.fromarray(pixels.squeeze()).save(stream, form, **quality)
    stream.seek(0)
    return stream


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepares small sets with TFDS, in the formats and folders of the real ones."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    for name, (_, version, splits) in SETS.items():
        large = name == "imagenet2012"
        shape = (None, None, 3) if large else (*SIDES[name][0], 1 if name == "mnist" else 3)
        features = {
            "image": tfds.features.Image(shape=shape, encoding_format="jpeg" if large else "png"),
            "label": tfds.features.ClassLabel(num_classes=1000 if large else 10),
        }
        more = {"mnist": [], "cifar10": ["id"], "imagenet2012": ["file_name"]}[name]
        features |= {key: tfds.features.Text() for key in more}

        def examples(name=name, split="train", form="JPEG" if large else "PNG", more=more):
            for index, pixels in enumerate(pixels_of(name, split)):
                image = {"image": encoded(pixels, form), "label": index}
                yield index, image | dict.fromkeys(more, f"{split}_{index}")

        def generators(*_, splits=splits, examples=examples):
            return {split: examples(split=split) for split in splits}

        def info(self, features=features):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        body = {
            "VERSION": tfds.core.Version(version),
            "_info": info,
            "_split_generators": generators,
            "_generate_examples": examples,
            "__module__": __name__,
        }
        with tfds.core.registered.skip_registration():
            builder = type(name.capitalize(), (tfds.core.GeneratorBasedBuilder,), body)
        builder(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_sets_of_one_shape_give_the_prepared_pixels(prepared: Path, name: str) -> None:
    dataset, _, splits = SETS[name]
    opened = dataset.open(dataset.name, {"data_dir": str(prepared)})
    spec = opened.spec
    assert (spec.unit, spec.units_per_example, spec.classes) == ("examples", 1, 10)
    for split, tfds_split in zip(("train", "eval"), splits, strict=True):
        source = opened.source(split)
        scaled = [pixels / np.float32(255) for pixels in pixels_of(name, tfds_split)]
        if name == "cifar10":
            scaled = [2 * pixels - 1 for pixels in scaled]
        seen = set()
        for index in range(len(source)):
            example = source[index]
            assert example["image"].shape == spec.features["image"].shape
            assert (example["image"].dtype, example["label"].dtype) == (np.float32, np.int32)
            label = int(example["label"])
            np.testing.assert_allclose(example["image"], scaled[label], atol=1e-6)
            seen.add(label)
        assert seen == set(range(len(scaled)))


def test_imagenet_is_the_central_square_scaled_and_normalised(prepared: Path) -> None:
    dataset, _, splits = SETS["imagenet2012"]
    opened = dataset.open(dataset.name, {"data_dir": str(prepared), "size": 24})
    assert opened.spec.features["image"].shape == (24, 24, 3)
    assert opened.spec.classes == 1000
    assert (opened.spec.train_examples, opened.spec.eval_examples) == (10, 6)
    for split, tfds_split in zip(("train", "eval"), splits, strict=True):
        source, stored = opened.source(split), pixels_of("imagenet2012", tfds_split)
        for index in range(len(source)):
            example = source[index]
            pixels = stored[int(example["label"])]
            side = min(pixels.shape[:2])
            top, left = ((length - side) // 2 for length in pixels.shape[:2])
            square = Image.fromarray(pixels[top : top + side, left : left + side])
            want = np.asarray(square.resize((24, 24), Image.Resampling.BICUBIC), float) / 255
            got = example["image"] * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
            assert example["image"].dtype == np.float32
            assert np.abs(got - want).mean() < 0.03  # JPEG loses some detail


def test_fewer_examples_are_the_first_ones(prepared: Path) -> None:
    whole, some = (
        Cifar10().open("tfds:cifar10", {"data_dir": str(prepared), **more})
        for more in ({}, {"examples": 5})
    )
    assert (some.spec.train_examples, some.spec.eval_examples) == (5, 6)
    assert some.spec.fingerprint != whole.spec.fingerprint
    for index in range(5):
        one, other = (opened.source("train")[index] for opened in (whole, some))
        np.testing.assert_array_equal(one["image"], other["image"])


@pytest.mark.parametrize("name", list(SETS))
def test_a_set_not_prepared_shows_the_command(name: str, tmp_path: Path) -> None:
    with pytest.raises(sx.ScalaxError) as caught:
        SETS[name][0].open(f"tfds:{name}", {"data_dir": str(tmp_path)})
    assert "not prepared in" in str(caught.value)
    assert f"tfds.builder('{name}', data_dir='{tmp_path}', file_format='array_record')" in str(
        caught.value
    )
    assert "download_and_prepare()" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mnist", {"seq_len": 8}, r"data\.seq_len: unknown key"),
        ("cifar10", {"size": 64}, r"data\.size: unknown key"),
        ("imagenet2012", {"size": 4}, r"data\.size: expected a number of at least 8, got 4"),
        ("mnist", {"examples": 11}, r"data\.examples: .*expected at most 10, got 11"),
    ],
)
def test_wrong_options_raise(prepared: Path, name: str, options: dict, message: str) -> None:
    with pytest.raises(sx.ScalaxError, match=message):
        SETS[name][0].open(f"tfds:{name}", {"data_dir": str(prepared), **options})
