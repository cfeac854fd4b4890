"""Runs claims in worker processes: one CPU device, float64 and a persistent compilation cache each."""

import contextlib
import hashlib
import os
import pickle
import platform
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from jaxgen.claims._registry import Claim
from jaxgen.claims._results import ERROR, ClaimResult

Started = Callable[[str], None]

PATIENCE = 600.0
"""Seconds after which, with 20 times its budget on top, a claim is taken to hang."""


def cache_folder() -> Path | None:
    """Folder of compiled programs, or None where it cannot be made.

    `$JAXGEN_CACHE_DIR`, or jaxgen/jit under the user's cache folder; there, one folder for each kind of processor, since
    programs compiled for one may not run on another that shares the file system.
    """
    named = os.environ.get("JAXGEN_CACHE_DIR")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (Path(named) if named else base / "jaxgen" / "jit") / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder


def run_in_workers(claims: Sequence[Claim], num_workers: int, options: dict[str, Any], started: Started | None = None) -> Generator[ClaimResult]:
    """Results in the order in which they are ready; the most expensive claims start first.

    A worker that dies yields the verdict `"error"` for its claim and is replaced. Leaving the iterator early stops all workers.

    Args:
        claims: what to run; their modules must be importable.
        num_workers: number of processes.
        options: keyword arguments of `run_claim`.
        started: called, from another thread, with the id of each claim that starts.
    """
    tasks: queue.SimpleQueue[Claim] = queue.SimpleQueue()
    for claim in sorted(claims, key=lambda claim: -claim.budget):
        tasks.put(claim)
    results: queue.SimpleQueue[ClaimResult] = queue.SimpleQueue()
    workers = [_Worker(options) for _ in range(min(num_workers, len(claims)))]
    threads = [threading.Thread(target=worker.serve, args=(tasks, results, started), daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        for _ in claims:
            yield results.get()
    finally:
        for worker in workers:
            worker.stop()
        for worker, thread in zip(workers, threads, strict=True):
            if thread.is_alive():
                thread.join()
            worker.log.close()


class _Worker:
    """One process at a time, started when there is work, and again after it died."""

    def __init__(self, options: dict[str, Any]):
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.stopped = False
        self.lock = threading.Lock()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the run ends)

    def serve(self, tasks: queue.SimpleQueue[Claim], results: queue.SimpleQueue[ClaimResult], started: Started | None) -> None:
        """Runs tasks until there are none."""
        while not self.stopped:
            try:
                claim = tasks.get_nowait()
            except queue.Empty:
                return
            if started:
                started(claim.id)
            results.put(self._run(claim))

    def stop(self) -> None:
        """Kills the process, for good."""
        with self.lock:
            self.stopped = True
            if self.process is not None:
                self.process.kill()
                _close(self.process)

    def _run(self, claim: Claim) -> ClaimResult:
        begin = time.perf_counter()
        try:
            with self.lock:
                process = self.process = self.process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            pickle.dump((claim.body.__module__, claim.id, self.options), process.stdin)
            process.stdin.flush()
            limit = threading.Timer(PATIENCE + 20 * claim.budget, process.kill)
            limit.daemon = True
            limit.start()
            try:
                return pickle.load(process.stdout)
            finally:
                limit.cancel()
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
            seconds = time.perf_counter() - begin
            late = f"\nit was stopped after {seconds:.0f} s" if seconds > PATIENCE else ""
            return _failed(claim, self._bury(error) + late, seconds, self.options)

    def _start(self) -> subprocess.Popen[bytes]:
        if self.stopped:
            raise EOFError("the run was stopped")
        command = [sys.executable, "-m", "jaxgen.claims._child"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.log, env=_environment(), start_new_session=True)

    def _bury(self, error: Exception) -> str:
        with self.lock:
            process, self.process = self.process, None
            if process is None:
                return f"the worker process did not start: {error}"
            try:
                code = process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            _close(process)
        self.log.seek(0)
        said = _tail_of(self.log.read().decode(errors="replace"))
        self.log.seek(0)
        self.log.truncate()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        return f"{said}\nthe worker process {how}".strip()


def _tail_of(log: str) -> str:
    """The last lines of a log, cut to a readable length, without XLA's false alarm about every cached program."""
    lines = [line[:200] for line in log.strip().splitlines() if "cpu_aot_loader" not in line]
    return "\n".join(lines[-12:])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        features = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"


def _close(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            assert pipe is not None
            pipe.close()


def _environment() -> dict[str, str]:
    """One thread a worker, since there is a worker for each core, and LLVM's first level of optimization.

    In jaxlib 0.10, batched LAPACK calls that run at the same time on several threads may wait for each other forever.
    LLVM's first level halves the time of compilation, which is most of a claim's, and its code runs no slower.
    """
    settings = {
        "XLA_FLAGS": f"--xla_backend_optimization_level=1 {os.environ.get('XLA_FLAGS', '')}",
        "JAX_ENABLE_X64": "1",
        "JAX_NUM_CPU_DEVICES": "1",
        "NPROC": "1",
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    if folder := cache_folder():
        settings |= {"JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    return {"JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"} | os.environ | settings


def _failed(claim: Claim, error: str, seconds: float, options: dict[str, Any]) -> ClaimResult:
    num_seeds = claim.seeds_of_run(options.get("num_seeds"))
    texts = (claim.id, claim.title, claim.source, claim.statement)
    return ClaimResult(*texts, claim.core, claim.statistical, num_seeds, ERROR, [], [], seconds, error)
