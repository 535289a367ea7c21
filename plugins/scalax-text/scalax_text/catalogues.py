"""Reads messages and their translations from gettext catalogues (.po, .mo).

It reads the catalogues that installed packages list, or those in folders. It does not import the
packages.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polib

import scalax as sx

_FOLDER = "LC_MESSAGES"
_HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, order=True)
class Message:
    """One message in one language.

    Attributes:
        source: The text in the program, nearly always English.
        locale: Locale of the translation, which is the catalogue's folder, such as ``pt_BR``.
        target: The translation.
    """

    source: str
    locale: str
    target: str

    @property
    def language(self) -> str:
        """The locale without country or script: ``pt`` for ``pt_BR``."""
        return self.locale.replace("-", "_").replace("@", "_").partition("_")[0]


def read_messages(
    packages: Sequence[str], folders: Sequence[str] | None, *, where: str
) -> list[Message]:
    """Returns all translated messages in a fixed order, each source once per locale.

    Fuzzy, obsolete and empty entries are skipped, and so are translations equal to their source. An
    entry with plurals gives the plural source and the last plural form. Placeholders such as
    ``%(name)s`` stay in the text.

    Args:
        packages: Names of installed distributions to read.
        folders: Folders to search in place of packages, with their subfolders.
        where: Name of the data in an error.

    Raises:
        ScalaxError: A package is not installed, a catalogue is not readable, or there is no
            message.
    """
    files = _in_folders(folders) if folders is not None else _in_packages(packages)
    translations: dict[tuple[str, str], str] = {}
    for file in _unique_catalogues(files):
        locale = file.parent.parent.name
        for source, target in _translated(file):
            if source.strip() and target.strip() and source != target:
                translations.setdefault((source, locale), target)
    if not translations:
        raise sx.ScalaxError(
            f"no translated message in {', '.join(folders if folders is not None else packages)}",
            where=where,
            fix=f"give packages or folders that contain LOCALE/{_FOLDER}/*.po",
        )
    return sorted(
        Message(source, locale, target) for (source, locale), target in translations.items()
    )


def split(messages: Iterable[Message]) -> dict[sx.Split, list[Message]]:
    """Holds out a tenth of the sources by hash, each in all its languages.

    Sources that differ only in case and punctuation are in the same split. A training message is
    dropped if its translation also occurs among the held-out messages, in any language.
    """
    splits: dict[sx.Split, list[Message]] = {"train": [], "eval": []}
    for message in messages:
        held_out = sx.is_held_out(letters(message.source).encode(), _HELD_OUT_SHARE)
        splits["eval" if held_out else "train"].append(message)
    translations = {letters(message.target) for message in splits["eval"]}
    splits["train"] = [m for m in splits["train"] if letters(m.target) not in translations]
    return splits


def letters(text: str) -> str:
    """Returns the letters and digits of a text in lower case, or the text if it has none.

    Example:
        >>> letters("Log in…"), letters("%")
        ('login', '%')
    """
    return "".join(filter(str.isalnum, text.casefold())) or text


def _in_packages(packages: Sequence[str]) -> Iterator[Path]:
    for package in packages:
        try:
            files = importlib.metadata.files(package)
        except importlib.metadata.PackageNotFoundError:
            raise sx.ScalaxError(
                "not installed", where=f"data.packages {package!r}", fix=f"pip install {package}"
            ) from None
        for file in files or ():
            if file.suffix in (".po", ".mo") and file.parent.name == _FOLDER:
                yield Path(str(file.locate()))


def _in_folders(folders: Sequence[str]) -> Iterator[Path]:
    for folder in folders:
        root = Path(folder).expanduser()
        for suffix in ("po", "mo"):
            yield from root.rglob(f"{_FOLDER}/*.{suffix}")


def _unique_catalogues(files: Iterable[Path]) -> list[Path]:
    """Returns the .po file of each catalogue, or its .mo file if there is no .po file."""
    by_stem: dict[Path, Path] = {}
    for file in files:
        stem = file.with_suffix("")
        if file.suffix == ".po" or stem not in by_stem:
            by_stem[stem] = file
    return [by_stem[stem] for stem in sorted(by_stem)]


def _translated(file: Path) -> Iterator[tuple[str, str]]:
    try:
        catalogue = (polib.pofile if file.suffix == ".po" else polib.mofile)(str(file))
    except (OSError, ValueError) as error:
        raise sx.ScalaxError(
            f"cannot read the catalogue ({error})", where=str(file), fix="repair or remove the file"
        ) from None
    for entry in catalogue.translated_entries():
        if entry.msgid_plural:
            yield entry.msgid_plural, entry.msgstr_plural[max(entry.msgstr_plural)]
        else:
            yield entry.msgid, entry.msgstr
