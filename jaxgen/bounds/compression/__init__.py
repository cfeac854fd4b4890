"""Compression: what of a classifier few numbers keep, and bounds from counting these."""
