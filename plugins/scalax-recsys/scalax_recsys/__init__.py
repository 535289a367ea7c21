"""Recommendation for scalax: the family `two-tower`, the datasets `imports` and `tfds:movielens`.

scalax finds them by this package's entry points; nothing here is meant to be imported by hand.
"""
