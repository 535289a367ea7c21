"""Synthetic sweeps, simulated steps, and the train step through a compiler without its device."""
