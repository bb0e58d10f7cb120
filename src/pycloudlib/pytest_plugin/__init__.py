"""The pytest plugin: instances as fixtures, on AWS or on a local EC2. It does nothing until a test asks for one."""
