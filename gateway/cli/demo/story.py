"""The story of the demo: three items, the events that Legitmark would send for them, and where each has to arrive."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from gateway.core.samples import SAMPLES
from gateway.core.values import rfc3339
from gateway.host.clock import Clock

CONFIG = """\
# Written by `gateway demo`. All four sinks are on this host, and end with the demo.
# The gateway takes two free ports at each start, and names them in gateway.db.addresses.
[server]
listen = ["127.0.0.1:0"]

[admin]
listen = ["127.0.0.1:0"]

[store]
path = "gateway.db"

[audit]
path = "audit.jsonl"

[sources.legitmark]
secrets = [{{ file = "legitmark.secret" }}]

[sinks.erp]                      # an internal system: gets the body as it came, signed with our own secret
type = "http"
url = "http://127.0.0.1:{http_port}/erp"
secret = {{ file = "erp.secret" }}
retry = ["0s", "1s", "1s", "5s", "30s"]
reject_on = [404]                # it does not know the order: another attempt would not help, so a person is asked at once
on_stale = "annotate"            # a header of a late event says that it is late

[sinks.fraud_desk]
type = "slack"
webhook_url = {{ file = "slack.secret" }}

[sinks.customer_care]
type = "email"
host = "127.0.0.1"
port = {smtp_port}
security = "none"
sender = "Legitmark gateway <gateway@example.com>"
recipients = ["care@example.com"]

[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[[routes]]
name = "everything"
sinks = ["archive"]

[[routes]]
name = "steps"
match = {{ event_type = ["state_change", "media_rejected"] }}
sinks = ["erp"]

[[routes]]
name = "photos to redo"
match = {{ milestone = ["qc_rejected", "needs_resubmission"] }}
join = "20s"                     # the rejection waits for its reasons: one mail tells both
sinks = ["customer_care"]

[[routes]]
name = "verdicts"
match = {{ milestone = ["authentic", "counterfeit"] }}
sinks = ["customer_care"]

[[routes]]
name = "counterfeits"
match = {{ state = {{ primary = "COMPLETE", supplement = "REJECTED" }} }}
sinks = ["fraud_desk"]
"""


class StoryStep(Struct, frozen=True):
    """One event of the story."""

    title: str
    event: dict[str, Any]
    sinks: tuple[str, ...]
    """The sinks where it has to arrive, once each."""
    kind: Literal["new", "repeated", "forged"] = "new"
    """`repeated` sends the step before once more, with the same message id, as a manual resend does."""
    failures: int = 0
    """How many times the ERP answers 500 first."""
    late: bool = False
    """It happened before an event that has already arrived, so the ERP has to be told that it is late."""
    refused: bool = False
    """The ERP does not know the order: the delivery to it has to be dead."""


_STEP = ("archive", "erp")
_ASKED = ("archive", "erp", "customer_care")


BAG = "バッグ-0042"
"""The item whose service request is told as a whole at the end."""
WATCH = "WATCH-7731"
"""The item that the ERP does not hear about, for a person to find out why."""


def story(clock: Clock) -> list[StoryStep]:
    """Return the steps in order, with fresh service requests, so that a second demo does not repeat the events of the first."""
    bag = {"sr_uuid": _uuid(clock), "reference_id": BAG}
    shoes = {"sr_uuid": _uuid(clock), "reference_id": "SNK-88213-EU42"}
    begun = clock.now() - 3600

    def event(minute: int, sample: str, item: dict[str, str]) -> dict[str, Any]:
        return {**SAMPLES[sample], **item, "timestamp": rfc3339(begun + 60 * minute)}

    authentic = event(50, "authentic", bag)
    return [
        StoryStep("A bag: its photos are submitted", event(1, "qc_pending", bag), _STEP),
        StoryStep("The photos fail the quality control: the mail waits for the reasons", event(10, "qc_rejected", bag), _STEP),
        StoryStep(
            "Which photos, and why, in the authenticator's words: one mail tells both",
            event(11, "needs_resubmission_ja", bag),
            _ASKED,
        ),
        StoryStep("New photos: a second round is not a duplicate of the first", event(20, "qc_pending", bag), _STEP),
        StoryStep("They fail once more", event(25, "qc_rejected", bag), _STEP),
        StoryStep("Which, and why: again one mail", event(26, "needs_resubmission", bag), _ASKED),
        StoryStep("The third photos pass", event(30, "qc_approved", bag), _STEP),
        StoryStep("The bag is authentic", authentic, _ASKED),
        StoryStep("Legitmark sends that once more: it is recorded, and goes nowhere", authentic, (), kind="repeated"),
        StoryStep("What happened before comes late: a header tells the ERP so", event(40, "in_progress", bag), _STEP, late=True),
        StoryStep(
            "Shoes: counterfeit. The ERP fails twice; no other sink waits for it",
            event(52, "counterfeit", shoes),
            ("archive", "erp", "customer_care", "fraud_desk"),
            failures=2,
        ),
        StoryStep("A forged signature: refused", event(53, "authentic", shoes), (), kind="forged"),
        StoryStep("An unknown event type: kept, and routed", event(54, "unrecognized", bag), ("archive",)),
    ]


def unheard(clock: Clock) -> StoryStep:
    """Return the last step, with a fresh service request: an event that the ERP refuses. It leaves a person something to mend."""
    watch = {"sr_uuid": _uuid(clock), "reference_id": WATCH}
    return StoryStep(
        "A watch is authentic. The ERP does not know its order yet: the delivery is dead, and needs a person",
        {**SAMPLES["authentic"], **watch, "timestamp": rfc3339(clock.now() - 60)},
        ("archive", "customer_care"),
        refused=True,
    )


def _uuid(clock: Clock) -> str:
    value = clock.new_id()
    return "-".join((value[:8], value[8:12], value[12:16], value[16:20], value[20:]))
