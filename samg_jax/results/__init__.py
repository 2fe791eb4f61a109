"""Results of runs and suites: one table, its statistics, pictures, tables and page.

In every function `frame` is that table, from `tidy_table.check`; `outcomes` has a row
per fine-tuned seed, from `seed_outcomes.of`; `setups` are configs, from
`run_setups.read`; `reps` is the number of bootstrap resamples; `axis` is drawn on.
"""
