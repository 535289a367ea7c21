"""Image classification for scalax: the `convnet` family and the datasets `digits` and `tfds:mnist`.

scalax finds them by this package's entry points; nothing here is meant to be imported by hand.
"""
