"""The trainer: mesh, optimiser, step, loop, checkpoints, evaluation."""
