"""A dataset for scalax.

scalax finds it by the entry point of this package; you need not import it.
"""
