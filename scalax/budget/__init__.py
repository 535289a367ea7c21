"""Allocations for budgets in chip-days and dollars, and compute-optimal frontiers."""
