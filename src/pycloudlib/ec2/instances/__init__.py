"""What an instance is made of: its launch, its boot, its state, and what is attached to it."""
