"""Tests of the datasets: synthesis, held-out speakers, noise, recordings and errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scalax_speech import espeak, features, synthetic
from scalax_speech.speech_commands import LABELS, SpeechCommands
from scalax_speech.synthetic import SyntheticCommands

import scalax as sx

FEW = {"words": ["yes", "seven", "backward"], "voices": 3}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALAX_CACHE", str(tmp_path / "cache"))


def test_synthesis_is_deterministic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = SyntheticCommands().open("synthetic-commands", FEW)
    cached = SyntheticCommands().open("synthetic-commands", FEW)
    monkeypatch.setenv("SCALAX_CACHE", str(tmp_path / "another"))
    again = SyntheticCommands().open("synthetic-commands", FEW)
    assert first.spec == cached.spec == again.spec
    assert first.spec.classes == 3
    assert first.spec.train_examples + first.spec.eval_examples == 3 * 3 * 2 * len(
        synthetic.ACCENTS
    )
    example = again.source("train")[5]
    assert example["features"].shape == (features.FRAMES, features.MELS)
    assert example["features"].dtype == np.float32
    np.testing.assert_array_equal(example["features"], first.source("train")[5]["features"])
    labels = [int(first.source("eval")[k]["label"]) for k in range(len(first.source("eval")))]
    assert [labels.count(label) for label in range(3)] == [first.spec.eval_examples // 3] * 3


def test_features_of_a_word_are_nearest_to_the_same_word() -> None:
    """Compares held-out voices with training voices, with little noise."""
    opened = SyntheticCommands().open("synthetic-commands", FEW | {"voices": 8, "snr": [40, 40]})
    sources = {split: opened.source(split) for split in ("train", "eval")}
    # Sorting over time removes the word's position in the second.
    sorted_features = {
        split: np.stack([np.sort(source[k]["features"], axis=0) for k in range(len(source))])
        for split, source in sources.items()
    }
    labels = {
        split: np.array([source[k]["label"] for k in range(len(source))])
        for split, source in sources.items()
    }
    words = np.stack(
        [sorted_features["train"][labels["train"] == k].mean(axis=0) for k in range(3)]
    )
    distances = np.square(sorted_features["eval"][:, None] - words).sum(axis=(2, 3))
    assert (distances.argmin(axis=1) == labels["eval"]).mean() > 0.7  # one in three by chance


def test_fewer_voices_are_the_first_and_a_speaker_has_one_split() -> None:
    every_voice, few = synthetic._voices(None), synthetic._voices(10)
    assert list(few.items()) == list(every_voice.items())[:10]
    assert set(every_voice) == set(espeak.variants())
    splits: dict[str, set[bool]] = {}
    for voice, held_out in every_voice.items():
        splits.setdefault(voice.rstrip("0123456789").lower(), set()).add(held_out)
    assert all(len(split) == 1 for split in splits.values())
    assert 0.1 < sum(every_voice.values()) / len(every_voice) < 0.25


@pytest.mark.parametrize("decibels", [0.0, 15.0])
def test_noise_has_the_requested_level(decibels: float) -> None:
    at = np.arange(espeak.RATE // 2) / espeak.RATE
    spoken = (8000 * np.sin(2 * np.pi * 1000 * at)).astype(np.int16)
    ratios = []
    for seed in range(20):
        sound = synthetic.in_noise(spoken, (decibels, decibels), seed)
        assert sound.shape == (features.RATE,)
        assert np.abs(sound).max() <= 1
        near = np.lib.stride_tricks.sliding_window_view(np.square(sound), 8000).mean(axis=1)
        start = int(near.argmax())
        rest = np.concatenate([sound[: max(0, start - 400)], sound[start + 8400 :]])
        noise = np.mean(rest**2)
        ratios.append(10 * np.log10((near[start] - noise) / noise))
    assert np.median(ratios) == pytest.approx(decibels, abs=1.0)


def test_resampling_keeps_the_pitch() -> None:
    at = np.arange(espeak.RATE) / espeak.RATE
    spoken = (8000 * np.sin(2 * np.pi * 1000 * at)).astype(np.int16)
    sound = synthetic.in_noise(spoken, (60, 60), 0)
    assert (
        np.abs(np.fft.rfft(sound)).argmax() == 1000
    )  # bins are 1 Hz, since the sound lasts one second


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voices": 1}, r"data\.voices: expected a number of at least 2, got 1"),
        ({"words": ["yes", "yes"]}, r"data\.words: expected a list of different words"),
        ({"snr": [20, 0]}, r"data\.snr: expected two numbers in dB, the lower one first"),
        ({"seq_len": 8}, r"data\.seq_len: unknown key"),
    ],
)
def test_wrong_options_raise(options: dict, message: str) -> None:
    with pytest.raises(sx.ScalaxError, match=message):
        SyntheticCommands().open("synthetic-commands", options)


def test_an_unknown_voice_raises() -> None:
    unknown = espeak.Utterance("no-such-voice", "yes", 175, 50, 50)
    with pytest.raises(
        sx.ScalaxError, match=r"eSpeak NG ended with exit code 1: .*no-such-voice.*error 2"
    ):
        list(espeak.speak([unknown]))


def test_a_word_without_sound_raises() -> None:
    words = [espeak.Utterance("en", word, 175, 50, 50) for word in ("yes", "...", "no")]
    with pytest.raises(
        sx.ScalaxError, match=r"gives no sound for '\.\.\.'\. Fix: give words in English"
    ):
        list(espeak.speak(words))


WITHOUT = """
import sys
sys.modules["espeakng_loader"] = None  # as if it were not installed
import scalax as sx
from scalax_speech.synthetic import SyntheticCommands
from scalax_speech.speech_commands import SpeechCommands
from scalax_speech.conformer import Conformer
try:
    SyntheticCommands().open("synthetic-commands", {})
