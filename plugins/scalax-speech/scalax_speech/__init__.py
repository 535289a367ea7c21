"""Keyword recognition for scalax: `conformer`, `synthetic-commands` and `tfds:speech_commands`.

scalax finds them through this package's entry points, so you don't need to import them.
"""
