"""Chooses pilot runs that sharpen the forecast at a larger budget most."""
