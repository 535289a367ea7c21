"""The law `rosenfeld` for scalax.

scalax finds it through this package's entry point, so you don't need to import it.
"""
