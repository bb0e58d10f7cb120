"""The parts of an instance: launch, boot, state, and attached devices."""
