"""The examples that serve: each runs as a process of its own, against servers on this machine."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ragkit_connectors.testing import OpenAIServer, Reply, Request
from ragkit_connectors.testing.serving import Answering, LoopbackServer

from .load import is_sound, run
from .services import FERRY, make_store, outcomes, post, service

pytestmark = pytest.mark.slow  # Each test starts a service.

needs_fastapi = pytest.mark.skipif(
    find_spec("fastapi") is None or find_spec("uvicorn") is None,
    reason="needs FastAPI and uvicorn: make test-examples",
)
CHAT = "05_fastapi_chat.py"
ANNA, BEN = "Bearer anna-secret", "Bearer ben-secret"


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it never held")


def scripted(store: Path, server: OpenAIServer, **more: str) -> dict[str, str]:
    """Return the settings of a service that a scripted model answers for."""
    return {
        "RAGKIT_STORE": str(store), "RAGKIT_GENERATOR": "openai:scripted",
        "RAGKIT_BASE_URL": server.base_url, **more,
    }  # fmt: skip


def asked(url: str, body: dict[str, object], user: str = BEN) -> list[tuple[str, Any]]:
    """Return name and data of each event of an answer."""
    found: list[tuple[str, Any]] = []
    with post(f"{url}/chat", body, Authorization=user) as response:
        assert response.status == 200
        blocks = response.read().decode().split("\n\n")
    for block in blocks[:-1]:
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def status(url: str, body: dict[str, object], user: str = BEN) -> tuple[int, str | None]:
    """Return the status of a question, and when to come back."""
    with post(f"{url}/chat", body, Authorization=user) as response:
        return response.status, response.headers["Retry-After"]


@needs_fastapi
def test_the_chat_service_answers_each_user_from_their_documents(tmp_path: Path) -> None:
    """Pieces, then citations; turns before it; what a user may not see is not there for them."""
    store = make_store(tmp_path / "kb")
    pay: dict[str, object] = {"question": "What does the captain earn?"}
    turns = [{"role": "user", "content": FERRY}, {"role": "assistant", "content": "At nine."}]
    with service(CHAT, {"RAGKIT_STORE": str(store)}) as url:
        *pieces, (last, answer) = asked(url, {"question": FERRY})
        assert (
            "".join(piece for _, piece in pieces) == answer["text"] == "The Gannet leaves at nine."
        )
        assert (last, answer["citations"][0]["document_id"]) == ("answer", "guide")
        follow_up: dict[str, object] = {"question": "And the Puffin?", "history": turns}
        assert "ten" in asked(url, follow_up)[-1][1]["text"]
        assert asked(url, pay)[-1][1]["refused"] is True
        assert "4,000" in asked(url, pay, ANNA)[-1][1]["text"]
        assert status(url, pay, "Bearer of news") == (401, None)
        king = [{"role": "king", "content": "x"}]
        assert status(url, {"question": FERRY, "history": king}) == (400, None)
    assert outcomes(store) == ["answered", "answered", "refused", "answered"]


@needs_fastapi
def test_a_user_who_leaves_stops_the_model(tmp_path: Path) -> None:
    """The connection to the model is closed, and the ledger says what became of the answer."""
    store = make_store(tmp_path / "kb")
    replies = [Reply(text="At nine", is_endless=True), Reply(text="boom", status=500)]
    with OpenAIServer(replies) as server, service(CHAT, scripted(store, server)) as url:
        with post(f"{url}/chat", {"question": FERRY}, Authorization=BEN) as response:
            assert response.readline() == b"event: piece\n"
        assert server.client_left.wait(30)
        wait_for(lambda: outcomes(store) == ["abandoned"])
        assert asked(url, {"question": FERRY}) == [("failed", "try again")]
    assert outcomes(store) == ["abandoned", "failed"]


@needs_fastapi
def test_an_answer_ends_at_its_deadline(tmp_path: Path) -> None:
    """The user is told, and the model stopped."""
    store = make_store(tmp_path / "kb")
    with OpenAIServer([Reply(text="At nine", is_endless=True)]) as server:
        with service(CHAT, scripted(store, server, DEADLINE="1")) as url:
            *pieces, last = asked(url, {"question": FERRY})
            assert server.client_left.wait(30)
    assert pieces
    assert last == ("failed", "out of time")
    assert outcomes(store) == ["abandoned"]


@needs_fastapi
def test_a_service_that_is_full_says_when_to_come_back(tmp_path: Path) -> None:
    """Status 503 with Retry-After, before anything is searched for."""
    store = make_store(tmp_path / "kb")
    with OpenAIServer([Reply(delay_seconds=30), Reply(text="At ten.")]) as server:
        with service(CHAT, scripted(store, server, THREADS="1", WAITING="0")) as url:
            with post(f"{url}/chat", {"question": FERRY}, Authorization=BEN):
                wait_for(lambda: len(server.requests) == 1)
                assert status(url, {"question": FERRY}) == (503, "2")


@needs_fastapi
def test_many_users_come_and_go(tmp_path: Path) -> None:
    """No error, no stream left open, and a line in the ledger for whatever the model was asked."""
    found = run(20, 2, tmp_path)
    assert is_sound(found), found
    assert found["answers"]


class Slack(LoopbackServer):
    """The part of Slack's API that the bot calls."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[Any] = []
        self.tokens: set[str] = set()

    def respond(self, request: Request, answer: Answering) -> None:
        """Take a message."""
        assert request.path == "/chat.postMessage"
        self.tokens.add(request.headers["authorization"])
        self.posted.append(request.body)
        answer.json(200, {"ok": True})


