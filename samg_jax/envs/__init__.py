"""Environments: named tasks, D4RL's physics, and batches stepped as one."""
