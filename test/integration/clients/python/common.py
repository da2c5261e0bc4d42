"""What the three clients' checks share: the node's address and model (argv), schemas, and one line for each check that held."""
import json
import sys
import threading
import time
import urllib.request

URL, MODEL = sys.argv[1], sys.argv[2]
# What the node was started with: a test fills them.
RUNNING, WAITING = int(sys.argv[3]), int(sys.argv[4])
BASE = URL + "/v1"

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "degrees": {"type": "integer", "minimum": -40, "maximum": 50}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"], "additionalProperties": False},
    },
}
HI = [{"role": "user", "content": "Say hi."}]


def held(name):
    print(f"ok {name}", flush=True)


def is_city(document):
    return set(document) == {"city", "degrees"} and isinstance(document["city"], str) and -40 <= document["degrees"] <= 50


def gauge(name):
    with urllib.request.urlopen(URL + "/metrics") as response:
        for line in response.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split(" ")[1])
    raise AssertionError(f"no metric {name}")


def until(what, condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def idle():
    until("the node is idle", lambda: gauge("minid_requests_running") == 0 and gauge("minid_requests_waiting") == 0)


class Crowd:
    """As many long answers as run and wait at most, until `leave`."""

    def __enter__(self):
        self.responses = []
        body = json.dumps({"model": MODEL, "stream": True, "ignore_eos": True, "max_tokens": 4000, "messages": HI}).encode()

        def ask():
            request = urllib.request.Request(BASE + "/chat/completions", body, {"content-type": "application/json"})
            self.responses.append(urllib.request.urlopen(request))

        for _ in range(RUNNING + WAITING):
            threading.Thread(target=ask, daemon=True).start()
        until("the line is full", lambda: gauge("minid_requests_waiting") == WAITING)
        # Every stream has its status line by then, a keep-alive comment at the latest: so that each can be closed.
        until("all are open", lambda: len(self.responses) == RUNNING + WAITING)
        return self

    def leave(self):
        while self.responses:
            self.responses.pop().close()

    def __exit__(self, *_):
        self.leave()
        idle()
