"""What is still wrong with a law, a model family or a dataset: `scalax plugins check`."""
