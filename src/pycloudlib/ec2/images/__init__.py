"""AMIs: found, shared, copied and deleted."""
