"""The process that a worker is: takes claims from standard input, sends their results to standard output."""

import importlib
import os
import pickle
import queue
import sys
import threading
from typing import BinaryIO

from jaxgen.claims._registry import current
from jaxgen.claims._runner import run_claim


def main() -> None:
    """Serves until standard input ends, and ends at once then, even in the middle of a claim: nobody waits for it."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    tasks = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, tasks), daemon=True).start()
    while True:
        module, id, options = tasks.get()
        importlib.import_module(module)
        result = run_claim(current().claims[id], **options)
        sys.stdout.flush()
        pickle.dump(result, answers)
        answers.flush()


def _read(requests: BinaryIO, tasks: queue.SimpleQueue) -> None:
    while True:
        try:
            tasks.put(pickle.load(requests))
        except EOFError:
            os._exit(0)


if __name__ == "__main__":
    main()
