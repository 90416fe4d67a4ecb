/**
 * What would be survived today, and why. Pure: facts about where things really lie in, four honest rows
 * out. Never computed from settings.
 */
export interface SurvivalFacts {
  /** Clusters with live HSMs, and how many of them have changes or state in no proven backup. */
  readonly liveClusters: number;
  readonly unprovenClusters: number;
  /** Clusters that can be restored right now. */
  readonly restorableClusters: number;
  /** The vault lies on another device than the HSMs. */
  readonly isVaultOnOtherDevice: boolean;
  readonly areRootsSealed: boolean;
  /** Sealed, and nobody has unlocked them since the start. */
  readonly areRootsLocked: boolean;
}

export interface SurvivalRow {
  readonly loss:
    | 'the HSM crashing'
    | 'this disk dying'
    | 'this machine being lost'
    | 'this site being lost';
  readonly isSurvived: boolean;
  readonly why: string;
}

export function survival(facts: SurvivalFacts): readonly SurvivalRow[] {
  return [
    hsmLoss(facts),
    {
      loss: 'this disk dying',
      isSurvived: false,
      why: facts.isVaultOnOtherDevice
        ? 'the backups are on another disk, but the roots and the KMS key that open them are only here'
        : 'the backups, the roots and the KMS key that open them are all on it',
    },
    {
      loss: 'this machine being lost',
      isSurvived: false,
      why: 'the roots and the KMS key exist on this machine only',
    },
    {
      loss: 'this site being lost',
      isSurvived: false,
      why: 'there is no copy of anything elsewhere',
    },
  ];
}

function hsmLoss(facts: SurvivalFacts): SurvivalRow {
  const loss = 'the HSM crashing';
  const { liveClusters, restorableClusters, unprovenClusters } = facts;
  if (liveClusters === 0) return { loss, isSurvived: true, why: 'no HSM is running' };
  if (facts.areRootsLocked) {
    return {
      loss,
      isSurvived: false,
      why: 'the roots are locked, so no HSM runs and none can be restored: keyark unlock',
    };
  }
  if (restorableClusters < liveClusters) {
    return {
      loss,
      isSurvived: false,
      why: `${liveClusters - restorableClusters} of ${liveClusters} clusters have no proven backup yet`,
    };
  }
  if (unprovenClusters > 0) {
    return {
      loss,
      isSurvived: false,
      why: `${unprovenClusters} of ${liveClusters} clusters have changes that no proven backup has yet`,
    };
  }
  return {
    loss,
    isSurvived: true,
    why: 'a second HSM has restored the newest backup and proved it',
  };
}
