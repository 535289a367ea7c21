"""The `synthetic-commands` dataset: keywords that eSpeak NG speaks, in noise; made offline.

The speech is synthesised, so results hold for such voices and not for recordings of people.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

import scalax as sx
from scalax_speech import espeak, features

_FORMAT = 1  # version of the cache; increase it when examples change
_HELD_OUT_EVERY = 6
_STEPS = 16  # int8 steps per standard deviation; features are within 8 standard deviations

WORDS = (
    *("backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward"),
    *("four", "go", "happy", "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one"),
    *("right", "seven", "sheila", "six", "stop", "three", "tree", "two", "up", "visual", "wow"),
    *("yes", "zero"),
)
"""The words of Speech Commands, version 2 (Warden 2018, arXiv:1804.03209, section 5)."""

ACCENTS = (
    "en",
    "en-029",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-gb-x-rp",
    "en-us",
    "en-us-nyc",
)
"""eSpeak NG's English, by file; ``en`` is British."""


class _Options(sx.Settings):
    words: list[str] = Field(list(WORDS), min_length=2)
    voices: int | None = Field(None, ge=2)
    takes: int = Field(2, ge=1)
    snr: list[float] = Field([0.0, 20.0], min_length=2, max_length=2)

    @field_validator("words")
    @classmethod
    def _distinct(cls, words: list[str]) -> list[str]:
        if len(set(words)) < len(words) or not all(word.strip() for word in words):
            raise ValueError("a list of different words")
        return words

    @field_validator("snr")
    @classmethod
    def _in_order(cls, snr: list[float]) -> list[float]:
        if not snr[0] <= snr[1]:
            raise ValueError("two numbers in dB, the lower one first")
        return snr


@dataclass(frozen=True)
class Keywords:
    """One-second examples of a split, as features.

    Attributes:
        features: int8 [examples of both splits, frames, mels], in steps of 1 / `_STEPS`.
        rows: Indices of this split's examples.
        classes: Number of words; the label of example k is k modulo this.
    """

    features: np.ndarray
    rows: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> sx.Example:
        row = self.rows[index]
        return {
            "features": self.features[row] / np.float32(_STEPS),
            "label": np.asarray(row % self.classes, np.int32),
        }


@dataclass(frozen=True)
class OpenKeywords:
    """The synthesised set.

    Attributes:
        spec: Features and sizes.
        splits: Examples of each split.
    """

    spec: sx.DataSpec
    splits: Mapping[sx.Split, Keywords]

    def source(self, split: sx.Split) -> Keywords:
        """Returns the examples of a split."""
        return self.splits[split]