except sx.ScalaxError as error:
    print(error)
"""


def test_without_the_synthesiser_only_its_dataset_raises() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True
    )
    assert "cannot find eSpeak NG" in done.stdout
    assert "pip install espeakng-loader" in done.stdout


LENGTHS = (12_000, 16_000, 19_000)


def recordings(split: str) -> list[np.ndarray]:
    rng = np.random.default_rng(len(split))
    return [rng.integers(-9000, 9000, length).astype(np.int16) for length in LENGTHS * 4]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepares a small set with TFDS, in Speech Commands' format and folder.

    TFDS's audio feature needs TensorFlow but stores samples like an int16 tensor. This builder
    declares a tensor and then writes the audio feature into ``features.json``.
    """
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():

        class SpeechCommands(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("0.0.3")

            def _info(self):
                sound = tfds.features.Tensor(shape=(None,), dtype=np.int16)
                label = tfds.features.ClassLabel(names=LABELS)
                features_of = tfds.features.FeaturesDict({"audio": sound, "label": label})
                return tfds.core.DatasetInfo(builder=self, features=features_of)

            def _split_generators(self, dl_manager):
                return {
                    name: self._generate_examples(name) for name in ("train", "validation", "test")
                }

            def _generate_examples(self, name):
                for index, samples in enumerate(recordings(name)):
                    yield index, {"audio": samples, "label": LABELS[index]}

    folder = tmp_path_factory.mktemp("tfds")
    builder = SpeechCommands(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    features_file = Path(builder.data_dir) / "features.json"
    description = json.loads(features_file.read_text())
    sound = description["featuresDict"]["features"]["audio"]
    sound["pythonClassName"] = "tensorflow_datasets.core.features.audio_feature.Audio"
    sound["audio"] = sound.pop("tensor") | {"fileFormat": "wav", "sampleRate": "16000"}
    features_file.write_text(json.dumps(description))
    return folder


@pytest.mark.parametrize("held_out", ["validation", "test"])
def test_speech_commands_gives_the_prepared_recordings(prepared: Path, held_out: str) -> None:
    options = {"data_dir": str(prepared), "held_out": held_out}
    opened = SpeechCommands().open("tfds:speech_commands", options)
    spec = opened.spec
    assert (spec.unit, spec.classes, spec.train_examples, spec.eval_examples) == (
        "examples",
        12,
        12,
        12,
    )
    for split, name in (("train", "train"), ("eval", held_out)):
        source = opened.source(split)
        by_label = {int(source[k]["label"]): source[k]["features"] for k in range(len(source))}
        for label, samples in enumerate(recordings(name)):
            second = np.zeros(16_000, np.int16)
            second[: len(samples)] = samples[:16_000]
            np.testing.assert_array_equal(by_label[label], features.log_mel(second))


def test_speech_commands_not_prepared_shows_the_command(tmp_path: Path) -> None:
    with pytest.raises(sx.ScalaxError) as caught:
        SpeechCommands().open("tfds:speech_commands", {"data_dir": str(tmp_path)})
    assert "not prepared in" in str(caught.value)
    assert f"tfds.builder('speech_commands', data_dir='{tmp_path}'" in str(caught.value)


def test_speech_commands_rejects_a_wrong_split() -> None:
    with pytest.raises(sx.ScalaxError, match=r"data\.held_out: expected"):
        SpeechCommands().open("tfds:speech_commands", {"held_out": "train"})
