"""Disk images: the catalog, the builder, and the contents of built images."""
