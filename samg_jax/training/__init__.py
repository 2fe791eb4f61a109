"""The phases of an experiment, for all seeds at once."""
