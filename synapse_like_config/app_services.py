"""Application services: bridges and bots."""

from pathlib import Path

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class AppServicesSection:
    """Each file is a registration as the application service API describes it."""

    app_service_config_files: tuple[Path, ...] = options.paths()
    track_appservice_user_ips: bool = options.boolean(False)
