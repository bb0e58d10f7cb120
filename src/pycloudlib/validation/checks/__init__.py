"""The checks that come with the library, one concept per file."""
