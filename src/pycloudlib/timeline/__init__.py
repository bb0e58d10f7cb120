"""Boot timelines: read from the guest, stored as JSON, and drawn as pictures."""
