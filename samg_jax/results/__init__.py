"""Finished runs and suites: statistics, figures, tables, one page."""
