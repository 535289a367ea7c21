"""Sparse mixtures of experts for scalax: the family `moe-transformer` and the law `moe-effective`.

scalax finds them by this package's entry points; nothing here is meant to be imported by hand.
"""
