"""Grids of experiments: many runs by one command, on one machine or many."""
