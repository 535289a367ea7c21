"""Sparse mixtures of experts for scalax: the family `moe-transformer` and the law `moe-effective`.

scalax finds them through this package's entry points, so you don't need to import them.
"""
