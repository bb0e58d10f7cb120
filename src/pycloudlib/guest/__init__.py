"""Commands for the operating system inside an instance."""
