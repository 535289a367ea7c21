"""Sweeps: an experiment file becomes runs, and their results a table, a fit and a report."""
