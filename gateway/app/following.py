"""Lists the parts that follow the configuration when it is read again, each with what it takes from it."""

from __future__ import annotations

from gateway.app.controlling import Controls
from gateway.app.derive import (
    access_of,
    certificate_of,
    door_of,
    failing_after_of,
    limits_of,
    new_names,
    reconciling_of,
    silent_after_of,
    sources_by_name,
    sources_of,
    watch_names_of,
    with_new_secrets,
)
from gateway.app.foundation import Foundation
from gateway.app.ingesting import Ingest
from gateway.app.maintaining import Maintenance
from gateway.app.onlooking import suspects_of
from gateway.app.reload import Follower, Part
from gateway.app.rules_in_use import RulesInUse
from gateway.app.running import Running
from gateway.app.serving import Front
from gateway.delivery.lanes import Lanes
from gateway.reconcile.reconciler import Reconciler
from gateway.web.server.tls import Tls


def followers(
    running: Running,
    foundation: Foundation,
    *,
    ingest: Ingest,
    lanes: Lanes,
    maintenance: Maintenance,
    controls: Controls,
    reconciler: Reconciler,
    front: Front,
    rules_in_use: RulesInUse,
    tls: Tls | None,
) -> list[Part]:
    """Return the parts in the order in which they prepare: the lanes come last, because they open sinks.

    A value that no part here takes needs a restart.
    """
    metrics, store = foundation.metrics, foundation.store
    listed: list[Part] = [
        Follower(lambda new: (sources_of(new), access_of(new), new.server.max_body), front.ingress.use),
        Follower(lambda new: (door_of(new),), front.authentication.use),
        rules_in_use,
        Follower(lambda new: (new_names(running.config.sources, new.sources), (), watch_names_of(new)), metrics.expect),
        Follower(lambda new: (new.watches,), maintenance.stalls.use),
        Follower(lambda new: (silent_after_of(new), failing_after_of(new)), maintenance.troubles.use),
        Follower(lambda new: (new.store.min_free,), ingest.space.use),
        Follower(lambda new: (new.store.retention,), store.use),
        Follower(lambda new: (limits_of(new), new.store.retention), ingest.refused.use),
        Follower(lambda new: (new.sources,), ingest.watch.keep),
        Follower(lambda new: (sources_by_name(new), with_new_secrets(running.config, new)), controls.reverify.use),
        Follower(lambda new: (sources_by_name(new),), controls.redecode.use),
        Follower(lambda new: (reconciling_of(new),), reconciler.use),
        Follower(lambda new: (new.routes, sources_by_name(new)), controls.acts.use),
        Follower(lambda new: (suspects_of(new),), front.play.shown.use),
    ]
    if tls is not None:
        listed.append(Follower(lambda new: (certificate_of(new),), tls.use))
    return [*listed, lanes]
