/** `keyark user`: the HSM's users, at the officers' door. */
import { type Command, Option } from 'commander';
import { type Context, hasOption, textOption, withJson } from '../context.ts';
import { listOf, textOf } from '../json.ts';
import { ADMIN, asOfficer, atDoor, withCluster, withLogin } from '../officer-command.ts';
import { readSecret } from '../secret-input.ts';

export function addUser(program: Command, context: Context): void {
  const user = program
    .command('user')
    .description('users inside the HSM: list, create, delete')
    .addHelpText('after', '\nExample:\n  keyark user create app --role crypto-user');

  const list = user
    .command('list')
    .description('who there is; needs no login')
    .addHelpText('after', '\nExample:\n  keyark user list');
  withJson(withCluster(list)).action(async () => {
    const users = listOf(await atDoor(context, list, (at) => at.call('user-list', {})), 'users');
    if (hasOption(list, 'json')) {
      context.print.json({ users });
      return;
    }
    const rows = users.map((each) => [
      textOf(each, 'username'),
      textOf(each, 'role'),
      each['locked'] === true ? 'LOCKED' : '',
    ]);
    context.print.table(['user', 'role', ''], rows);
  });

  const create = user
    .command('create')
    .description('make a user (as admin)')
    .argument('<name>')
    .addOption(roleOption())
    .option('--new-password-file <file>', "the new user's password (default: asks)")
    .addHelpText('after', '\nExample:\n  keyark user create signer --new-password-file signer.pw');
  withLogin(create, ADMIN.username).action(async (username: string) => {
    const file = textOption(create, 'newPasswordFile');
    const password = await readSecret(context, { prompt: `New password of ${username}: `, file });
    const role = textOption(create, 'role');
    await asOfficer(context, create, ADMIN, (officer) =>
      officer.call('user-create', { username, role, password }),
    );
    context.print.line(`${username} is a ${role} now. PIN for programs: ${username}:<password>`);
  });

  const remove = user
    .command('delete')
    .description('remove a user that owns no keys any more (as admin)')
    .argument('<name>')
    .addOption(roleOption())
    .addHelpText('after', '\nExample:\n  keyark user delete signer');
  withLogin(remove, ADMIN.username).action(async (username: string) => {
    const role = textOption(remove, 'role');
    await asOfficer(context, remove, ADMIN, (officer) =>
      officer.call('user-delete', { username, role }),
    );
    context.print.line(`${username} is gone.`);
  });

  const password = user
    .command('change-password')
    .description("set a user's password, which also unlocks it (as admin)")
    .argument('<name>')
    .addOption(roleOption())
    .option('--new-password-file <file>', 'the new password (default: asks)')
    .addHelpText('after', '\nExample:\n  keyark user change-password app');
  withLogin(password, ADMIN.username).action(async (username: string) => {
    const file = textOption(password, 'newPasswordFile');
    const secret = await readSecret(context, { prompt: `New password of ${username}: `, file });
    const role = textOption(password, 'role');
    await asOfficer(context, password, ADMIN, (officer) =>
      officer.call('user-change-password', { username, role, password: secret }),
    );
    context.print.line(`${username} has a new password.`);
  });
}

function roleOption(): Option {
  return new Option('--role <role>', 'crypto-user or admin')
    .choices(['crypto-user', 'admin'])
    .default('crypto-user');
}
