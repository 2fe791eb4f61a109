"""Datasets of one's own: SAC and the scripted ant."""
