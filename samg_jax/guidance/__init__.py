"""SAMG itself: the guided target and the weight p(s, a) of each transition."""
