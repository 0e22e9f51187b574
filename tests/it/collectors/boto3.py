# Prints the series that the exporter should have, as [name, labels, value].
import calendar, collections, json, sys, time, boto3
endpoint, key, secret, network = sys.argv[1:]
wickr = boto3.client("wickr", endpoint_url=endpoint, region_name="us-east-1",
    aws_access_key_id=key, aws_secret_access_key=secret)
series = []
def add(name, value, **labels):
    if value is not None:
        series.append([name, labels, float(value)])
def every(operation, member):
    for page in wickr.get_paginator(operation).paginate(networkId=network):
        yield from page[member]

users = wickr.get_users_count(networkId=network)
for status in ["pending", "active", "rejected"]:
    add("wickr_network_accounts", users[status], status=status)
add("wickr_network_accounts_remaining", users["remaining"])

bots = list(every("list_bots", "bots"))
counts = collections.Counter({"pending": 0, "active": 0})
for bot in bots:
    counts[{1: "pending", 2: "active"}[bot["status"]]] += 1
    id = bot["botId"]
    add("wickr_bot_info", 1, bot_id=id, bot_name=bot["displayName"], group_id=bot["groupId"])
    add("wickr_bot_suspended", bot["suspended"], bot_id=id)
    add("wickr_bot_last_login_timestamp_seconds", bot["lastLogin"], bot_id=id)
for status, count in counts.items():
    add("wickr_network_bots", count, status=status)

bot = wickr.get_data_retention_bot(networkId=network)
for family, member in [("enabled", "isDataRetentionServiceEnabled"), ("bot_exists", "botExists"),
        ("bot_active", "isBotActive"), ("bot_registered", "isDataRetentionBotRegistered"),
        ("key_acknowledged", "isPubkeyMsgAcked")]:
    add("wickr_data_retention_" + family, bot.get(member))

history = wickr.get_guest_user_history_count(networkId=network)["history"]
add("wickr_network_guest_users", int(max(history, key=lambda period: period["month"])["count"]))
add("wickr_network_guest_users_blocked", len(list(every("list_blocked_guest_users", "blocklist"))))

info = wickr.get_network(networkId=network)
add("wickr_network_standing", info["standing"])
add("wickr_network_sso_migration_state", info["migrationState"])
ends = time.strptime(info["freeTrialExpiration"], "%Y-%m-%d %H:%M:%S")
add("wickr_network_trial_expiration_timestamp_seconds", calendar.timegm(ends))
for setting in wickr.get_network_settings(networkId=network)["settings"]:
    if setting["type"] == "boolean":
        add("wickr_network_setting", setting["value"] == "true", setting=setting["optionName"])

for group in every("list_security_groups", "securityGroups"):
    id, settings = group["id"], group["securityGroupSettings"]
    add("wickr_security_group_members", group["activeMembers"], group_id=id, kind="user")
    add("wickr_security_group_members", group["botMembers"], group_id=id, kind="bot")
    minutes = settings.get("maxNonSsoSessionMinutes")
    add("wickr_security_group_max_session_seconds", minutes and minutes * 60, group_id=id)
    add("wickr_security_group_lockout_threshold", settings.get("lockoutThreshold"), group_id=id)
    add("wickr_security_group_modified_timestamp_seconds", group["modified"], group_id=id)
    flat = dict(settings)
    for name in ["calling", "shredder"]:
        flat.update((name + "." + key, value) for key, value in settings.get(name, {}).items())
    for name, value in flat.items():
        if isinstance(value, bool):
            add("wickr_security_group_setting", value, group_id=id, setting=name)

oidc = wickr.get_oidc_info(networkId=network)["openidConnectInfo"]
add("wickr_network_sso_configured", bool(oidc["issuer"]))
add("wickr_network_sso_token_grace_seconds", oidc["ssoTokenBufferMinutes"] * 60)

users = list(every("list_users", "users"))
add("wickr_network_users_suspended", sum(user["suspended"] for user in users))
add("wickr_network_admins", sum(user["isAdmin"] for user in users))
add("wickr_network_invites_expired", sum(user.get("isInviteExpired", False) for user in users))
for user in users:
    add("wickr_user_suspended", user["suspended"], user_id=user["userId"])
    add("wickr_user_admin", user["isAdmin"], user_id=user["userId"])
print(json.dumps({"series": series, "info": [info["awsAccountId"], info["accessLevel"]]}))