class SyntheticCommands(sx.Dataset):
    """Words spoken in noise by eSpeak NG's voices in eight accents of English, one per second.

    An example is one voice, accent and word, with random speed, pitch and position in the second.
    The noise has a power spectrum of 1 / f^k with k drawn from 0 (white) to 2 (brown). Every sixth
    speaker is held out with all accents and words. Voices whose names differ only in a number, such
    as f1 to f5, count as one speaker. Options of ``[data]``: ``words`` (those of Speech Commands),
    ``voices`` (the most voices to use), ``takes`` (how often each voice says a word in each accent,
    2), and ``snr``, the lowest and highest signal-to-noise ratio in dB (0 to 20).
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "synthetic-commands"
    title: ClassVar[str] = "35 keywords in noise, by a hundred voices of eSpeak NG; offline"
    trial: ClassVar[Mapping[str, Any]] = {"voices": 4}

    def open(self, name: str, options: Mapping[str, Any]) -> OpenKeywords:
        """Synthesises the set on first use; see `Dataset.open`."""
        parsed = sx.parse_settings(_Options, options, where="data")
        voices = _voices(parsed.voices)
        if len(set(voices.values())) < 2:
            raise sx.ScalaxError(
                f"all {len(voices)} voices are of one speaker, so none can be held out",
                where=f"data {name!r}",
                fix="give more voices",
            )
        utterances = list(_utterances(voices, parsed))
        examples = _cached(utterances, parsed)
        held_out = np.repeat(list(voices.values()), len(utterances) // len(voices))
        splits: dict[sx.Split, Keywords] = {
            "train": Keywords(examples, np.flatnonzero(~held_out), len(parsed.words)),
            "eval": Keywords(examples, np.flatnonzero(held_out), len(parsed.words)),
        }
        spec = features.keyword_spec(
            name,
            classes=len(parsed.words),
            train_examples=len(splits["train"]),
            eval_examples=len(splits["eval"]),
            fingerprint=hashlib.sha256(examples.tobytes()).hexdigest()[:32],
        )
        return OpenKeywords(spec, splits)


def _voices(limit: int | None) -> dict[str, bool]:
    """Returns the voices and whether each is held out, ordered by the hash of their speaker."""
    speakers: dict[str, list[str]] = {}
    for voice in espeak.variants():
        speakers.setdefault(voice.rstrip("0123456789").lower(), []).append(voice)
    held_out = {}
    for number, speaker in enumerate(sorted(speakers, key=_hashed)):
        for voice in speakers[speaker]:
            held_out[voice] = number % _HELD_OUT_EVERY == 0
    return dict(itertools.islice(held_out.items(), limit))


def _utterances(voices: Iterable[str], options: _Options) -> Iterator[espeak.Utterance]:
    """Yields all utterances; the words vary fastest, then takes, accents and voices."""
    combinations = itertools.product(voices, ACCENTS, range(options.takes), options.words)
    for voice, accent, take, word in combinations:
        rng = np.random.default_rng(_hashed(f"{voice} {accent} {take} {word}"))
        yield espeak.Utterance(
            voice=f"{accent}+{voice}",
            word=word,
            speed=int(rng.integers(130, 241)),
            pitch=int(rng.integers(25, 76)),
            pitch_range=int(rng.integers(20, 81)),
        )


def _cached(utterances: Sequence[espeak.Utterance], options: _Options) -> np.ndarray:
    """Returns features, int8 [utterances, frames, mels], from a cache file that it makes once.

    Raises:
        ScalaxError: The synthesiser fails, or the cache cannot be written.
    """
    content = {
        "format": _FORMAT,
        "snr": options.snr,
        "versions": [importlib.metadata.version(p) for p in ("espeakng-loader", "numpy", "scipy")],
        "said": [astuple(utterance) for utterance in utterances],
    }
    identity = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    file = sx.cache_folder() / "keywords" / f"{identity[:32]}.npy"
    if not file.is_file():
        shape = (len(utterances), features.FRAMES, features.MELS)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Write to a temporary folder and rename, so that no process reads a partial file.
            with tempfile.TemporaryDirectory(dir=file.parent) as folder:
                work = Path(folder) / file.name
                examples = np.lib.format.open_memmap(work, "w+", np.int8, shape)
                for k, speech in enumerate(espeak.speak(utterances)):
                    mels = features.log_mel(in_noise(speech, options.snr, seed=k))
                    examples[k] = np.clip(np.rint(mels * _STEPS), -128, 127)
                examples.flush()
                work.replace(file)
        except OSError as error:
            raise sx.ScalaxError(
                f"cannot write: {error.strerror or error}",
                where=str(file),
                fix="free some space, or set SCALAX_CACHE to another folder",
            ) from error
    return np.load(file, mmap_mode="r")


def in_noise(speech: np.ndarray, snr: Sequence[float], seed: int) -> np.ndarray:
    """Returns one second at 16 kHz with a word at a random position, in noise of a random colour.

    Args:
        speech: int16 samples at `espeak.RATE`; the part beyond one second is cut off.
        snr: Lowest and highest ratio, in dB, of the word's power while it lasts to the noise.
        seed: Seed of the random draws.

    Returns:
        float32 samples of absolute value 1 or less.
    """
    from scipy.signal import resample_poly

    rng = np.random.default_rng(seed)
    word = resample_poly(speech.astype(np.float32), 320, 441, window=_lowpass())[: features.RATE]
    start = int(rng.integers(0, features.RATE - len(word) + 1))
    spectrum = np.fft.rfft(rng.standard_normal(features.RATE, np.float32))
    spectrum[0] = 0
    spectrum[1:] *= np.arange(1, len(spectrum)) ** (-rng.uniform(0, 2) / 2)
    noise = np.fft.irfft(spectrum, features.RATE).astype(np.float32)
    ratio = 10 ** (rng.uniform(snr[0], snr[1]) / 10)
    sound = noise * np.sqrt(np.mean(word**2) / ratio / np.mean(noise**2))
    sound[start : start + len(word)] += word
    return sound / max(1.0, float(np.abs(sound).max()))


@functools.cache
def _lowpass() -> np.ndarray:
    """Returns the anti-aliasing filter for `resample_poly`, which scales it."""
    from scipy.signal import firwin

    taps: np.ndarray = firwin(2 * 10 * 441 + 1, 1 / 441, window=("kaiser", 5.0))
    return taps.astype(np.float32)


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
