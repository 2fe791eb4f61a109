"""One file per suite: `get_config()` returns a locked ConfigDict."""
