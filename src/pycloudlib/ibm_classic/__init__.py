"""Names of pycloudlib's IBM Classic support, which this distribution does not have."""

from pycloudlib.submodules import lazy_submodules

__getattr__ = lazy_submodules(__name__)
