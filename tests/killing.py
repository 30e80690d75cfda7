"""A process that ends, as a killed one does, before one chosen change to a folder."""

import os
import sys
from collections.abc import Callable

STEPS = {"os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir"}


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do `work` in a process that ends before its `step`-th change to a folder: whether it did. 0 lets it live."""
    child = os.fork()
    if not child:
        left = step

        def hook(event: str, _: object) -> None:
            nonlocal left
            if event in STEPS:
                left -= 1
                if left == 0:
                    os._exit(9)

        sys.addaudithook(hook)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9
