"""All fifteen operations that Debian's boto3 knows, on a service where a backup is READY and the customer's CA lies
in this folder: as a script of somebody's would call them. Prints what the test looks at."""
import json
import os
import subprocess
import time

import boto3

client = boto3.client("cloudhsmv2", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
BACKUP = client.describe_backups(Filters={"states": ["READY"]})["Backups"][0]["BackupId"]
CA = "customerCA.crt"


def cluster():
    [found] = client.describe_clusters(Filters={"clusterIds": [ID]})["Clusters"]
    return found


def until(holds):
    for _ in range(300):
        found = cluster()
        if holds(found):
            return found
        time.sleep(0.1)
    raise SystemExit(f"waited in vain: {found}")


def hsm_states(found):
    return [hsm["State"] for hsm in found["Hsms"]]


ID = client.create_cluster(HsmType="hsm2m.medium", SubnetIds=["subnet-0a1b2c3d"])["Cluster"]["ClusterId"]
until(lambda found: found["State"] == "UNINITIALIZED")
client.create_hsm(ClusterId=ID, AvailabilityZone="us-east-1a")
request = until(lambda found: hsm_states(found) == ["ACTIVE"])["Certificates"]["ClusterCsr"]
signed = subprocess.run(
    ["openssl", "x509", "-req", "-days", "30", "-CA", CA, "-CAkey", "customerCA.key", "-passin", "pass:example",
     "-CAcreateserial"], input=request.encode(), capture_output=True, check=True).stdout.decode()
client.initialize_cluster(ClusterId=ID, SignedCert=signed, TrustAnchor=open(CA).read())
until(lambda found: found["State"] == "INITIALIZED")
policy = {"Type": "DAYS", "Value": "30"}
changed = client.modify_cluster(ClusterId=ID, BackupRetentionPolicy=policy)["Cluster"]

client.tag_resource(ResourceId=ID, TagList=[{"Key": "team", "Value": "payments"}])
tags = client.list_tags(ResourceId=ID)["TagList"]
client.untag_resource(ResourceId=ID, TagKeyList=["team"])

exempt = client.modify_backup_attributes(BackupId=BACKUP, NeverExpires=True)["Backup"]["NeverExpires"]
copy = client.copy_backup_to_region(DestinationRegion="eu-west-1", BackupId=BACKUP)["DestinationBackup"]
client.modify_backup_attributes(BackupId=BACKUP, NeverExpires=False)
going = client.delete_backup(BackupId=BACKUP)["Backup"]
back = client.restore_backup(BackupId=BACKUP)["Backup"]

refused = []
try:
    client.delete_cluster(ClusterId=ID)
except client.exceptions.CloudHsmInvalidRequestException as error:
    refused.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
client.delete_hsm(ClusterId=ID, HsmId=cluster()["Hsms"][0]["HsmId"])
until(lambda found: found["Hsms"] == [])
client.delete_cluster(ClusterId=ID)
until(lambda found: found["State"] == "DELETED")
days = (going["DeleteTimestamp"].timestamp() - time.time()) / 86400
print(json.dumps({
    "retention": changed["BackupRetentionPolicy"], "tags": tags, "exempt": exempt,
    "copied": copy["SourceBackup"] == BACKUP, "daysLeft": round(days), "state": back["BackupState"],
    "refused": refused}))
