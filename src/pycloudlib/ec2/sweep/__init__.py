"""What earlier runs left: found, and deleted."""
