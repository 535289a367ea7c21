"""Model families and the Flax modules that they build from shapes."""
