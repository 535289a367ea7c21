"""What an architecture is and costs, without jax."""
