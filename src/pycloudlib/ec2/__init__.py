"""EC2: the only package that imports boto3. One module per EC2 noun, with a facade over them."""

from pycloudlib.submodules import lazy_submodules

__getattr__ = lazy_submodules(__name__)
