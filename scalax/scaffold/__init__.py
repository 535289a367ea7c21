"""Creates the package of a new plugin: `scalax plugins new`."""
