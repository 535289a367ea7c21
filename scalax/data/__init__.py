"""Datasets and the pipeline that turns them into batches."""
