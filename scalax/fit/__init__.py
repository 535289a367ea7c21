"""Runs in, a law with coefficients out: objective, solver, uncertainty."""
