"""Checks laws, model families and datasets against their interfaces: `scalax plugins check`."""
