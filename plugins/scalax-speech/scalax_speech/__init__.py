"""Keyword recognition for scalax: `conformer`, `synthetic-commands` and `tfds:speech_commands`.

scalax finds them by this package's entry points; nothing here is meant to be imported by hand.
"""
