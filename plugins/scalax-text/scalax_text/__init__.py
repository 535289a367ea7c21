"""Text for scalax: the families `encoder` and `encoder-decoder`, message catalogues, IMDB and WMT.

scalax finds them by this package's entry points; nothing here is meant to be imported by hand.
"""
