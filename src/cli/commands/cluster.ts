/** `keyark cluster`: list them, set the first admin password, give an HSM up. */
import type { Command } from 'commander';
import { MINUTE_MS } from '../../kernel/clock.ts';
import type { JsonObject } from '../../kernel/types.ts';
import { confirm } from '../confirm.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { listOf, optionalText, textOf } from '../json.ts';
import { atDoor, withCluster } from '../officer-command.ts';
import { chooseCluster, describeCluster } from '../officers.ts';
import { nameOf } from '../ready-made.ts';
import { readSecret } from '../secret-input.ts';
import { waitFor } from '../wait.ts';

const ACTIVE_MS = 2 * MINUTE_MS;

export function addCluster(program: Command, context: Context): void {
  const cluster = program
    .command('cluster')
    .description('clusters: list, activate, give-up')
    .addHelpText('after', '\nExample:\n  keyark cluster list');

  const list = cluster
    .command('list')
    .description('clusters of this account and region')
    .addHelpText('after', '\nExample:\n  keyark cluster list --json');
  withJson(withData(list)).action(async () => {
    const { client } = await clientOf(context, list);
    const clusters = await client.all('DescribeClusters', 'Clusters');
    if (hasOption(list, 'json')) context.print.json({ Clusters: clusters });
    else
      context.print.table(['cluster', 'name', 'state', 'type', 'mode', 'HSMs', ''], rows(clusters));
  });

  const activate = cluster
    .command('activate')
    .description('set the first admin password of an INITIALIZED cluster, at its HSM')
    .option('--password-file <file>', 'the new password of the user admin (default: asks)')
    .addHelpText(
      'after',
      '\nExample:\n  keyark cluster activate --cluster-id cluster-… --trust-anchor customerCA.crt --password-file admin.pw\n\nThe password goes to the HSM by TLS that ends inside it; the service never sees it.',
    );
  withCluster(activate).action(async () => {
    const file = textOption(activate, 'passwordFile');
    const password = await readSecret(context, { prompt: 'New password of admin: ', file });
    await atDoor(context, activate, (officer) => officer.call('activate', { password }));
    const { client, clusterId: fallback } = await clientOf(context, activate);
    const clusterId = await chooseCluster(client, textOption(activate, 'clusterId'), fallback);
    await waitFor(
      context.clock,
      { until: `${clusterId} is ACTIVE`, atMostMs: ACTIVE_MS },
      async () =>
        (await describeCluster(client, clusterId))['State'] === 'ACTIVE' ? true : undefined,
    );
    context.print.line(`${clusterId} is ACTIVE. Its first admin is called admin.`);
  });

  const giveUp = cluster
    .command('give-up')
    .description('remove a DEGRADED HSM without a backup of what it holds')
    .argument('<hsm-id>')
    .option('--cluster-id <id>', 'whose (default: KEYARK_CLUSTER_ID, or the only one)')
    .addHelpText(
      'after',
      '\nExample:\n  keyark cluster give-up hsm-…\n\nFor what DeleteHsm refuses: an HSM that holds changes of its own, or does not answer.',
    );
  withData(giveUp.option('--yes', 'do not ask')).action(async (hsmId: string) => {
    const { client, clusterId: fallback } = await clientOf(context, giveUp);
    const clusterId = await chooseCluster(client, textOption(giveUp, 'clusterId'), fallback);
    await confirm(context, {
      plan: [
        `${hsmId} of ${clusterId} is zeroised and removed. Users, keys and changes that only it holds are lost for good; the cluster's other HSMs and its backups stay.`,
      ],
      name: hsmId,
      isYes: hasOption(giveUp, 'yes'),
    });
    await client.own('GiveUpHsm', { ClusterId: clusterId, HsmId: hsmId });
    context.print.line(`${hsmId} is being removed.`);
  });
}

function rows(clusters: readonly JsonObject[]): readonly (readonly string[])[] {
  return clusters.map((cluster) => [
    textOf(cluster, 'ClusterId'),
    nameOf(cluster) ?? '',
    textOf(cluster, 'State'),
    textOf(cluster, 'HsmType'),
    textOf(cluster, 'Mode'),
    String(listOf(cluster, 'Hsms').length),
    optionalText(cluster, 'StateMessage') ?? '',
  ]);
}
