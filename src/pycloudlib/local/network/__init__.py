"""The network of the machines, and the metadata service."""
