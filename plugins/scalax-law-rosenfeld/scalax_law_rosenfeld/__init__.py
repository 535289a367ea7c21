"""The law `rosenfeld` for scalax: found by this package's entry point, not imported by hand."""
