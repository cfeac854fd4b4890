"""The command line: `jaxgen verify`, `jaxgen study`, `jaxgen report`, `jaxgen list`."""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from jaxgen import __version__
from jaxgen._core.machine import cores

USER_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    0 when all is well, 1 when a claim fell short or a control was not refuted, 2 for an error of the user (one line on
    standard error), 130 after an interrupt.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError) as error:
        print(f"jaxgen: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("jaxgen: interrupted; what was saved is kept", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jaxgen", description="The theory of deep learning, computed and checked in JAX.")
    parser.add_argument("--version", action="version", version=f"jaxgen {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_verify(commands.add_parser("verify", help="run theorems as executable claims, each with a control that must fail"))
    _add_study(commands.add_parser("study", help="run a multi-seed experiment that ends in a figure and a table of numbers"))
    _add_report(commands.add_parser("report", help="every generalization bound for a saved net, beside its test error"))
    lister = commands.add_parser("list", help="show all claims and studies")
    lister.set_defaults(run=_list)
    return parser


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--full", action="store_true", help="all claims, not only the core set")
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="an id or a pattern such as 'INFO-*'; may be repeated")
    parser.add_argument("--seeds", type=_positive, metavar="N", help="number of seeds for every claim that does not need more")
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="global seed (default 0)")
    parser.add_argument("--workers", type=_positive, metavar="N", help="number of processes (default: one a core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number; kept up to date while running")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one self-contained page")
    parser.add_argument("--list", action="store_true", help="show all claims and run none")
    parser.add_argument("--module", action="append", default=[], metavar="NAME", help="take the claims of this importable module instead")
    parser.set_defaults(run=_verify)


def _add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the study; `jaxgen list` shows them")
    parser.add_argument("--data", metavar="NAME", help="digits (default), fashion-mnist, mnist or cifar10")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of the data set's files")
    parser.add_argument("--seeds", type=_positive, metavar="K", help="number of seeds")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for results; a run that was interrupted there is resumed")
    parser.set_defaults(run=_study)


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("params", type=Path, metavar="PARAMS", help="trained parameters: an .npz or flax .msgpack file, or an orbax folder")
    parser.add_argument("--init", type=Path, required=True, metavar="PARAMS", help="parameters that training began with")
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="Python file that defines apply_fn(params, x), and loss if need be")
    parser.add_argument("--data", default="digits", metavar="NAME", help="digits (default), fashion-mnist, mnist, or an .npz file")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of the data set's files")
    parser.add_argument("--delta", type=float, default=0.05, metavar="P", help="probability with which a bound may fail (default 0.05)")
    parser.add_argument("--joint", action="store_true", help="share that out over all bounds")
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="seed of what is sampled (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one self-contained page")
    parser.set_defaults(run=_report)


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer; got {text!r}")
    return value


def _verify(options: argparse.Namespace) -> int:
    from jaxgen.claims import command

    if options.list:
        return command.show_list(options.module)
    return command.verify(
        only=options.only,
        full=options.full,
        num_seeds=options.seeds,
        seed=options.seed,
        workers=options.workers,
        json=options.json,
        html=options.html,
        modules=options.module,
    )


def _study(options: argparse.Namespace) -> int:
    from jaxgen import studies

    if options.name not in studies.STUDIES:
        near = difflib.get_close_matches(options.name, studies.STUDIES, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(studies.STUDIES))}"
        raise ValueError(f"unknown study {options.name!r}; {hint}")
    if options.name not in studies.ONE_AT_A_TIME:
        _one_device_a_core()
    given = {name: getattr(options, name) for name in ("data", "data_dir", "seeds", "out")}
    studies.run(options.name, **{name: value for name, value in given.items() if value is not None})
    return 0


def _report(options: argparse.Namespace) -> int:
    from jaxgen.bounds.report import command

    return command.report(
        options.params,
        options.init,
        options.model,
        data_name=options.data,
        data_dir=options.data_dir,
        delta=options.delta,
        joint=options.joint,
        seed=options.seed,
        json=options.json,
        html=options.html,
    )


def _list(options: argparse.Namespace) -> int:
    from jaxgen import studies
    from jaxgen.claims import command

    command.show_list()
    print("\nstudies: " + ", ".join(sorted(studies.STUDIES)))
    return 0


def _one_device_a_core() -> None:
    """Gives JAX one CPU device for each core, unless the environment says how many; seeds are spread over them.

    With one thread each: devices that share threads lose time handing work over, and in jaxlib 0.10 batched LAPACK calls
    that occupy all of a few threads wait for ever.
    """
    os.environ.setdefault("NPROC", "1")
    if "JAX_NUM_CPU_DEVICES" not in os.environ and "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", cores())
