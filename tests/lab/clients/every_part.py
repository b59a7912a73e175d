"""Every part of the API by pihole6api. Called with the address of the API, the password and a name to deny and allow.

Prints the answers by step as JSON. Between the steps it waits for a line, so that the caller can look at what they did.
"""

import json
import sys
import time

from pihole6api import PiHole6Client

url, password, name = sys.argv[1:]
client = PiHole6Client(url, password)


def told(step, answer):
    print(json.dumps({"step": step, "answer": answer}), flush=True)
    sys.stdin.readline()


now = int(time.time())
domains = client.domain_management
told("deny", domains.add_domain(name, "deny", "exact", comment="from a phone"))
told("denied", domains.get_domain(name, "deny", "exact"))
told("move", domains.update_domain(name, "deny", "exact", new_type="deny", comment="again"))
told("undo", domains.delete_domain(name, "deny", "exact"))
told("regex", domains.add_domain("^ads", "deny", "regex"))
told("all", domains.get_all_domains())
told("groups", client.group_management.get_groups())
told("group", client.group_management.add_group("new"))
told("clients", client.client_management.get_clients())
told("suggestions", client.client_management.get_client_suggestions())
told("lists", client.list_management.get_lists())
told("list", client.list_management.add_list("https://lists.example/a.txt", "block"))
told("summary", client.metrics.get_stats_summary())
told("top_domains", client.metrics.get_stats_top_domains(blocked=False, count=5))
told("top_blocked", client.metrics.get_stats_top_domains(blocked=True, count=5))
told("top_clients", client.metrics.get_stats_top_clients())
told("upstreams", client.metrics.get_stats_upstreams())
told("types", client.metrics.get_stats_query_types())
told("recent", client.metrics.get_stats_recent_blocked())
told("history", client.metrics.get_history())
told("history_clients", client.metrics.get_history_clients(clients=5))
told("history_database", client.metrics.get_history_database(now - 3600, now + 60))
told("summary_database", client.metrics.get_stats_database_summary(now - 3600, now + 60))
told("queries", client.metrics.get_queries(length=5))
told("queries_of_name", client.metrics.get_queries(domain=name))
told("query_suggestions", client.metrics.get_query_suggestions())
told("version", client.ftl_info.get_version())
told("ftl", client.ftl_info.get_ftl_info())
told("system", client.ftl_info.get_system_info())
told("host", client.ftl_info.get_host_info())
told("messages", client.ftl_info.get_diagnosis_messages())
told("login", client.ftl_info.get_login_info())
told("gravity", client.actions.run_gravity())
told("pause", client.dns_control.set_blocking_status(False, 60))
told("blocking", client.dns_control.get_blocking_status())
told("resume", client.dns_control.set_blocking_status(True))
told("exit", client.close_session())
