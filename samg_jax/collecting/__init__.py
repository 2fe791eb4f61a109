"""Collection of new datasets, by SAC or by the scripted ant."""
