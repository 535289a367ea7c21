"""The `synthetic-commands` dataset: keywords that eSpeak NG speaks, in noise; always there.

It is synthesised speech: what it shows of a model family holds for such voices, and says nothing of
how well people are understood.
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

_FORMAT = 1  # of the cache: rises when an example becomes another one
_HELD_OUT_EVERY = 6
_STEPS = 16  # to a standard deviation of the features: they lie within 8 of them

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
    def _said_once(cls, words: list[str]) -> list[str]:
        if len(set(words)) < len(words) or not all(word.strip() for word in words):
            raise ValueError("words, each once")
        return words

    @field_validator("snr")
    @classmethod
    def _in_order(cls, snr: list[float]) -> list[float]:
        if not snr[0] <= snr[1]:
            raise ValueError("two numbers of dB, the lower one first")
        return snr


@dataclass(frozen=True)
class Keywords:
    """Seconds of speech, as features.

    Attributes:
        features: int8 [examples of both splits, frames, mels], in steps of 1 / `_STEPS`.
        at: Which of them are this split's.
        classes: Words; example k of all says word k modulo so many.
    """

    features: np.ndarray
    at: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, index: int) -> sx.Example:
        row = self.at[index]
        return {
            "features": self.features[row] / np.float32(_STEPS),
            "label": np.asarray(row % self.classes, np.int32),
        }


@dataclass(frozen=True)
class OpenKeywords:
    """The set as synthesised.

    Attributes:
        spec: What it holds.
        splits: The examples by split.
    """

    spec: sx.DataSpec
    splits: Mapping[sx.Split, Keywords]

    def source(self, split: sx.Split) -> Keywords:
        """The examples of a split."""
        return self.splits[split]


class SyntheticCommands(sx.Dataset):
    """Words that the voices of eSpeak NG say in eight accents of English, one a second, in noise.

    An example is one voice, accent and word: at a speed, a pitch and a place in the second drawn
    for it, in noise whose power falls as the frequency to an exponent drawn from 0 (white) to 2
    (brown). Every sixth speaker is held out with all accents and words; voices that eSpeak NG tells
    apart by a number alone, such as f1 to f5, count as one speaker. Options: ``words`` (those of
    Speech Commands), ``voices`` (so many of them at most), ``takes`` (how often each voice says a
    word in each accent, 2), ``snr`` (from and to, in dB; 0 to 20).
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "synthetic-commands"
    title: ClassVar[str] = "35 keywords in noise, by a hundred voices of eSpeak NG; always there"
    trial: ClassVar[Mapping[str, Any]] = {"voices": 4}

    def open(self, name: str, options: Mapping[str, Any]) -> OpenKeywords:
        """Synthesises the set on first use; see `Dataset.open`."""
        parsed = sx.parse_settings(_Options, options, where="data")
        voices = _voices(parsed.voices)
        if len(set(voices.values())) < 2:
            raise sx.ScalaxError(
                f"{len(voices)} voices of one speaker leave none to hold out",
                where=f"data {name!r}",
                fix="give more voices",
            )
        said = list(_utterances(voices, parsed))
        found = _cached(said, parsed)
        held_out = np.repeat(list(voices.values()), len(said) // len(voices))
        splits: dict[sx.Split, Keywords] = {
            "train": Keywords(found, np.flatnonzero(~held_out), len(parsed.words)),
            "eval": Keywords(found, np.flatnonzero(held_out), len(parsed.words)),
        }
        spec = features.keyword_spec(
            name,
            classes=len(parsed.words),
            train_examples=len(splits["train"]),
            eval_examples=len(splits["eval"]),
            fingerprint=hashlib.sha256(found.tobytes()).hexdigest()[:32],
        )
        return OpenKeywords(spec, splits)


def _voices(most: int | None) -> dict[str, bool]:
    """Voices by the hash of their speaker, so that fewer are the first of more; held out or not."""
    speakers: dict[str, list[str]] = {}
    for voice in espeak.variants():
        speakers.setdefault(voice.rstrip("0123456789").lower(), []).append(voice)
    held_out = {}
    for number, speaker in enumerate(sorted(speakers, key=_hashed)):
        for voice in speakers[speaker]:
            held_out[voice] = number % _HELD_OUT_EVERY == 0
    return dict(itertools.islice(held_out.items(), most))


def _utterances(voices: Iterable[str], options: _Options) -> Iterator[espeak.Utterance]:
    """All takes of all words, the words last, in all accents of each voice in turn."""
    spoken = itertools.product(voices, ACCENTS, range(options.takes), options.words)
    for voice, accent, take, word in spoken:
        rng = np.random.default_rng(_hashed(f"{voice} {accent} {take} {word}"))
        yield espeak.Utterance(
            voice=f"{accent}+{voice}",
            word=word,
            speed=int(rng.integers(130, 241)),
            pitch=int(rng.integers(25, 76)),
            pitch_range=int(rng.integers(20, 81)),
        )


def _cached(said: Sequence[espeak.Utterance], options: _Options) -> np.ndarray:
    """Features of each, int8 [utterances, frames, mels], made once and then mapped from a file.

    Raises:
        ScalaxError: The synthesiser doesn't run, or the cache cannot be written.
    """
    made_of = {
        "format": _FORMAT,
        "snr": options.snr,
        "versions": [importlib.metadata.version(p) for p in ("espeakng-loader", "numpy", "scipy")],
        "said": [astuple(one) for one in said],
    }
    identity = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    file = sx.cache_folder() / "keywords" / f"{identity[:32]}.npy"
    if not file.is_file():
        shape = (len(said), features.FRAMES, features.MELS)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Written beside, then renamed: two processes may write at once, and none reads a half.
            with tempfile.TemporaryDirectory(dir=file.parent) as folder:
                work = Path(folder) / file.name
                found = np.lib.format.open_memmap(work, "w+", np.int8, shape)
                for k, spoken in enumerate(espeak.speak(said)):
                    heard = features.log_mel(in_noise(spoken, options.snr, seed=k))
                    found[k] = np.clip(np.rint(heard * _STEPS), -128, 127)
                found.flush()
                work.replace(file)
        except OSError as error:
            raise sx.ScalaxError(
                f"cannot write: {error.strerror or error}",
                where=str(file),
                fix="free some space, or set SCALAX_CACHE to another folder",
            ) from error
    return np.load(file, mmap_mode="r")


def in_noise(spoken: np.ndarray, snr: Sequence[float], seed: int) -> np.ndarray:
    """A second at 16 kHz: the word at a place drawn for it, in noise of a colour drawn for it.

    Args:
        spoken: int16 samples at `espeak.RATE`; what is over a second is cut off.
        snr: Least and greatest power of the word, while it lasts, over that of the noise, in dB.
        seed: Of the draws.

    Returns:
        float32 samples, none above 1.
    """
    from scipy.signal import resample_poly

    rng = np.random.default_rng(seed)
    word = resample_poly(spoken.astype(np.float32), 320, 441, window=_lowpass())[: features.RATE]
    place = int(rng.integers(0, features.RATE - len(word) + 1))
    spectrum = np.fft.rfft(rng.standard_normal(features.RATE, np.float32))
    spectrum[0] = 0
    spectrum[1:] *= np.arange(1, len(spectrum)) ** (-rng.uniform(0, 2) / 2)
    noise = np.fft.irfft(spectrum, features.RATE).astype(np.float32)
    ratio = 10 ** (rng.uniform(snr[0], snr[1]) / 10)
    sound = noise * np.sqrt(np.mean(word**2) / ratio / np.mean(noise**2))
    sound[place : place + len(word)] += word
    return sound / max(1.0, float(np.abs(sound).max()))


@functools.cache
def _lowpass() -> np.ndarray:
    """What lets through what both rates can carry; for `resample_poly`, which scales it."""
    from scipy.signal import firwin

    taps: np.ndarray = firwin(2 * 10 * 441 + 1, 1 / 441, window=("kaiser", 5.0))
    return taps.astype(np.float32)


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
