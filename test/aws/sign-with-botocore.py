"""Signs requests with botocore, independently of our own code. JSON lines in, JSON lines out."""
import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

for line in sys.stdin:
    ask = json.loads(line)
    request = AWSRequest(
        method="POST", url=ask["url"], headers=ask["headers"], data=ask["body"].encode()
    )
    SigV4Auth(Credentials(ask["id"], ask["secret"]), ask["service"], ask["region"]).add_auth(request)
    print(json.dumps(dict(request.headers.items())))
