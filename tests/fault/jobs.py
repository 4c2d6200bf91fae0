"""Jobs of every kind, made from a random source; their keys are in their URLs."""

from tests.fault.ledger import Asked

RETRY = {"attempts": 5, "backoff": "20ms", "max_backoff": "50ms"}
LARGE = 100000  # more than is kept in the store: it goes to a file


class Maker:
    """Makes specs for an origin, and writes into the ledger what is to come of them."""

    def __init__(self, ledger, origin, rng, weights=None):
        self.ledger = ledger
        self.origin = origin
        self.rng = rng
        self.weights = weights or {name: 1 for name in KINDS}

    def make(self, kind=None):
        """A job of this kind, or of one by chance; its spec and what was asked for."""
        kind = kind or self.rng.choices(list(self.weights), self.weights.values())[0]
        asked = Asked(self.ledger.key())
        spec = {"name": asked.key, "labels": {"group": self.ledger.group},
                **KINDS[kind](self, asked)}
        self.ledger.ask(asked)
        return spec, asked

    def url(self, asked, step, path="/ok", query=""):
        return self.origin.url(f"{path}/{asked.key}/{step}?ms={self.rng.randint(0, 25)}{query}")

    def fetch(self, asked):
        asked.steps = ("request",)
        return {"kind": "fetch", "url": self.url(asked, "request"), "retry": RETRY}

    def post(self, asked):
        return {**self.fetch(asked), "method": "POST", "body": "once only"}

    def late(self, asked):
        return {**self.fetch(asked), "delay": f"{self.rng.randint(50, 300)}ms"}

    def flaky(self, asked):
        asked.steps = ("request",)
        return {"kind": "fetch", "url": self.url(asked, "request", "/flaky", "&fail=1"),
                "retry": RETRY}

    def refused(self, asked):
        asked.steps = ("request",)
        asked.fails = True
        return {"kind": "fetch", "url": self.url(asked, "request", "/status/500")}

    def large(self, asked):
        asked.steps = ("request",)
        asked.size = LARGE + self.rng.randint(0, 9)
        query = f"&size={asked.size}&seed={asked.size}"
        return {"kind": "fetch", "url": self.url(asked, "request", "/ok", query), "retry": RETRY}

    def wait(self, asked):
        asked.wait = self.rng.randint(20, 400) / 1000
        return {"kind": "delivery", "wait": asked.wait}

    def delivery(self, asked):
        asked.steps = ("deliver", "collect")
        asked.wait = self.rng.randint(10, 300) / 1000
        return {"kind": "delivery", "url": self.url(asked, "deliver"), "payload": {"a": asked.key},
                "wait": asked.wait, "retry": RETRY, "collect": {"url": self.url(asked, "collect")}}


KINDS = {"fetch": Maker.fetch, "post": Maker.post, "late": Maker.late, "flaky": Maker.flaky,
         "refused": Maker.refused, "large": Maker.large, "wait": Maker.wait,
         "delivery": Maker.delivery}
USUAL = {"fetch": 6, "post": 2, "late": 2, "flaky": 2, "refused": 1, "large": 1, "wait": 4,
         "delivery": 5}
IN_ORDER = {"fetch": 3, "wait": 1, "delivery": 2}
