"""Model families: Flax modules built from shapes."""
