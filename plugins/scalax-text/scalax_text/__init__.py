"""Text for scalax: the families `encoder` and `encoder-decoder`, message catalogues, IMDB and WMT.

scalax finds them through this package's entry points, so you don't need to import them.
"""
