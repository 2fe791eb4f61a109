"""The paper's theory and data coverage; no other room imports it."""
