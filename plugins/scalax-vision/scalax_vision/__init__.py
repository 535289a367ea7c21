"""Image classification for scalax: the families `convnet`, `resnet` and `vit`, and image datasets.

scalax finds them through this package's entry points, so you don't need to import them.
"""
