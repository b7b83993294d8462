/** Words that the command does not understand are mistakes: told, with exit code 2, and nothing is done. */
import { readdirSync } from 'node:fs'
import pc from 'picocolors'
import { describe, expect, test } from 'vitest'
import { find, runWords } from '../../src/cli/command-line.ts'
import { commands } from '../../src/cli/commands.ts'
import { usage } from '../../src/cli/usage.ts'
import { Shell } from './command.ts'

const shell = new Shell()
const split = (words: string): string[] => words.split(' ').filter((word) => word !== '')

/** What is refused before any command begins: the message, and the hint. */
const MISTAKES: readonly (readonly [string, RegExp])[] = [
  ['sqll', /no command 'tussock sqll' did you mean "sql"/],
  ['inspect level', /no command 'tussock inspect level' did you mean "levels"/],
  ['inspect nonsense', /Commands are levels, commits, sst/],
  ['--verbose', /no option --verbose/],
  ['bench --json', /no option --json/],
  ['sql --stor ./x -c SELECT', /no option --stor did you mean "--store"\? See tussock sql --help/],
  ['sql -x', /no option -x/],
  ['sql --no-write', /no option --no-write/],
  ['sql SELECT', /'SELECT' is one too many .*-c/],
  ['sql --store --json', /--store takes a value/],
  ['sql -c', /--command takes a value/],
  ['sql --json=yes -c SELECT', /--json takes no value/],
  ['sql -c SELECT -c SELECT', /--command is given twice/],
  ['run', /<pipeline> is missing/],
  ['run --store ./x', /<pipeline> is missing/],
  ['inspect sst 1-1 1-2', /'1-2' is one too many/],
]

test.each(MISTAKES)('tussock %s', async (words, said) => {
  const error = await runWords(commands, split(words), '0').catch((thrown) => thrown)
  expect(error).toMatchObject({ code: 'OPTION_INVALID' })
  expect(`${error.message} ${error.context.hint}`).toMatch(said)
})

/** What commands refuse themselves, and what the shell sees of all this. */
const TOLD: readonly (readonly [string, RegExp])[] = [
  ['', /Usage[\s\S]*Commands/],
  ['sql --stor ./x -c SELECT', /error: there is no option --stor \[OPTION_INVALID\]\nhint: /],
  ['sql -c SELECT -f file', /--command or --file, not both/],
  ['sql --format xml -c SELECT', /--format takes table, json or csv, not 'xml'/],
  ['run nowhere.sql', /nowhere.sql cannot be read: ENOENT/],
  ['run nowhere.sql --parallelism many', /--parallelism takes a whole number, not 'many'/],
  ['bench nexmark --repeat 0', /--repeat takes a whole number from 1, not '0'/],
  ['inspect commits --limit -1', /--limit takes a whole number from 1, not '-1'/],
]

describe('mistakes', () => {
  test.concurrent.each(TOLD)('tussock %s', async (words, said) => {
    const { code, out, err } = await shell.run(split(words))
    expect(err).toMatch(said)
    expect(err).not.toMatch(/\n\s+at /) // No stack trace.
    expect({ code, out }).toEqual({ code: 2, out: '' })
  })

  test('none of them made a store', () => {
    expect(readdirSync(shell.folder)).toEqual([])
  })
})

const NAMES = [
  '',
  'demo',
  'run',
  'sql',
  'bench',
  'bench nexmark',
  'bench micro',
  'inspect',
  'inspect levels',
  'inspect commits',
  'inspect sst',
  'verify',
]

describe('help', () => {
  test.each(NAMES)('of tussock %s fits 80 columns', async (words) => {
    const { name, command, rest } = await find(commands, split(words))
    expect({ name, rest }).toEqual({ name: ['tussock', ...split(words)].join(' '), rest: [] })
    const text = await usage(name, command, pc.createColors(false))
    expect(text).toContain(`Usage\n  ${name} `)
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
    if (command.subCommands === undefined) expect(text).toContain(`Example\n  ${name}`)
  })

  test('goes to stdout; tussock help sql is tussock sql --help', async () => {
    const [one, other] = await Promise.all([
      shell.run(['help', 'sql']),
      shell.run(['sql', '--help']),
    ])
    expect(one).toEqual({ code: 0, out: expect.stringContaining('--format'), err: '' })
    expect(other).toEqual(one)
  })

  test('the version', async () => {
    const version = { code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), err: '' }
    expect(await shell.run(['--version'])).toEqual(version)
  })
})
