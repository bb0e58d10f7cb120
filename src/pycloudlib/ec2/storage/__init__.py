"""Volumes, their snapshots, and who is told of them."""
