"""Fitted and published laws, and what they answer."""
