"""Results in words, figures and a page."""
