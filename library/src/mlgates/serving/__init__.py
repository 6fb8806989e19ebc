"""From a request to a logged prediction.

`Predictor` knows no HTTP; `http` stands between it and BentoML.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlgates.serving.predictor import Predictor, Refused

__all__ = ["Predictor", "Refused"]


def __getattr__(name: str) -> Any:
    """Load the predictor when it is first asked for.

    The prediction log and the online store are also read where no service is installed.
    """
    if name in __all__:
        from mlgates.serving import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
