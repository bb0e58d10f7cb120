"""What is asked of the operating system inside an instance."""
