"""The report of a suite: statistics, pictures, tables, and one page of them all."""
