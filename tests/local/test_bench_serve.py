import asyncio

import pytest

from local.bench_serve import Measured, measure

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


def run(answers: list[bytes], connections: int = 1) -> Measured:
    """Measure a server that sends these parts, one for each request, and then closes the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            request = await reader.readuntil(b"{}")
            assert request.startswith(b"POST /invocations HTTP/1.1\r\n")
            for part in (answer[:20], answer[20:]):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01)  # two parts, as large responses come
        writer.close()

    async def both() -> Measured:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            return await measure(server.sockets[0].getsockname()[1], [b"{}"], connections, 30)

    return asyncio.run(both())


def test_answers_are_counted_over_all_connections() -> None:
    measured = run([OK + b"{}"] * 3, connections=2)

    assert len(measured.latencies) == 6
    assert all(10 <= latency < 10_000 for latency in measured.latencies)


@pytest.mark.parametrize(
    ("answer", "errors"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}", 2),  # and the next request is lost
        (OK, 1),
    ],
)
def test_a_refusal_and_a_lost_answer_are_errors(answer: bytes, errors: int) -> None:
    measured = run([OK + b"{}", answer])

    assert (len(measured.latencies), measured.errors) == (1, errors)
