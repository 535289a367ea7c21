"""The datasets: who says what, what is held out, the noise asked for, and what errors say."""

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


def test_every_synthesis_sounds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_word_sounds_like_itself_more_than_like_others() -> None:
    """Spoken by others, in hardly any noise: the label is the word."""
    opened = SyntheticCommands().open("synthetic-commands", FEW | {"voices": 8, "snr": [40, 40]})
    sources = {split: opened.source(split) for split in ("train", "eval")}
    # Spectra over the second, wherever in it the word stands.
    means = {
        split: np.stack([np.sort(source[k]["features"], axis=0) for k in range(len(source))])
        for split, source in sources.items()
    }
    labels = {
        split: np.array([source[k]["label"] for k in range(len(source))])
        for split, source in sources.items()
    }
    words = np.stack([means["train"][labels["train"] == k].mean(axis=0) for k in range(3)])
    apart = np.square(means["eval"][:, None] - words).sum(axis=(2, 3))
    assert (apart.argmin(axis=1) == labels["eval"]).mean() > 0.7  # one in three by chance


def test_fewer_voices_are_the_first_and_no_speaker_is_on_both_sides() -> None:
    all_of_them, few = synthetic._voices(None), synthetic._voices(10)
    assert list(few.items()) == list(all_of_them.items())[:10]
    assert set(all_of_them) == set(espeak.variants())
    sides: dict[str, set[bool]] = {}
    for voice, held_out in all_of_them.items():
        sides.setdefault(voice.rstrip("0123456789").lower(), set()).add(held_out)
    assert all(len(side) == 1 for side in sides.values())
    assert 0.1 < sum(all_of_them.values()) / len(all_of_them) < 0.25


@pytest.mark.parametrize("decibels", [0.0, 15.0])
def test_noise_is_as_loud_as_asked(decibels: float) -> None:
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


def test_a_tone_keeps_its_pitch_in_another_rate() -> None:
    at = np.arange(espeak.RATE) / espeak.RATE
    spoken = (8000 * np.sin(2 * np.pi * 1000 * at)).astype(np.int16)
    sound = synthetic.in_noise(spoken, (60, 60), 0)
    assert np.abs(np.fft.rfft(sound)).argmax() == 1000  # bins of 1 Hz: it lasts a second


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"voices": 1}, r"data\.voices: expected a number of at least 2, got 1"),
        ({"words": ["yes", "yes"]}, r"data\.words: expected a list of different words"),
        ({"snr": [20, 0]}, r"data\.snr: expected two numbers in dB, the lower one first"),
        ({"seq_len": 8}, r"data\.seq_len: unknown key"),
    ],
)
def test_wrong_options_say_so(options: dict, says: str) -> None:
    with pytest.raises(sx.ScalaxError, match=says):
        SyntheticCommands().open("synthetic-commands", options)


def test_a_voice_that_is_not_there_says_so() -> None:
    wanted = espeak.Utterance("no-such-voice", "yes", 175, 50, 50)
    with pytest.raises(
        sx.ScalaxError, match=r"eSpeak NG ended with exit code 1: .*no-such-voice.*error 2"
    ):
        list(espeak.speak([wanted]))


def test_what_cannot_be_said_says_so() -> None:
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


def test_without_the_synthesiser_only_its_set_is_missing() -> None:
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
    """A small set, prepared by TFDS itself in the place and format of Speech Commands.

    TFDS's feature for sound needs TensorFlow; the samples of it are stored as a tensor of int16 is,
    and its name is put into the description that TFDS leaves beside the files.
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
    described = Path(builder.data_dir) / "features.json"
    stated = json.loads(described.read_text())
    sound = stated["featuresDict"]["features"]["audio"]
    sound["pythonClassName"] = "tensorflow_datasets.core.features.audio_feature.Audio"
    sound["audio"] = sound.pop("tensor") | {"fileFormat": "wav", "sampleRate": "16000"}
    described.write_text(json.dumps(stated))
    return folder


@pytest.mark.parametrize("held_out", ["validation", "test"])
def test_speech_commands_gives_what_tfds_prepared(prepared: Path, held_out: str) -> None:
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
        found = {int(source[k]["label"]): source[k]["features"] for k in range(len(source))}
        for label, samples in enumerate(recordings(name)):
            second = np.zeros(16_000, np.int16)
            second[: len(samples)] = samples[:16_000]
            np.testing.assert_array_equal(found[label], features.log_mel(second))


def test_speech_commands_not_prepared_names_the_command_that_does_it(tmp_path: Path) -> None:
    with pytest.raises(sx.ScalaxError) as caught:
        SpeechCommands().open("tfds:speech_commands", {"data_dir": str(tmp_path)})
    assert "not prepared in" in str(caught.value)
    assert f"tfds.builder('speech_commands', data_dir='{tmp_path}'" in str(caught.value)


def test_speech_commands_wrong_option() -> None:
    with pytest.raises(sx.ScalaxError, match=r"data\.held_out: expected"):
        SpeechCommands().open("tfds:speech_commands", {"held_out": "train"})
