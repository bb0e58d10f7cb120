"""The guest's side of boot snapshots."""
