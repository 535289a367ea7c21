"""A dataset for scalax.

scalax finds it by this package's entry point; nothing here is imported by hand.
"""
