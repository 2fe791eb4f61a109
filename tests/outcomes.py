"""Outcomes of runs that nobody ran."""

from samg_jax.analysis.comparison import Outcome


def made(**fields) -> Outcome:
    """Returns an outcome of AWAC-SAMG; `fields` replace or add to what it says."""
    about = {"algorithm": "awac", "variant": "samg", "data_source": "made (3 rows)"}
    about |= {"physics": "d4rl", "normalized": True, "episodes": 10}
    return Outcome(**{**about, "updates": 20_000, "steps": 5_000, **fields})
