"""Numbers about the links of this site."""

from collections.abc import Callable, Iterable
from functools import partial

from federation.sites.duties.leased_duty import DutyState
from federation.sites.duties.shared_duty import SharedDuty
from federation.sites.link import LinkState, SiteLink
from federation.sites.retry_held import RetryHeld
from popcube_server.counters import Counter, Gauge
from popcube_server.metrics import Metrics


class SiteMetrics:
    """Publishes how durability stands, in the organisation's registry."""

    def __init__(self, metrics: Metrics) -> None:
        self._fallen_back = Gauge(
            "popcube_site_durability_fallen_back",
            "1 while writes are answered although no peer site has them.",
            registry=metrics.registry,
        )
        self._fallen_back.set(1)
        self._falls = Counter(
            "popcube_site_durability_falls_total",
            "How often no peer site confirmed writes in time.",
            registry=metrics.registry,
        )

    def fell_back(self) -> None:
        self._fallen_back.set(1)
        self._falls.inc()

    def recovered(self) -> None:
        self._fallen_back.set(0)


class LinkMetrics:
    """By peer: backlog, lag, whether it answers, and when it last did."""

    def __init__(self, metrics: Metrics, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        names, registry = ("peer",), metrics.registry
        self._backlog = Gauge(
            "popcube_site_backlog",
            "Positions of this site's log that the peer has not confirmed.",
            names,
            registry=registry,
        )
        self._lag = Gauge(
            "popcube_site_lag_seconds",
            "How long ago the oldest position was written that the peer has not confirmed.",
            names,
            registry=registry,
        )
        self._connected = Gauge(
            "popcube_site_connected", "1 while the peer answers.", names, registry=registry
        )
        self._silence = Gauge(
            "popcube_site_silence_seconds",
            "Time since the peer last answered; -1 if it has not yet.",
            names,
            registry=registry,
        )

    def linked(self, link: SiteLink) -> None:
        self._backlog.labels(link.name).set_function(partial(_backlog, link))
        self._lag.labels(link.name).set_function(partial(_lag_s, link))
        self._connected.labels(link.name).set_function(partial(_is_connected, link))
        self._silence.labels(link.name).set_function(partial(_silence_s, link, self._now_ms))

    def unlinked(self, name: str) -> None:
        """Nothing is told of a site that is none any more."""
        for gauge in (self._backlog, self._lag, self._connected, self._silence):
            gauge.remove(name)


def publish_held(metrics: Metrics, retry: RetryHeld) -> None:
    """How much of what peers sent waits until this site can make use of it."""
    metrics.gauge(
        "site_held_records",
        "Records of peer sites that this version does not know or understand.",
        lambda: retry.counts.records,
    )
    metrics.gauge(
        "site_held_events",
        "Events of peer sites that could not become part of their rooms.",
        lambda: retry.counts.events,
    )


def publish_duties(metrics: Metrics, duties: Iterable[SharedDuty]) -> None:
    """By duty: whether this site has it, and the number of the newest lease or decision that it knows of."""
    names = ("duty",)
    held = Gauge(
        "popcube_site_duty_held", "1 while this site has the duty.", names, registry=metrics.registry
    )
    epoch = Gauge(
        "popcube_site_duty_epoch",
        "The number of the newest lease of the duty, or decision on it, that this site knows of.",
        names,
        registry=metrics.registry,
    )
    for duty in duties:
        held.labels(duty.duty).set_function(partial(_is_held, duty))
        epoch.labels(duty.duty).set_function(partial(_epoch, duty))


def _is_held(duty: SharedDuty) -> float:
    return float(duty.state is DutyState.HOLDING)


def _epoch(duty: SharedDuty) -> float:
    return float(duty.epoch)


def _backlog(link: SiteLink) -> float:
    return float(link.progress.backlog)


def _lag_s(link: SiteLink) -> float:
    return link.progress.lag_ms / 1000


def _is_connected(link: SiteLink) -> float:
    return float(link.progress.state in (LinkState.IDLE, LinkState.SENDING))


def _silence_s(link: SiteLink, now_ms: Callable[[], int]) -> float:
    last_ms = link.progress.last_contact_ms
    return -1.0 if last_ms is None else (now_ms() - last_ms) / 1000
