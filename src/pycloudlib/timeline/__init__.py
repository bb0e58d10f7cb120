"""Where the time of a boot goes: read from the guest, kept as JSON, drawn as a picture."""
