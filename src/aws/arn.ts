/** Amazon Resource Names of the things we serve, and which regions have to do with each other. */

type ResourceKind = 'backup' | 'cluster' | 'hsm';

export interface ResourceArn {
  readonly region: string;
  readonly account: string;
  readonly kind: ResourceKind;
  readonly id: string;
}

const FORM = /^arn:(aws|aws-us-gov):cloudhsm:([a-z0-9-]+):(\d{12}):(backup|cluster|hsm)\/(\4-\w+)$/;
const ISLANDS = /^(us-gov|cn|us-isob|us-iso)-/;

/** GovCloud's regions have their own partition; the API's patterns admit no third. */
const partitionOf = (region: string): string =>
  region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';

export function resourceArn(
  scope: { readonly account: string; readonly region: string },
  kind: ResourceKind,
  id: string,
): string {
  return `arn:${partitionOf(scope.region)}:cloudhsm:${scope.region}:${scope.account}:${kind}/${id}`;
}

/** @returns undefined for whatever `resourceArn` does not write. */
export function parseResourceArn(text: string): ResourceArn | undefined {
  const [, partition, region = '', account = '', kind = '', id = ''] = FORM.exec(text) ?? [];
  if (partition === undefined || partition !== partitionOf(region)) return undefined;
  // The pattern lets through these three words only.
  return { region, account, kind: kind as ResourceKind, id };
}

/** Nothing crosses from one island to another; GovCloud's regions are one, the standard ones too. */
export const islandOf = (region: string): string => ISLANDS.exec(region)?.[1] ?? 'standard';
