"""Synthesises words with eSpeak NG from the package espeakng-loader.

The synthesiser keeps state between words (noise, filters), so its output depends on all words
before. `speak` therefore starts a new process, which runs this file as a program, and sends it all
words in one order. The process also isolates crashes of the library and its licence (GPL-3).
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
"""Sample rate of the synthesiser, in samples per second."""

_SEED = 1
# From espeak-ng's speak_lib.h, 1.52.
_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_SPEED, _PITCH, _PITCH_RANGE = 1, 3, 4


@dataclass(frozen=True)
class Utterance:
    """One word to synthesise.

    Attributes:
        voice: Accent and variant, such as ``en-us+linda``.
        word: The word in English spelling.
        speed: Words per minute, 80 to 450.
        pitch: 0 to 100; 50 is the voice's default.
        pitch_range: 0 to 100; 50 is the voice's default, 0 is monotone.
    """

    voice: str
    word: str
    speed: int
    pitch: int
    pitch_range: int


def variants() -> list[str]:
    """Returns the names of eSpeak NG's speakers, sorted.

    Raises:
        ScalaxError: eSpeak NG is not installed.
    """
    folder = _data() / "voices" / "!v"
    return sorted(path.name for path in folder.iterdir())


def speak(utterances: Iterable[Utterance]) -> Iterator[np.ndarray]:
    """Synthesises utterances in a separate process; equal lists give equal samples.

    Yields:
        int16 samples at `RATE` for each utterance in order.

    Raises:
        ScalaxError: eSpeak NG is not installed, fails, or gives no sound for a word.
    """
    listed = list(utterances)
    request = json.dumps([astuple(utterance) for utterance in listed]).encode()
    command = [sys.executable, "-m", "scalax_speech.espeak", str(_data())]
    with (
        tempfile.TemporaryFile() as file,
        subprocess.Popen(
            command, stdin=_filled(file, request), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        assert process.stdout and process.stderr
        for utterance in listed:
            size = process.stdout.read(4)
            if not size:
                break
            (count,) = struct.unpack("<i", size)
            samples = np.frombuffer(process.stdout.read(2 * count), "<i2").astype(np.int16)
            if not samples.any():
                raise sx.ScalaxError(
                    f"eSpeak NG gives no sound for {utterance.word!r}",
                    where="data: speech synthesis",
                    fix="give words in English spelling",
                )
            yield samples
        messages = process.stderr.read().decode(errors="replace").strip()
    if process.returncode != 0:
        last = messages.splitlines()[-1] if messages else "no message"
        raise sx.ScalaxError(
            f"eSpeak NG ended with exit code {process.returncode}: {last}",
            where="data: speech synthesis",
            fix="pip install --force-reinstall espeakng-loader",
        )


def _filled(file: IO[bytes], content: bytes) -> IO[bytes]:
    """Fills a file and rewinds it. A pipe would break if the reader ended early."""
    file.write(content)
    file.seek(0)
    return file


def _data() -> Path:
    """Returns the folder of voices and rules."""
    try:
        import espeakng_loader

        return Path(espeakng_loader.get_data_path())
    except (ImportError, RuntimeError) as error:
        raise sx.ScalaxError(
            f"cannot find eSpeak NG ({error})",
            where="data: speech synthesis",
            fix="pip install espeakng-loader",
        ) from error


class _Synthesiser:
    """The eSpeak NG library, called as its C header declares it."""

    def __init__(self, data: Path) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._samples: list[bytes] = []
        callback_type = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._callback = callback_type(self._receive)  # a reference, since the library calls it
        rate = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, str(data.parent).encode(), _DONT_EXIT
        )
        if rate != RATE:
            raise RuntimeError(
                f"cannot start with {data}: {rate}; paths over 160 bytes are not supported"
            )
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))

    def say(self, utterance: Utterance) -> bytes:
        """Returns the 16-bit samples of an utterance."""
        self._samples.clear()
        self._check(self._library.espeak_SetVoiceByName(utterance.voice.encode()), utterance)
        for parameter, value in (
            (_SPEED, utterance.speed),
            (_PITCH, utterance.pitch),
            (_PITCH_RANGE, utterance.pitch_range),
        ):
            self._check(self._library.espeak_SetParameter(parameter, value, 0), utterance)
        text = utterance.word.encode() + b"\0"
        size = ctypes.c_size_t(len(text))
        self._check(self._library.espeak_Synth(text, size, 0, 0, 0, _UTF8, None, None), utterance)
        self._check(self._library.espeak_Synchronize(), utterance)
        return b"".join(self._samples)

    def _receive(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            self._samples.append(ctypes.string_at(samples, 2 * count))
        return 0

    @staticmethod
    def _check(status: int, utterance: Utterance) -> None:
        if status != 0:
            raise RuntimeError(f"{utterance}: error {status}")


def _main(data: Path, request: BinaryIO, answer: BinaryIO) -> None:
    synthesiser = _Synthesiser(data)
    for fields in json.load(request):
        samples = synthesiser.say(Utterance(*fields))
        answer.write(struct.pack("<i", len(samples) // 2) + samples)
    answer.flush()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
