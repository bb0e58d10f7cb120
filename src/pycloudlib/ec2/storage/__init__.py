"""Volumes, snapshots, and notifications about them."""
