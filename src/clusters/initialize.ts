/** InitializeCluster: the customer's CA signed the CSR that was made inside the HSM. */
import type { Scope } from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';
import { checkCustomerChain } from './certificates.ts';
import type { ClusterState, Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import type { InitializeRequest } from './requests.ts';
import { messageOf, moveCluster, ownCluster } from './rows.ts';
import { moved } from './states.ts';

export async function initializeCluster(
  deps: ClusterDeps,
  scope: Scope,
  request: InitializeRequest,
): Promise<{ state: ClusterState; stateMessage: string }> {
  const { clusterId, signedCert, trustAnchor } = request;
  const hsm = deps.catalog.transact((writer): Hsm => {
    const cluster = ownCluster(writer, scope, clusterId);
    if (cluster.state !== 'UNINITIALIZED') {
      throw new Refused(
        'WrongState',
        `${clusterId} is ${cluster.state}; only an UNINITIALIZED cluster can be initialized.`,
      );
    }
    const live = writer.hsmsOf(clusterId).find(({ state }) => state === 'ACTIVE');
    const csrKeyHolder = cluster.certificates.hsmCertificate;
    if (live === undefined || csrKeyHolder === undefined) {
      throw new Refused(
        'WrongState',
        `${clusterId} has no HSM yet, so there is no CSR to sign; create one first.`,
      );
    }
    checkCustomerChain({ csrKeyHolder, signedCert, trustAnchor });
    writer.putCluster(moved(cluster, 'INITIALIZE_IN_PROGRESS'));
    return live;
  });
  deps.background.run(`initialize ${clusterId}`, () => finishInitialize(deps, request, hsm));
  return {
    state: 'INITIALIZE_IN_PROGRESS',
    stateMessage: 'Cluster is initializing. State will change to INITIALIZED upon completion.',
  };
}

async function finishInitialize(
  deps: ClusterDeps,
  { clusterId, signedCert, trustAnchor }: InitializeRequest,
  hsm: Hsm,
): Promise<void> {
  try {
    await deps.fleet.hsm(hsm.id).install({ clusterCertificate: signedCert, trustAnchor });
    moveCluster(deps, clusterId, 'INITIALIZED', (cluster) => ({
      ...cluster,
      certificates: { ...cluster.certificates, clusterCertificate: signedCert, trustAnchor },
    }));
  } catch (cause) {
    moveCluster(deps, clusterId, 'UNINITIALIZED', (cluster) => ({
      ...cluster,
      stateMessage: `Initialization failed: ${messageOf(cause)}`.slice(0, 300),
    }));
  }
}
