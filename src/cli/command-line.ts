/**
 * From the words of the command line to a subcommand. citty holds the definitions and reads the values; what it lets
 * pass in silence (options that there are not, words too many, values left out) is refused here.
 */
import { parseArgs } from 'node:util'
import { type ArgsDef, type CommandDef, type Resolvable, runCommand } from 'citty'
import { didYouMean } from '../common/did-you-mean.ts'
import { EngineError } from '../common/errors.ts'
import { print, printError, wordsOut } from './output.ts'
import { usage } from './usage.ts'

/** A command as found: its name in full, and the words that are left. */
export interface Found {
  readonly name: string
  readonly command: CommandDef
  readonly rest: readonly string[]
}

/** Runs the command that `words` name. @throws OPTION_INVALID for words that are not understood */
export async function runWords(
  main: CommandDef,
  words: readonly string[],
  version: string,
): Promise<void> {
  const asked = words[0] === 'help' ? [...words.slice(1), '--help'] : words
  const found = await find(main, asked)
  const { name, command, rest } = found
  if (rest.some((word) => word === '--help' || word === '-h')) {
    print(await usage(name, command, wordsOut.colors))
    return
  }
  if (command.subCommands === undefined) {
    refuseMistakes(found, await resolved(command.args ?? {}))
    await runCommand(command, { rawArgs: [...rest] })
    return
  }
  if (rest.length === 1 && (rest[0] === '--version' || rest[0] === '-v')) {
    print(version)
    return
  }
  if (rest.length > 0) throw mistake(`there is no option ${rest[0]}`, `${name} --help`)
  printError(await usage(name, command, wordsOut.colors))
  process.exitCode = 2
}

/** Follows the words to the command that they name. @throws OPTION_INVALID when there is none of that name */
export async function find(main: CommandDef, words: readonly string[]): Promise<Found> {
  let command = main
  let name = 'tussock'
  let rest = words
  for (;;) {
    const subCommands = command.subCommands && (await resolved(command.subCommands))
    // A group has no options of its own: the first word that is none names the subcommand.
    const index = rest.findIndex((word) => !word.startsWith('-'))
    if (subCommands === undefined || index < 0) return { name, command, rest }
    const word = rest[index]
    if (!Object.hasOwn(subCommands, word)) {
      const names = Object.keys(subCommands)
      const meant = didYouMean(word, names) ?? `Commands are ${names.join(', ')}.`
      throw mistake(`there is no command '${name} ${word}'`, `${name} --help`, meant)
    }
    command = await resolved(subCommands[word])
    name = `${name} ${word}`
    rest = rest.filter((_, at) => at !== index)
  }
}

/** @throws OPTION_INVALID for what citty would pass over */
function refuseMistakes({ name, rest }: Found, args: ArgsDef): void {
  const options: Record<string, { type: 'string' | 'boolean'; short?: string }> = {}
  const words: string[] = []
  for (const [option, { type, alias, required }] of Object.entries(args as ArgsWithAlias)) {
    if (type === 'positional') words.push(required === false ? '' : option)
    else {
      const short = typeof alias === 'string' ? { short: alias } : {}
      options[option] = { type: type === 'boolean' ? 'boolean' : 'string', ...short }
    }
  }
  const { tokens } = parseArgs({
    args: [...rest],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const seen = new Set<string>()
  let wordCount = 0
  for (const token of tokens) {
    if (token.kind === 'positional' && ++wordCount > words.length) {
      const hint =
        name === 'tussock sql' ? 'Statements are given by -c "…", -f file or a pipe.' : null
      throw mistake(`the word '${token.value}' is one too many`, `${name} --help`, hint)
    }
    if (token.kind !== 'option') continue
    if (!Object.hasOwn(options, token.name)) {
      const names = Object.keys(options).map((option) => `--${option}`)
      const hint = didYouMean(`--${token.name}`, names) ?? null
      throw mistake(`there is no option ${token.rawName}`, `${name} --help`, hint)
    }
    const problem = valueProblem(options[token.name].type, token.value, token.inlineValue)
    if (problem !== null) throw mistake(`--${token.name} ${problem}`, `${name} --help`)
    if (seen.has(token.name)) throw mistake(`--${token.name} is given twice`, `${name} --help`)
    seen.add(token.name)
  }
  const missing = words.slice(wordCount).find((word) => word !== '')
  if (missing !== undefined) {
    throw mistake(`<${missing}> is missing: ${args[missing].description}`, `${name} --help`)
  }
}

type ArgsWithAlias = Record<
  string,
  { type?: string; alias?: string | string[]; required?: boolean }
>

function valueProblem(
  type: 'string' | 'boolean',
  value: string | undefined,
  inline: boolean | undefined,
): string | null {
  if (type === 'boolean') return value === undefined ? null : 'takes no value'
  // `--store --json` has forgotten the value; SQL may begin with a comment.
  const forgotten = value === undefined || (!inline && /^--?[a-z][\w-]*$/.test(value))
  return forgotten ? 'takes a value' : null
}

function mistake(message: string, help: string, hint: string | null = null): EngineError {
  return new EngineError('OPTION_INVALID', message, {
    context: { hint: `${hint === null ? '' : `${hint} `}See ${help}` },
  })
}

async function resolved<T>(value: Resolvable<T>): Promise<T> {
  return typeof value === 'function' ? await (value as () => T | Promise<T>)() : await value
}
