"""What an operator changes in a proxy core's configuration so that users are counted: hints of errors."""

from typing import Final

XRAY_COUNT_USERS: Final = (
    "set statsUserUplink and statsUserDownlink to true in policy.levels of the core's configuration"
)
XRAY_OFFER_SERVICE: Final = 'add "StatsService" to api.services of the core\'s configuration'
XRAY_KEEP_STATISTICS: Final = 'add "stats": {} to the core\'s configuration'
SINGBOX_COUNT_USERS: Final = "list the users in experimental.v2ray_api.stats.users of the core's configuration"
SINGBOX_OFFER_SERVICE: Final = (
    "set experimental.v2ray_api.stats.enabled to true, in a sing-box built with the tag with_v2ray_api"
)

NOT_COUNTED: Final = "the core carries traffic but counts no user"
NOT_OFFERED: Final = "the core offers no StatsService"
NOT_KEPT: Final = "the core offers StatsService but keeps no statistics"

NO_STATISTICS_BEHIND: Final = "only works its own stats.Manager"
"""What v2ray and xray answer when the service is on and the statistics behind it are not."""
