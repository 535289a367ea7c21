"""Datasets, and the pipeline that turns one into batches."""
