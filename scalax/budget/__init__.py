"""Budgets that people have, chip-days and dollars, as FLOPs, and the answers to them."""
