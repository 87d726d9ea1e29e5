"""A slow network between two who talk over TCP, for a kernel without netem: each chunk is passed on later, in order.

It is run in a container of its own, in the place of MLflow (network.py), with Python alone.
"""

import asyncio
import random

PORT, BEHIND = 5000, "mlflow-behind"
DELAY = 0.3
"""seconds that each chunk takes, each way"""
LATE, SHARE = 1.0, 0.05
"""seconds that this share of chunks takes longer; what is behind such a chunk waits for it"""
CHUNK_BYTES = 64 * 1024


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, each chunk when it is due, until there is no more."""
    chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    delivering = asyncio.create_task(deliver(chunks, writer))
    chunk = b"-"
    while chunk:
        try:
            chunk = await reader.read(CHUNK_BYTES)
        except OSError:
            chunk = b""
        due = asyncio.get_running_loop().time() + DELAY + (LATE if random.random() < SHARE else 0)  # noqa: S311 - no secret
        chunks.put_nowait((due, chunk))
    await delivering


async def deliver(chunks: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    try:
        while True:
            due, chunk = await chunks.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()
    except OSError:  # whoever should have it has gone
        pass
    finally:
        writer.close()


async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry both ways between a client and the server behind."""
    try:
        there, back = await asyncio.open_connection(BEHIND, PORT)
    except OSError:
        writer.close()
        return
    await asyncio.gather(carry(reader, back), carry(there, writer))


async def main() -> None:
    server = await asyncio.start_server(meet, "0.0.0.0", PORT)  # noqa: S104 - of a network of its own
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
