"""Speaks words with eSpeak NG, which the package espeakng-loader carries.

The synthesiser keeps state from one word to the next (noise, filters), so that what it says depends
on all it said before: `speak` starts a fresh process, in which this file runs as a program, and
gives it everything to say in one order. The process also keeps a crash of the library, and its
licence (GPL-3), to itself.
"""

from __future__ import annotations

import ctypes
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

import scalax as sx

RATE = 22_050
"""Samples a second, as the synthesiser gives them."""

_SEED = 1
# From espeak-ng's speak_lib.h, 1.52.
_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_SPEED, _PITCH, _PITCH_RANGE = 1, 3, 4


@dataclass(frozen=True)
class Utterance:
    """One word to say.

    Attributes:
        voice: Accent and variant, such as ``en-us+linda``.
        word: In English spelling.
        speed: Words a minute, 80 to 450.
        pitch: 0 to 100; 50 is the voice's own.
        pitch_range: 0 to 100; 50 is the voice's own, 0 monotone.
    """

    voice: str
    word: str
    speed: int
    pitch: int
    pitch_range: int


def variants() -> list[str]:
    """Names of the speakers that eSpeak NG carries, in order.

    Raises:
        ScalaxError: It is not installed.
    """
    folder = _data() / "voices" / "!v"
    return sorted(path.name for path in folder.iterdir())


def speak(utterances: Iterable[Utterance]) -> Iterator[np.ndarray]:
    """Says all of them, in a process of its own; equal lists sound equal.

    Yields:
        int16 samples at `RATE`, for each in turn.

    Raises:
        ScalaxError: eSpeak NG is not installed or doesn't run here, or says nothing.
    """
    listed = list(utterances)
    asked = json.dumps([astuple(one) for one in listed]).encode()
    command = [sys.executable, "-m", "scalax_speech.espeak", str(_data())]
    with (
        tempfile.TemporaryFile() as words,
        subprocess.Popen(
            command, stdin=_filled(words, asked), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        assert process.stdout and process.stderr
        for one in listed:
            size = process.stdout.read(4)
            if not size:
                break
            (count,) = struct.unpack("<i", size)
            spoken = np.frombuffer(process.stdout.read(2 * count), "<i2").astype(np.int16)
            if not spoken.any():
                raise sx.ScalaxError(
                    f"eSpeak NG says nothing for {one.word!r}",
                    where="data: speech synthesis",
                    fix="give words in English spelling",
                )
            yield spoken
        told = process.stderr.read().decode(errors="replace").strip()
    if process.returncode != 0:
        last = told.splitlines()[-1] if told else "it said nothing"
        raise sx.ScalaxError(
            f"eSpeak NG ended with {process.returncode}: {last}",
            where="data: speech synthesis",
            fix="pip install --force-reinstall espeakng-loader",
        )


def _filled(file: IO[bytes], content: bytes) -> IO[bytes]:
    """A file to read from its start: no pipe, which breaks where the reader ends early."""
    file.write(content)
    file.seek(0)
    return file


def _data() -> Path:
    """The folder of voices and rules."""
    try:
        import espeakng_loader

        return Path(espeakng_loader.get_data_path())
    except (ImportError, RuntimeError) as error:
        raise sx.ScalaxError(
            f"eSpeak NG is not there ({error})",
            where="data: speech synthesis",
            fix="pip install espeakng-loader",
        ) from error


class _Synthesiser:
    """The library, as its C header states it."""

    def __init__(self, data: Path) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._spoken: list[bytes] = []
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._callback = kind(self._hear)  # kept: the library calls it later
        rate = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, str(data.parent).encode(), _DONT_EXIT
        )
        if rate != RATE:
            raise RuntimeError(
                f"cannot start with {data}: {rate}; a path over 160 bytes is refused"
            )
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))

    def say(self, utterance: Utterance) -> bytes:
        """16-bit samples."""
        self._spoken.clear()
        self._must(self._library.espeak_SetVoiceByName(utterance.voice.encode()), utterance)
        for parameter, value in (
            (_SPEED, utterance.speed),
            (_PITCH, utterance.pitch),
            (_PITCH_RANGE, utterance.pitch_range),
        ):
            self._must(self._library.espeak_SetParameter(parameter, value, 0), utterance)
        text = utterance.word.encode() + b"\0"
        size = ctypes.c_size_t(len(text))
        self._must(self._library.espeak_Synth(text, size, 0, 0, 0, _UTF8, None, None), utterance)
        self._must(self._library.espeak_Synchronize(), utterance)
        return b"".join(self._spoken)

    def _hear(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            self._spoken.append(ctypes.string_at(samples, 2 * count))
        return 0

    @staticmethod
    def _must(status: int, utterance: Utterance) -> None:
        if status != 0:
            raise RuntimeError(f"{utterance}: error {status}")


def _main(data: Path, asked: BinaryIO, told: BinaryIO) -> None:
    synthesiser = _Synthesiser(data)
    for fields in json.load(asked):
        spoken = synthesiser.say(Utterance(*fields))
        told.write(struct.pack("<i", len(spoken) // 2) + spoken)
    told.flush()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
