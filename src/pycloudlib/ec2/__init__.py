"""EC2: the only package that imports boto3. `cloud.py` is the facade; each noun has a module or package."""

from pycloudlib.submodules import lazy_submodules

__getattr__ = lazy_submodules(__name__)
