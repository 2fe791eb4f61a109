"""The paper's theory and data coverage; no other package imports it."""
