"""Lets ``python -m scalax`` stand for the command ``scalax``."""

from scalax.cli import main

if __name__ == "__main__":
    main()
