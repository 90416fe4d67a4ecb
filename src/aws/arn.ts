/** Amazon Resource Names of the things we serve. */

/** GovCloud's regions have their own partition; the API's patterns admit no third. */
const partitionOf = (region: string): string =>
  region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';

export function resourceArn(
  scope: { readonly account: string; readonly region: string },
  kind: 'backup' | 'cluster' | 'hsm',
  id: string,
): string {
  return `arn:${partitionOf(scope.region)}:cloudhsm:${scope.region}:${scope.account}:${kind}/${id}`;
}
