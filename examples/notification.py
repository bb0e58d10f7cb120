"""Tell the subscribers of an SNS topic when a snapshot has completed; here a web server on this machine listens.

Where EC2 is AWS's, nobody reaches a web server on loopback: subscribe an e-mail address or a queue instead.
"""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import boto3

from pycloudlib import EC2, progress

received: "queue.Queue[str]" = queue.Queue()


class Listener(BaseHTTPRequestHandler):
    """Keeps the notifications that are posted to it; what else SNS posts is about the subscription."""

    def do_POST(self) -> None:
        """Take one."""
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if document["Type"] == "Notification":
            received.put(f"{document['Subject']}: {' | '.join(document['Message'].splitlines())}")
        self.send_response(200)
        self.end_headers()


progress.show()

with EC2("notification") as ec2, HTTPServer(("127.0.0.1", 0), Listener) as listener:
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    sns = boto3.client("sns", region_name=ec2.region, endpoint_url=ec2.client.meta.endpoint_url, **keys)
    topic = sns.create_topic(Name=ec2.tag)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"http://127.0.0.1:{listener.server_port}/")

    ec2.notify(topic, "hello", "This is a notification of one's own.")
    print(received.get(timeout=60))
    ec2.create_volume(1).snapshot("nightly", notify=topic)
    print(received.get(timeout=60))
    sns.delete_topic(TopicArn=topic)
    listener.shutdown()
