"""Messages and their translations, from gettext catalogues (.po, .mo) of installed packages.

It reads the files that a package's installation lists, or folders; it imports no package.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polib

import scalax as sx

_PLACE = "LC_MESSAGES"
_HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, order=True)
class Message:
    """One message in one language.

    Attributes:
        source: As the program has it, nearly always in English.
        locale: Of the translation: the catalogue's folder, such as ``pt_BR``.
        target: The translation.
    """

    source: str
    locale: str
    target: str

    @property
    def language(self) -> str:
        """The locale without its country or script: ``pt`` of ``pt_BR``."""
        return self.locale.replace("-", "_").replace("@", "_").partition("_")[0]


def read_messages(
    packages: Sequence[str], folders: Sequence[str] | None, *, where: str
) -> list[Message]:
    """All translated messages, each source once for a locale, in a fixed order.

    Fuzzy, obsolete and empty entries are none, nor is a translation equal to its source. Of an
    entry with plurals it is the plural source and the last form, that of most numbers. What is to
    be filled in, such as ``%(name)s``, stays in the text, to be copied.

    Args:
        packages: Names of distributions to read from.
        folders: To read instead, with all folders in them.
        where: What to call the data in an error.

    Raises:
        ScalaxError: A package is not installed, a catalogue is not readable, or there is none.
    """
    files = _in_folders(folders) if folders is not None else _in_packages(packages)
    found: dict[tuple[str, str], str] = {}
    for file in _once(files):
        locale = file.parent.parent.name
        for source, target in _translated(file):
            if source.strip() and target.strip() and source != target:
                found.setdefault((source, locale), target)
    if not found:
        raise sx.ScalaxError(
            f"no translated message in {', '.join(folders if folders is not None else packages)}",
            where=where,
            fix=f"give packages or folders that hold LOCALE/{_PLACE}/*.po",
        )
    return sorted(Message(source, locale, target) for (source, locale), target in found.items())


def split(messages: Iterable[Message]) -> dict[sx.Split, list[Message]]:
    """A tenth of the sources held out, by hash, in all their languages.

    Sources that differ in case and punctuation alone are on one side. A message to train on whose
    translation also occurs among the held-out ones, in any language, is left out.
    """
    sides: dict[sx.Split, list[Message]] = {"train": [], "eval": []}
    for message in messages:
        sides["eval" if _held_out(letters(message.source)) else "train"].append(message)
    known = {letters(message.target) for message in sides["eval"]}
    sides["train"] = [m for m in sides["train"] if letters(m.target) not in known]
    return sides


def letters(text: str) -> str:
    """What tells texts apart: letters and digits, without case; the text itself if it has none.

    Example:
        >>> letters("Log in…"), letters("%")
        ('login', '%')
    """
    return "".join(filter(str.isalnum, text.casefold())) or text


def _held_out(text: str) -> bool:
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") < _HELD_OUT_SHARE * 2**64


def _in_packages(packages: Sequence[str]) -> Iterator[Path]:
    for package in packages:
        try:
            files = importlib.metadata.files(package)
        except importlib.metadata.PackageNotFoundError:
            raise sx.ScalaxError(
                "not installed", where=f"data.packages {package!r}", fix=f"pip install {package}"
            ) from None
        for file in files or ():
            if file.suffix in (".po", ".mo") and file.parent.name == _PLACE:
                yield Path(str(file.locate()))


def _in_folders(folders: Sequence[str]) -> Iterator[Path]:
    for folder in folders:
        root = Path(folder).expanduser()
        for suffix in ("po", "mo"):
            yield from root.rglob(f"{_PLACE}/*.{suffix}")


def _once(files: Iterable[Path]) -> list[Path]:
    """Each catalogue's text, or what was compiled from it where the text is not there."""
    found: dict[Path, Path] = {}
    for file in files:
        stem = file.with_suffix("")
        if file.suffix == ".po" or stem not in found:
            found[stem] = file
    return [found[stem] for stem in sorted(found)]


def _translated(file: Path) -> Iterator[tuple[str, str]]:
    try:
        catalogue = (polib.pofile if file.suffix == ".po" else polib.mofile)(str(file))
    except (OSError, ValueError) as error:
        raise sx.ScalaxError(
            f"no readable catalogue ({error})", where=str(file), fix="mend it, or leave it out"
        ) from None
    for entry in catalogue.translated_entries():
        if entry.msgid_plural:
            yield entry.msgid_plural, entry.msgstr_plural[max(entry.msgstr_plural)]
        else:
            yield entry.msgid, entry.msgstr
