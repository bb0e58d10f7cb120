"""Machine networking and the instance metadata service."""
