"""What a VPC is made of, and how an instance is reached."""
