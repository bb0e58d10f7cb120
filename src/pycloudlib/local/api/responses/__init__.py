"""Request handlers of the local EC2: one noun per file, as in `models`."""
