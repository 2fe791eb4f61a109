"""Diagnosis of the weight p(s, a): whether it knows which pairs are familiar."""
