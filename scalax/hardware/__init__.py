"""What hardware does: speed, memory, price."""
