"""Benchmarks: the speed and the needs of the trainer's own compiled programs."""
