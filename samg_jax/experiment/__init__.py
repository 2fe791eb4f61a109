"""From a config to one typed, checked, frozen experiment and its data."""
