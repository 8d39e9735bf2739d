"""Whether the server is there, for load balancers and people."""

from popcube_server.rest.endpoint import Access, Answer, Call, endpoint


class Health:
    """`/health` as Synapse has it, and `/ping`."""

    @endpoint("GET", "/health", Access.OPEN)
    async def health(self, call: Call) -> Answer:
        return Answer(b"OK", content_type="text/plain; charset=utf-8")

    @endpoint("GET", "/ping", Access.OPEN)
    async def ping(self, call: Call) -> Answer:
        return Answer(b"pong", content_type="text/plain; charset=utf-8")
