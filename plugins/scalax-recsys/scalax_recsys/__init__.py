"""Recommendation for scalax: the family `two-tower`, the datasets `imports` and `tfds:movielens`.

scalax finds them through this package's entry points, so you don't need to import them.
"""
