"""What a Python bouncer does: asks for each address, and follows the stream.

Called with the address of the API, the key and an address; prints what is to be done with it, again for each line it is
given.
"""

import json
import sys

from pycrowdsec.client import QueryClient, StreamClient

url, key, address = sys.argv[1:]
query = QueryClient(api_key=key, lapi_url=url)
stream = StreamClient(api_key=key, lapi_url=url)
for turn, _ in enumerate(sys.stdin):
    stream.cycle("true" if turn == 0 else "false")
    told = {
        "asked": query.get_decisions_for(address),
        "followed": stream.get_action_for(address),
        "all": sorted(stream.get_current_decisions()),
    }
    print(json.dumps(told), flush=True)
