"""The library's own checks, one topic per file."""
