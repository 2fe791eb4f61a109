"""The host's side of a run: loops, logs, checkpoints, resume, evaluation."""
