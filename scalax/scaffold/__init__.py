"""A package to begin a plugin from: `scalax plugins new`."""
