"""One file per experiment: `get_config(dataset)` returns a locked ConfigDict."""
