#!/bin/bash
# What AWS's pages on backups, retention, copies, tags and deletion do by the command line, on the cluster that
# getting-started.sh left. At the end the cluster is gone, and its backups are not.
. "$(dirname "$0")/common.sh"
cluster=$(<cluster-id)

# Backups come by themselves: list them, filter them.
backup_states() {
  aws cloudhsmv2 describe-backups --filters "clusterIds=$cluster" --query 'Backups[].BackupState' --output text
}
wait_for READY backup_states
backup=$(aws cloudhsmv2 describe-backups --filters "clusterIds=$cluster,states=READY" \
  --query 'Backups[0].BackupId' --output text)
field() {
  aws cloudhsmv2 describe-backups --filters "backupIds=$backup" --query "Backups[].$1" --output text
}
same 'the cluster of the backup' "$(field ClusterId)" "$cluster"
same 'oldest first' "$(aws cloudhsmv2 describe-backups --sort-ascending --query 'Backups[0].BackupId' \
  --output text)" "$backup"
refused CloudHsmInvalidRequestException aws cloudhsmv2 describe-backups --filters state=READY

# Configure retention; exempt one backup, and end that.
same 'retention' "$(aws cloudhsmv2 modify-cluster --cluster-id "$cluster" \
  --backup-retention-policy Type=DAYS,Value=100 \
  --query Cluster.BackupRetentionPolicy.Value --output text)" 100
refused CloudHsmInvalidRequestException aws cloudhsmv2 modify-cluster --cluster-id "$cluster" \
  --backup-retention-policy Type=DAYS,Value=6
exempt() {
  aws cloudhsmv2 describe-backups --filters neverExpires=true --query 'Backups[].BackupId' --output text
}
same 'exempt backups' "$(exempt)" ''
same 'never-expires' "$(aws cloudhsmv2 modify-backup-attributes --backup-id "$backup" --never-expires \
  --query Backup.NeverExpires --output text)" True
same 'exempt backups' "$(exempt)" "$backup"
same 'no-never-expires' "$(aws cloudhsmv2 modify-backup-attributes --backup-id "$backup" --no-never-expires \
  --query Backup.NeverExpires --output text)" False

# Tag cluster and backup, list the tags, take them off.
for resource in "$cluster" "$backup"; do
  same 'tag-resource' "$(aws cloudhsmv2 tag-resource --resource-id "$resource" \
    --tag-list Key="Cost Center",Value=12345 Key=stage,Value=test)" ''
  same 'list-tags' "$(aws cloudhsmv2 list-tags --resource-id "$resource" \
    --query 'TagList[].Key' --output text)" $'Cost Center\tstage'
  aws cloudhsmv2 untag-resource --resource-id "$resource" --tag-key-list 'Cost Center' stage
  same 'list-tags afterwards' "$(aws cloudhsmv2 list-tags --resource-id "$resource" \
    --query 'TagList[].Key' --output text)" ''
done

# Delete a backup, find it among those that wait for their end, bring it back.
refused CloudHsmInvalidRequestException aws cloudhsmv2 restore-backup --backup-id "$backup"
same 'delete-backup' "$(aws cloudhsmv2 delete-backup --backup-id "$backup" \
  --query Backup.BackupState --output text)" PENDING_DELETION
same 'those that wait' "$(aws cloudhsmv2 describe-backups --filters states=PENDING_DELETION \
  --query 'Backups[].BackupId' --output text)" "$backup"
same 'restore-backup' "$(aws cloudhsmv2 restore-backup --backup-id "$backup" \
  --query Backup.BackupState --output text)" READY
refused CloudHsmResourceNotFoundException aws cloudhsmv2 delete-backup --backup-id backup-aaaaaaaaaaa

# Copy it to another region, where its source finds it.
same 'copy-backup-to-region' "$(aws cloudhsmv2 copy-backup-to-region --destination-region eu-west-1 \
  --backup-id "$backup" --query DestinationBackup.SourceBackup --output text)" "$backup"
copied() {
  aws cloudhsmv2 describe-backups --region eu-west-1 --filters "sourceBackupIds=$backup" \
    --query "Backups[].$1" --output text
}
wait_for READY copied BackupState
same 'where it comes from' "$(copied SourceRegion) $(copied SourceCluster)" "us-east-1 $cluster"

# Make clusters from the backup, here, and there from the copy. They are active at once and take an HSM.
clone=$(aws cloudhsmv2 create-cluster --hsm-type hsm2m.medium --subnet-ids subnet-0a1b2c3d \
  --source-backup-id "$backup" --query Cluster.ClusterId --output text)
wait_for ACTIVE state_of "$clone"
same 'its source' "$(aws cloudhsmv2 describe-clusters --filters "clusterIds=$clone" \
  --query 'Clusters[].SourceBackupId' --output text)" "$backup"
aws cloudhsmv2 create-hsm --cluster-id "$clone" --availability-zone us-east-1a >hsm.json
wait_for ACTIVE hsms_of "$clone"
there=$(aws cloudhsmv2 create-cluster --region eu-west-1 --hsm-type hsm2m.medium --subnet-ids subnet-0a1b2c3d \
  --source-backup-id "$(copied BackupId)" --query Cluster.ClusterId --output text)
same 'the cluster in the other region' "$(aws cloudhsmv2 delete-cluster --region eu-west-1 --cluster-id "$there" \
  --query Cluster.ClusterId --output text)" "$there"

# Delete the HSMs, then the clusters; not the other way round.
refused CloudHsmInvalidRequestException aws cloudhsmv2 delete-cluster --cluster-id "$cluster"
for each in "$clone" "$cluster"; do
  address=$(aws cloudhsmv2 describe-clusters --filters "clusterIds=$each" \
    --query 'Clusters[].Hsms[].EniIp' --output text)
  [[ $(aws cloudhsmv2 delete-hsm --cluster-id "$each" --eni-ip "$address" --query HsmId --output text) == hsm-* ]] ||
    fail 'delete-hsm told no id'
done
for each in "$clone" "$cluster"; do
  wait_for '' hsms_of "$each"
  aws cloudhsmv2 delete-cluster --cluster-id "$each" >deleted.json
  wait_for DELETED state_of "$each"
done
same 'the backup outlives its cluster' "$(field BackupState)" READY
