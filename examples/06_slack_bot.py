"""A bot for Slack, with the standard library alone: events come in, answers go out.

    SLACK_SIGNING_SECRET=… SLACK_BOT_TOKEN=xoxb-… RAGKIT_STORE=kb python examples/06_slack_bot.py

In Slack, subscribe the bot to `app_mention` and `message.im`, and give it `chat:write`. Each thread
is a conversation. Requests are checked as Slack's "Verifying requests from Slack" says.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import time
import urllib.request
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock
from typing import Any

from ragkit import RAG
from ragkit.config import load_settings
from ragkit.errors import RagkitError

SECRET = os.environ["SLACK_SIGNING_SECRET"].encode()
TOKEN = os.environ["SLACK_BOT_TOKEN"]
API = os.environ.get("SLACK_API_URL", "https://slack.com/api")
GROUPS = ["public"]
"""Whose documents are answered from: nobody in a channel may see more than all of them may."""

MOST_AGE_SECONDS, MOST_BYTES, MOST_WAITING, MOST_KEPT, MOST_TURNS = 300, 1 << 20, 100, 1000, 20


class Bot:
    """Answers events, each once, in threads of its own: Slack waits three seconds only."""

    def __init__(self, rag: RAG) -> None:
        self._rag, self._pool = rag, ThreadPoolExecutor(8)
        self._free, self._lock = BoundedSemaphore(MOST_WAITING), Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._talks: OrderedDict[str, list[dict[str, str]]] = OrderedDict()

    def take(self, envelope: dict[str, Any]) -> int:
        """Take an event, and return the status; 503 has Slack send it again later."""
        said = envelope.get("event", {})
        if said.get("bot_id") or said.get("subtype") or not said.get("text"):
            return 200  # the bot's own messages come back to it
        with self._lock:
            if envelope["event_id"] in self._seen:
                return 200  # Slack repeats what was not acknowledged in time
            if not self._free.acquire(blocking=False):
                return 503
            _keep(self._seen, envelope["event_id"], None)
        self._pool.submit(self._answer, said)
        return 200

    def _answer(self, said: dict[str, Any]) -> None:
        try:
            thread = said.get("thread_ts", said["ts"])
            question = _unescaped(re.sub(r"<@\w+>", "", said["text"])).strip()
            with self._lock:
                turns = list(self._talks.get(f"{said['channel']} {thread}", ()))
            try:
                answer = self._rag.ask(question, history=turns[-MOST_TURNS:], groups=GROUPS)
                places = dict.fromkeys(c.url or c.hit.chunk.document_id for c in answer.citations)
                text = answer.text or "The documents do not say."
                turns += [{"role": "user", "content": question},
                          {"role": "assistant", "content": text}]  # fmt: skip
            except RagkitError:
                places, text = {}, "I cannot answer now; please try again later."
            with self._lock:
                _keep(self._talks, f"{said['channel']} {thread}", turns)
            lines = [_escaped(text), *(f"• {_escaped(place)}" for place in places)]
            _post({"channel": said["channel"], "thread_ts": thread, "text": "\n".join(lines)})
        finally:
            self._free.release()


def _keep(kept: OrderedDict[str, Any], key: str, value: object) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > MOST_KEPT:
        kept.popitem(last=False)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _post(message: dict[str, str]) -> None:
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/json; charset=utf-8",
    }
    url = f"{API}/chat.postMessage"
    request = urllib.request.Request(url, json.dumps(message).encode(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            said = json.load(response)
    except OSError as error:
        said = {"error": error}
    if not said.get("ok"):
        print("Slack did not take an answer:", said.get("error"))


def is_signed(timestamp: str, signature: str, body: bytes) -> bool:
    """Whether Slack has signed a request, within the last five minutes."""
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > MOST_AGE_SECONDS:
        return False
    signed = hmac.new(SECRET, b"v0:" + timestamp.encode() + b":" + body, sha256).hexdigest()
    return hmac.compare_digest(f"v0={signed}".encode(), signature.encode())


class Events(BaseHTTPRequestHandler):
    """Receives events, and answers nothing that Slack has not signed."""

    bot: Bot
    timeout = 10

    def do_POST(self) -> None:
        """Check an event, and take it."""
        n_bytes = self.headers.get("Content-Length", "0")
        body = self.rfile.read(min(int(n_bytes), MOST_BYTES) if n_bytes.isdecimal() else 0)
        timestamp = self.headers.get("X-Slack-Request-Timestamp", "")
        if not is_signed(timestamp, self.headers.get("X-Slack-Signature", ""), body):
            self._reply(401)
            return
        envelope = json.loads(body)
        if envelope.get("type") == "url_verification":
            self._reply(200, envelope["challenge"])
        else:
            self._reply(self.bot.take(envelope))

    def _reply(self, status: int, text: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    settings = load_settings(environment=os.environ)
    with RAG(settings.store, config=settings) as rag:
        rag.warm()
        Events.bot = Bot(rag)
        port = int(os.environ.get("PORT", "3000"))
        ThreadingHTTPServer(("127.0.0.1", port), Events).serve_forever()
