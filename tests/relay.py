"""TCP ports of this machine in a sandbox without a network, through Unix sockets.

``relay.py outside <folder> <port>...`` connects a socket in the folder to each port;
``relay.py inside <folder> <port>... -- <command>`` listens on the same ports of the sandbox while the command runs.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

HOST = "127.0.0.1"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def outside(folder: Path, ports: list[str]) -> None:
    for port in ports:
        connect = partial(asyncio.open_connection, HOST, int(port))
        await asyncio.start_unix_server(partial(relay, connect), folder / port)
    await asyncio.Event().wait()


async def inside(folder: Path, ports: list[str], command: list[str]) -> int:
    for port in ports:
        connect = partial(asyncio.open_unix_connection, folder / port)
        await asyncio.start_server(partial(relay, connect), HOST, int(port))
    program = await asyncio.create_subprocess_exec(*command)
    return await program.wait()


async def relay(
    connect: Callable[[], Awaitable[Connection]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with suppress(OSError):
        other_reader, other_writer = await connect()
        await asyncio.gather(copy(reader, other_writer), copy(other_reader, writer))
    writer.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


if __name__ == "__main__":
    _, side, folder, *ports = sys.argv
    if side == "outside":
        asyncio.run(outside(Path(folder), ports))
    else:
        end = ports.index("--")
        sys.exit(asyncio.run(inside(Path(folder), ports[:end], ports[end + 1 :])))
