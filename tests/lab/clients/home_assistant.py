"""What Home Assistant's Pi-hole integration does, by the client that it uses.

Called with the address, the port, the password and what to do; prints what the integration shows, as JSON.
"""

import asyncio
import json
import sys

import aiohttp
from hole import Hole
from hole.exceptions import HoleError


async def main(host, port, password, what):
    async with aiohttp.ClientSession() as session:
        hole = Hole(host, session, version=6, port=int(port), password=password, location="admin")
        try:
            await hole.get_data()
            if what == "disable":
                await hole.disable(60)
            elif what == "disable-without-end":
                await hole.disable()
            elif what == "enable":
                await hole.enable()
            elif what != "look":
                raise SystemExit(f"{what} is nothing to do")
        except HoleError as error:
            return {"error": str(error)}
        shown = {
            "status": hole.status,
            "timer": hole.blocking_status["timer"],
            "ads_blocked_today": hole.ads_blocked_today,
            "ads_percentage_today": hole.ads_percentage_today,
            "clients_ever_seen": hole.clients_ever_seen,
            "dns_queries_today": hole.dns_queries_today,
            "domains_being_blocked": hole.domains_being_blocked,
            "queries_cached": hole.queries_cached,
            "queries_forwarded": hole.queries_forwarded,
            "unique_clients": hole.unique_clients,
            "unique_domains": hole.unique_domains,
            "core_current": hole.core_current,
            "core_latest": hole.core_latest,
            "core_update": hole.core_update,
            "top_queries": hole.top_queries,
            "top_ads": hole.top_ads,
            "upstreams": hole.forward_destinations,
        }
        await hole.logout()
        return shown


print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
