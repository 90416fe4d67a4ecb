/** What an exit code of `keyark` means: the same for every command, printed by `keyark help exit-codes`. */

export const EXIT = {
  OK: 0,
  /** Something went wrong that is neither the caller's words nor one of the cases below. */
  FAILED: 1,
  /** The command line itself: an unknown command or option, a missing argument. */
  USAGE: 2,
  /** The service understood and said no: not found, wrong state, not allowed. */
  REFUSED: 3,
  /** No service answers at the endpoint. */
  NOT_RUNNING: 4,
  /** The configuration file, a variable or a flag has a bad value. */
  CONFIG: 5,
  /** Another Keyark uses the data folder, or the port is taken. */
  IN_USE: 6,
  /** The roots are sealed by a passphrase: `keyark unlock`. */
  ROOTS_LOCKED: 7,
  /** It did not come about in the time allowed. */
  TIMED_OUT: 8,
  /** A program that this command needs is not installed, or too old. */
  TOOL_MISSING: 69,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  OK: 'done',
  FAILED: 'something failed; the message says what',
  USAGE: 'unknown command or option, missing argument',
  REFUSED: 'the service refused: not found, wrong state, not allowed',
  NOT_RUNNING: 'no Keyark answers at the endpoint',
  CONFIG: 'a bad value in the file, a variable or a flag',
  IN_USE: 'data folder or port used by another process',
  ROOTS_LOCKED: 'the roots are locked: keyark unlock',
  TIMED_OUT: 'not done within the time allowed',
  TOOL_MISSING: 'a program this command needs is missing or too old',
};

/** A message for people and the exit code that goes with it; ends the command. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
