"""Synthetic sweeps, and the real train step through the compiler of hardware that is not here."""
