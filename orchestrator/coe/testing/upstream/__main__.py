"""`python -m coe.testing.upstream`: the fake upstream as a process. Prints its base URL, then serves."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal

from coe.testing.upstream import FakeUpstream, Fault, Framing


def main() -> None:
    """Parse the arguments and serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m coe.testing.upstream", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--fault", type=Fault, choices=list(Fault), default=Fault.NONE)
    parser.add_argument(
        "--model-fault",
        action="append",
        default=[],
        metavar="MODEL=FAULT",
        type=_model_fault,
        help="a fault for one model; may be repeated",
    )
    parser.add_argument("--framing", type=Framing, choices=list(Framing), default=Framing.AUTO)
    parser.add_argument("--answer", help="what to say instead of the echo")
    parser.add_argument(
        "--model", action="append", default=[], help="a name for GET /v1/models; may be repeated"
    )
    parser.add_argument("--delay-ms", type=float, default=50, help="for the faults that are slow")
    parser.add_argument("--huge-bytes", type=int, default=64_000_000, help="for huge-body")
    arguments = parser.parse_args()
    upstream = FakeUpstream(
        arguments.fault,
        faults=dict(arguments.model_fault),
        framing=arguments.framing,
        answer=arguments.answer,
        models=arguments.model or ("fake",),
        delay_s=arguments.delay_ms / 1000,
        huge_bytes=arguments.huge_bytes,
        port=arguments.port,
        keep=0,
    )
    asyncio.run(_serve(upstream))


def _model_fault(text: str) -> tuple[str, Fault]:
    model, _, fault = text.rpartition("=")
    return model, Fault(fault)


async def _serve(upstream: FakeUpstream) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with upstream:
        with contextlib.suppress(BrokenPipeError):
            print(upstream.base_url, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    main()
