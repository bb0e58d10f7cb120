"""The only door to boto3: one module per EC2 noun, and the facade over them."""

from pycloudlib.submodules import lazy_submodules

__getattr__ = lazy_submodules(__name__)
