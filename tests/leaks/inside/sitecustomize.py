"""Python imports this by itself when it starts with this folder on its path, as every child of the tests does."""

from __future__ import annotations

import os
import sys

_FOLDER = os.environ.get("GATEWAY_TESTS_RECORDS")


class _WhenTheGatewayIsImported:
    """Any other program (pip, say) is left alone."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "gateway":
            sys.meta_path.remove(self)
            from recorder import record  # type: ignore[import-not-found]  # beside this file, which is all that is on the path

            record(_FOLDER, whole_process=True)


if _FOLDER:
    sys.meta_path.insert(0, _WhenTheGatewayIsImported())
