"""Offline data: D4RL files, transitions made of them, and the replay buffer."""