def signed(
    url: str, envelope: dict[str, object], *, key: str = "shh", age: int = 0
) -> tuple[int, bytes]:
    """Send an event as Slack signs it, and return status and text of the response."""
    body, timestamp = json.dumps(envelope).encode(), str(int(time.time()) - age)
    base = f"v0:{timestamp}:".encode() + body
    signature = "v0=" + hmac.new(key.encode(), base, sha256).hexdigest()
    headers = {"X_Slack_Request_Timestamp": timestamp, "X_Slack_Signature": signature}
    with post(url, body, **headers) as response:
        return response.status, response.read()


def settings_of_bot(store: Path, slack: Slack, **more: str) -> dict[str, str]:
    """Return the settings of a bot on this machine."""
    return {
        "RAGKIT_STORE": str(store), "SLACK_API_URL": slack.url, "SLACK_SIGNING_SECRET": "shh",
        "SLACK_BOT_TOKEN": "xoxb-1", **more,
    }  # fmt: skip


def mention(number: int, text: str, **more: object) -> dict[str, object]:
    """Return the envelope of a message to the bot."""
    said = {"type": "app_mention", "channel": "C1", "ts": f"17.{number}", "text": text, **more}
    return {"type": "event_callback", "event_id": f"Ev{number}", "event": said}


def test_the_slack_bot_answers_in_the_thread(tmp_path: Path) -> None:
    """Signed events are answered once, with sources, and a thread is a conversation."""
    store = make_store(tmp_path / "kb")
    with Slack() as slack:
        with service("06_slack_bot.py", settings_of_bot(store, slack)) as url:
            challenge: dict[str, object] = {"type": "url_verification", "challenge": "hello"}
            assert signed(url, challenge) == (200, b"hello")
            first = mention(1, f"<@U7> {FERRY}")
            assert signed(url, first) == signed(url, first) == (200, b"")
            wait_for(lambda: len(slack.posted) == 1)
            signed(url, mention(2, "And the Puffin?", thread_ts="17.1"))
            wait_for(lambda: len(slack.posted) == 2)
            signed(url, mention(3, "What does the captain &lt;earn&gt;?"))
            wait_for(lambda: len(slack.posted) == 3)
            signed(url, mention(4, "I am a bot", bot_id="B1"))
            for key, age in (("other", 0), ("shh", 301)):
                assert signed(url, mention(5, FERRY), key=key, age=age) == (401, b"")
            with post(url, mention(5, FERRY)) as response:
                assert response.status == 401
    assert slack.tokens == {"Bearer xoxb-1"}
    assert slack.posted[0] == {
        "channel": "C1", "thread_ts": "17.1", "text": "The Gannet leaves at nine.\n• guide",
    }  # fmt: skip
    assert slack.posted[1]["thread_ts"] == "17.1"
    assert "The Puffin leaves at ten." in slack.posted[1]["text"]
    assert slack.posted[2]["text"] == "The documents do not say."
    assert outcomes(store) == ["answered", "answered", "refused"]


def test_the_slack_bot_says_that_it_cannot_answer(tmp_path: Path) -> None:
    """A model that fails is no silence; what it says cannot mention anybody."""
    store = make_store(tmp_path / "kb")
    replies = [Reply(text="boom", status=500), Reply(text="At nine, <!channel> [1].")]
    with Slack() as slack, OpenAIServer(replies) as server:
        environment = settings_of_bot(store, slack, **scripted(store, server))
        with service("06_slack_bot.py", environment) as url:
            for number in (1, 2):
                signed(url, mention(number, FERRY))
                wait_for(lambda: len(slack.posted) == len(server.requests) == number)  # noqa: B023
    assert "try again later" in slack.posted[0]["text"]
    assert slack.posted[1]["text"].startswith("At nine, &lt;!channel&gt; [1].")
