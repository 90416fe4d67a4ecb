#!/bin/bash
# From nothing to an active cluster, in the steps of AWS's "Getting started" pages: create a cluster and its first
# HSM, check that it is genuine, sign its request, initialise, activate. Leaves the cluster's id in `cluster-id`.
. "$(dirname "$0")/common.sh"

# Create a cluster. The page's `--mode FIPS` came after Debian's command line, which then says so (exit code 252);
# without it a cluster is in FIPS mode too.
create=(aws cloudhsmv2 create-cluster --hsm-type hsm2m.medium --subnet-ids subnet-0a1b2c3d subnet-0a1b2c3e)
cluster=$("${create[@]}" --mode FIPS --query Cluster.ClusterId --output text 2>unknown-option) ||
  cluster=$("${create[@]}" --query Cluster.ClusterId --output text)
[[ $cluster =~ ^cluster-[2-7a-z]{11,16}$ ]] || fail "no cluster id: '$cluster'"
wait_for UNINITIALIZED state_of "$cluster"

# There is nothing to sign before there is an HSM.
certificate() {
  aws cloudhsmv2 describe-clusters --filters "clusterIds=$cluster" \
    --output text --query "Clusters[].Certificates.$1"
}
same 'the request before the first HSM' "$(certificate ClusterCsr)" ''

# Create an HSM.
same 'a new HSM' "$(aws cloudhsmv2 create-hsm --cluster-id "$cluster" --availability-zone us-east-1a \
  --query Hsm.State --output text)" CREATE_IN_PROGRESS
wait_for ACTIVE hsms_of "$cluster"

# Verify the HSM's identity. AWS publishes its root on a page, ours come from the operator.
certificate ClusterCsr >"${cluster}_ClusterCsr.csr"
certificate HsmCertificate >"${cluster}_HsmCertificate.crt"
certificate AwsHardwareCertificate >"${cluster}_AwsHardwareCertificate.crt"
certificate ManufacturerHardwareCertificate >"${cluster}_ManufacturerHardwareCertificate.crt"
"$KEYARK" status --json | python3 -c '
import json, sys
roots = json.load(sys.stdin)["Roots"]
open("AWS_CloudHSM_Root.crt", "w").write(roots["OwnerRoot"])
open("manufacturer_root.crt", "w").write(roots["MakerRoot"])'
for side in AwsHardwareCertificate:AWS_CloudHSM_Root ManufacturerHardwareCertificate:manufacturer_root; do
  hardware=${cluster}_${side%:*}.crt root=${side#*:}.crt
  same "$hardware" "$(openssl verify -CAfile "$root" "$hardware")" "$hardware: OK"
  cat "$hardware" "$root" >chain.crt
  same 'the HSM certificate' "$(openssl verify -CAfile chain.crt "${cluster}_HsmCertificate.crt")" \
    "${cluster}_HsmCertificate.crt: OK"
done
openssl x509 -in "${cluster}_HsmCertificate.crt" -pubkey -noout >"${cluster}_HsmCertificate.pub"
openssl req -in "${cluster}_ClusterCsr.csr" -pubkey -noout >"${cluster}_ClusterCsr.pub"
diff "${cluster}_HsmCertificate.pub" "${cluster}_ClusterCsr.pub"

# Initialize the cluster: a self-signed CA of one's own signs the request.
openssl genrsa -aes256 -passout pass:example -out customerCA.key 2048 2>openssl.log
openssl req -new -x509 -days 3652 -key customerCA.key -passin pass:example \
  -subj '/C=DE/O=Example/CN=Customer CA' -out customerCA.crt
openssl x509 -req -days 3652 -in "${cluster}_ClusterCsr.csr" -CA customerCA.crt -CAkey customerCA.key \
  -passin pass:example -CAcreateserial -out "${cluster}_CustomerHsmCertificate.crt" 2>>openssl.log
refused CloudHsmInvalidRequestException aws cloudhsmv2 initialize-cluster --cluster-id "$cluster" \
  --signed-cert file://customerCA.crt --trust-anchor file://customerCA.crt
same 'initialize-cluster' "$(aws cloudhsmv2 initialize-cluster --cluster-id "$cluster" \
  --signed-cert "file://${cluster}_CustomerHsmCertificate.crt" --trust-anchor file://customerCA.crt \
  --query State --output text)" INITIALIZE_IN_PROGRESS
wait_for INITIALIZED state_of "$cluster"

# Activate the cluster. AWS's page does it in cloudhsm-cli, which speaks to AWS's HSMs only; this is its counterpart.
echo 'correct-horse-7' >admin.pw
"$KEYARK" cluster activate --cluster-id "$cluster" --trust-anchor customerCA.crt --password-file admin.pw
wait_for ACTIVE state_of "$cluster"
same 'the request of an active cluster' "$(certificate ClusterCsr)" ''
same 'the cluster certificate' "$(certificate ClusterCertificate)" "$(cat "${cluster}_CustomerHsmCertificate.crt")"
echo "$cluster" >cluster-id
