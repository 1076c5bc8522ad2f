"""A client of NATS, by its own protocol (https://docs.nats.io/reference/reference-protocols/nats-protocol).

    nats_client.py publish PORT       20 numbered messages a second; again what is not acknowledged within a second
    nats_client.py subscribe PORT     makes the stream that takes them, and listens to what comes

Five times a second a JSON object a line: {"times": [[number, CLOCK_MONOTONIC], ...], "sent": N} for what was
acknowledged, or came. At the end of stdin it comes to its end, and a subscriber tells {"stored": N} as well.
"""

import asyncio
import json
import sys
import time

EVERY = 0.05
AGAIN = 1.0
SUBJECT, STREAM, INBOX = "isthmus.orders", "ORDERS", "_INBOX.isthmus"
LAST_WORDS_SECONDS = 30.0


class Client:
    """One connection to the server beside it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.times: list[tuple[int, float]] = []
        self.answers: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.waiting: dict[int, float] = {}
        self.sent = 0

    def send(self, text: str) -> None:
        self.writer.write(text.encode())

    async def read(self) -> None:
        """Everything that the server says."""
        while line := (await self.reader.readline()).decode():
            words = line.split()
            if not words or words[0] in ("INFO", "+OK", "PONG"):
                continue
            if words[0] == "PING":
                self.send("PONG\r\n")
            elif words[0] in ("MSG", "HMSG"):
                body = await self.reader.readexactly(int(words[-1]) + 2)
                head = int(words[-2]) if words[0] == "HMSG" else 0
                self.heard(words[1], body[head:-2])
            else:
                raise RuntimeError(line)

    def heard(self, subject: str, body: bytes) -> None:
        """A message."""
        now = time.monotonic()
        if subject.startswith(f"{SUBJECT}."):
            self.times.append((int(subject.rsplit(".", 1)[1]), now))
        elif subject == f"{INBOX}.api":
            self.answers.put_nowait(json.loads(body))
        # Without a way to the stream the server says at once that nobody answers (503), in a message without a body.
        elif b'"stream"' not in body or b'"error"' in body:
            return
        elif (number := int(subject.rsplit(".", 1)[1])) in self.waiting:
            del self.waiting[number]
            self.times.append((number, now))

    async def ask(self, api: str, request: object) -> dict[str, object]:
        """JetStream's API of the server beside it."""
        body = json.dumps(request) if request else ""
        self.send(f"PUB $JS.API.{api} {INBOX}.api {len(body)}\r\n{body}\r\n")
        return await asyncio.wait_for(self.answers.get(), 10)

    def publish(self, number: int) -> None:
        """A message, the first time or again."""
        head = f"NATS/1.0\r\nNats-Msg-Id: {number}\r\n\r\n"
        body = str(number)
        self.send(f"HPUB {SUBJECT}.{number} {INBOX}.{number} {len(head)} {len(head) + len(body)}\r\n{head}{body}\r\n")
        self.waiting[number] = time.monotonic()

    def again(self) -> None:
        """What was not acknowledged in time."""
        for number, moment in list(self.waiting.items()):
            if time.monotonic() - moment > AGAIN:
                self.publish(number)

    def tell(self, **more: object) -> None:
        """What came since the last time."""
        print(json.dumps({"times": self.times, "sent": self.sent, **more}), flush=True)
        self.times = []


async def main(role: str, port: int) -> None:
    """Works until stdin ends."""
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    client.send('CONNECT {"verbose": false, "headers": true, "no_responders": true}\r\n')
    client.send(f"SUB {INBOX}.> 1\r\n")
    reading = asyncio.create_task(client.read())
    if role == "subscribe":
        client.send(f"SUB {SUBJECT}.> 2\r\n")
        made = await client.ask(
            f"STREAM.CREATE.{STREAM}", {"name": STREAM, "subjects": [f"{SUBJECT}.>"], "storage": "memory"}
        )
        if "error" in made:
            raise RuntimeError(json.dumps(made))
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    told = 0.0
    while not ended.done() and not reading.done():
        if role == "publish":
            client.sent += 1
            client.publish(client.sent)
            client.again()
        if time.monotonic() - told > 0.2:
            told = time.monotonic()
            client.tell()
        await asyncio.sleep(EVERY)
    end = time.monotonic() + LAST_WORDS_SECONDS
    while role == "publish" and client.waiting and time.monotonic() < end and not reading.done():
        client.again()
        await asyncio.sleep(EVERY)
    if role == "publish":
        client.tell()
    else:
        info = await client.ask(f"STREAM.INFO.{STREAM}", None)
        client.tell(stored=info["state"]["messages"])  # type: ignore[index]
        await client.ask(f"STREAM.DELETE.{STREAM}", None)
    reading.cancel()
    client.writer.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
