"""Models of hardware: speed, memory and price of a training step."""
