"""One thread for small matrices, on which a library's own threads cost more than they save."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function's linear algebra on one thread, whatever the user's settings are.

    OpenBLAS takes all cores for matrices of a hundred rows, and is then several times slower on a
    busy machine. One thread also gives the same last digits on every machine of a kind.
    """

    @wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        with _controller().limit(limits=1, user_api="blas"):
            return function(*arguments, **named)

    return run


@cache
def _controller() -> Any:
    """Return the controller of the libraries that are loaded, found once."""
    import scipy.linalg  # noqa: F401  # its own library is controlled too
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
