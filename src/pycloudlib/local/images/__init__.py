"""Disk images: the catalog, the builder, and what the built images contain."""
