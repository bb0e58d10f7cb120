"""The contents of volumes and snapshots."""
