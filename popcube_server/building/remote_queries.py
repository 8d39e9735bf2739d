"""Builds what this server asks others on behalf of its users."""

from collections.abc import Callable, Hashable
from typing import TypeVar

from popcube_server.building.core import Core
from popcube_server.services.edus.ask_profiles import AskProfiles, weigh_profile
from popcube_server.services.edus.ask_servers import AskServers
from popcube_server.services.remote_queries.question_limits import QuestionLimits
from popcube_server.services.remote_queries.remembered_answers import Memory, RememberedAnswers
from popcube_server.services.remote_queries.remote_aliases import RemoteAliases, weigh_alias
from popcube_server.services.remote_queries.remote_directories import RemoteDirectories, weigh_page
from popcube_server.services.remote_queries.remote_spaces import RemoteSpaces, weigh_space
from synapse_like_config.lazy_dataclasses import dataclass

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MINUTE_MS = 60_000
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RemoteQueries:
    aliases: RemoteAliases
    directories: RemoteDirectories
    spaces: RemoteSpaces
    profiles: AskProfiles


def build_remote_queries(core: Core, ask: AskServers) -> RemoteQueries:
    limits = QuestionLimits(core.platform.now_s)

    def answers(name: str, memory: Memory, weigh: Callable[[V], int]) -> RememberedAnswers[K, V]:
        cache: RememberedAnswers[K, V] = RememberedAnswers(memory, weigh, limits, core.platform.now_ms)
        core.metrics.cache(name, lambda: len(cache), lambda: cache.hits, lambda: cache.misses)
        return cache

    return RemoteQueries(
        RemoteAliases(ask, answers("remote_aliases", Memory(MINUTE_MS, 4 * MIB), weigh_alias)),
        RemoteDirectories(ask, answers("remote_directories", Memory(MINUTE_MS, 16 * MIB), weigh_page)),
        RemoteSpaces(
            ask, answers("remote_spaces", Memory(5 * MINUTE_MS, 16 * MIB), weigh_space), core.server_name
        ),
        AskProfiles(ask, answers("remote_profiles", Memory(MINUTE_MS, 8 * MIB), weigh_profile)),
    )
