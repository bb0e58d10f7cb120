"""The only door to boto3: one module per EC2 noun, and the facade over them."""
