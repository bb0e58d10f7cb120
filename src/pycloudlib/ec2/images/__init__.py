"""AMIs: lookup, sharing, copying, and deletion."""
