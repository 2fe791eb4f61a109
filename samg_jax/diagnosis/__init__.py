"""Whether the weight p(s, a) knows what is familiar."""
