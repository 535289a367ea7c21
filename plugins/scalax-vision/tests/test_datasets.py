"""The datasets: what they hold, that splits are fixed and disjoint, and what errors say."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scalax_vision.digits import Digits
from scalax_vision.mnist import Mnist

import scalax as sx


def test_digits_are_the_same_every_time_and_as_scikit_learn_has_them() -> None:
    from sklearn.datasets import load_digits

    first, second = Digits().open("digits", {}), Digits().open("digits", {})
    assert first.spec == second.spec
    found = {}
    for split in ("train", "eval"):
        source, again = first.source(split), second.source(split)
        for index in range(len(source)):
            example = source[index]
            assert example["image"].dtype == np.float32
            assert example["image"].shape == first.spec.features["image"].shape == (8, 8, 1)
            assert example["label"].dtype == np.int32
            np.testing.assert_array_equal(example["image"], again[index]["image"])
            found[(example["image"] * 16).astype(np.uint8).tobytes()] = int(example["label"])
    theirs = load_digits()
    scans = [scan.astype(np.uint8).tobytes() for scan in theirs.images]
    assert found == dict(zip(scans, theirs.target.tolist(), strict=True))


def test_digits_splits_are_disjoint_and_hold_every_label() -> None:
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


def test_digits_take_no_options() -> None:
    with pytest.raises(sx.ScalaxError, match=r"^data\.size: unknown key"):
        Digits().open("digits", {"size": 16})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set of random pixels, prepared by TFDS itself in the format and place of MNIST."""
    import tensorflow_datasets as tfds

    def png(pixels: np.ndarray) -> io.BytesIO:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        stream.seek(0)
        return stream

    with tfds.core.registered.skip_registration():

        class Mnist(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("3.0.1")

            def _info(self):
                features = tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(shape=(28, 28, 1)),
                        "label": tfds.features.ClassLabel(num_classes=10),
                    }
                )
                return tfds.core.DatasetInfo(builder=self, features=features)

            def _split_generators(self, dl_manager):
                return {
                    name: self._generate_examples(seed)
                    for seed, name in enumerate(("train", "test"))
                }

            def _generate_examples(self, seed):
                for index, pixels in enumerate(random_images(seed)):
                    yield index, {"image": png(pixels), "label": int(pixels[0, 0]) % 10}

    folder = tmp_path_factory.mktemp("tfds")
    Mnist(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def random_images(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, ((60, 20)[seed], 28, 28), dtype=np.uint8)


def test_mnist_gives_the_pixels_that_tfds_prepared(prepared: Path) -> None:
    opened = Mnist().open("tfds:mnist", {"data_dir": str(prepared)})
    spec = opened.spec
    assert (spec.unit, spec.units_per_example, spec.classes) == ("examples", 1, 10)
    assert (spec.train_examples, spec.eval_examples) == (60, 20)
    for seed, split in enumerate(("train", "eval")):
        source = opened.source(split)
        want = {(pixels / np.float32(255)).tobytes() for pixels in random_images(seed)}
        examples = [source[index] for index in range(len(source))]
        assert {example["image"].tobytes() for example in examples} == want
        for example in examples:
            assert example["image"].shape == spec.features["image"].shape == (28, 28, 1)
            assert (example["image"].dtype, example["label"].dtype) == (np.float32, np.int32)
            assert round(float(example["image"][0, 0, 0]) * 255) % 10 == example["label"]


def test_mnist_not_prepared_names_the_command_that_does_it(tmp_path: Path) -> None:
    with pytest.raises(sx.ScalaxError) as caught:
        Mnist().open("tfds:mnist", {"data_dir": str(tmp_path)})
    assert "not prepared in" in str(caught.value)
    assert f"tfds.builder('mnist', data_dir='{tmp_path}', file_format='array_record')" in str(
        caught.value
    )
    assert "download_and_prepare()" in str(caught.value)


def test_mnist_wrong_option() -> None:
    with pytest.raises(sx.ScalaxError, match=r"data\.seq_len: unknown key"):
        Mnist().open("tfds:mnist", {"seq_len": 8})
