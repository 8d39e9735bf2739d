"""Builds what this server asks others on behalf of its users."""

from dataclasses import dataclass

from popcube_server.building.core import Core
from popcube_server.services.edus.ask_profiles import AskProfiles, weigh_profile
from popcube_server.services.edus.ask_servers import AskServers
from popcube_server.services.remote_queries.question_limits import QuestionLimits
from popcube_server.services.remote_queries.remembered_answers import Memory, RememberedAnswers
from popcube_server.services.remote_queries.remote_aliases import RemoteAliases, weigh_alias
from popcube_server.services.remote_queries.remote_directories import RemoteDirectories, weigh_page
from popcube_server.services.remote_queries.remote_spaces import RemoteSpaces, weigh_space

MINUTE_MS = 60_000
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RemoteQueries:
    aliases: RemoteAliases
    directories: RemoteDirectories
    spaces: RemoteSpaces
    profiles: AskProfiles


def build_remote_queries(core: Core, ask: AskServers) -> RemoteQueries:
    now_ms = core.platform.now_ms
    limits = QuestionLimits(core.platform.now_s)
    return RemoteQueries(
        RemoteAliases(ask, RememberedAnswers(Memory(MINUTE_MS, 4 * MIB), weigh_alias, limits, now_ms)),
        RemoteDirectories(ask, RememberedAnswers(Memory(MINUTE_MS, 16 * MIB), weigh_page, limits, now_ms)),
        RemoteSpaces(
            ask,
            RememberedAnswers(Memory(5 * MINUTE_MS, 16 * MIB), weigh_space, limits, now_ms),
            core.server_name,
        ),
        AskProfiles(ask, RememberedAnswers(Memory(MINUTE_MS, 8 * MIB), weigh_profile, limits, now_ms)),
    )
