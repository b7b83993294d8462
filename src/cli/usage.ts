/** The text of `--help`: fits 80 columns. */
import type { ArgDef, CommandDef } from 'citty'
import type { Colors } from 'picocolors/types.js'

const WIDTH = 80
/** Names that are longer stand on a line of their own. */
const NAME_WIDTH = 30

/** @param name of the command in full: `tussock bench nexmark` */
export async function usage(name: string, command: CommandDef, colors: Colors): Promise<string> {
  const { description = '' } = command.meta as { readonly description?: string }
  const [what, example] = description.split(' Example: ')
  const subCommands = Object.entries((command.subCommands ?? {}) as Record<string, unknown>)
  const args = Object.entries((command.args ?? {}) as Record<string, ArgDef>)
  const positionals = args.filter(([, arg]) => arg.type === 'positional')
  const options = args.filter(([, arg]) => arg.type !== 'positional')
  const shape = [
    ...(subCommands.length > 0 ? ['<command>'] : []),
    ...positionals.map(([word, arg]) => (arg.required === false ? `[${word}]` : `<${word}>`)),
    ...(options.length > 0 ? ['[options]'] : []),
  ]
  const commands: [string, string][] = []
  for (const [subName, sub] of subCommands) commands.push([subName, await summary(sub)])
  return [
    wrap(what, WIDTH).join('\n'),
    section('Usage', [`  ${name} ${shape.join(' ')}`]),
    section('Commands', rows(commands)),
    section('Arguments', rows(positionals.map(([word, arg]) => [word, described(arg)]))),
    section('Options', rows(options.map(([option, arg]) => [label(option, arg), described(arg)]))),
    section('Example', example === undefined ? [] : [`  ${example}`]),
    commands.length === 0 ? '' : `${name} <command> --help tells more of each.`,
  ]
    .filter((part) => part !== '')
    .join('\n\n')

  function section(title: string, lines: readonly string[]): string {
    return lines.length === 0 ? '' : [colors.bold(title), ...lines].join('\n')
  }

  function rows(pairs: readonly (readonly [string, string])[]): string[] {
    const fitting = pairs.map(([left]) => left.length).filter((length) => length <= NAME_WIDTH)
    const width = Math.max(0, ...fitting)
    const indent = ' '.repeat(width + 4)
    return pairs.flatMap(([left, right]) => {
      const lines = wrap(right, WIDTH - indent.length).map((line) => indent + line)
      const head = `  ${colors.cyan(left)}`
      if (left.length > width) return [head, ...lines]
      return [
        `${head}${' '.repeat(width - left.length + 2)}${lines[0].trimStart()}`,
        ...lines.slice(1),
      ]
    })
  }
}

async function summary(sub: unknown): Promise<string> {
  const command = (typeof sub === 'function' ? await sub() : await sub) as CommandDef
  const { description = '' } = command.meta as { readonly description?: string }
  return description.split(' Example: ')[0].replace(/\.$/, '')
}

function label(name: string, arg: ArgDef): string {
  const short = 'alias' in arg && typeof arg.alias === 'string' ? `-${arg.alias}, ` : ''
  return `${short}--${name}${arg.type === 'boolean' ? '' : ` <${arg.valueHint ?? 'value'}>`}`
}

function described({ description = '', default: otherwise }: ArgDef): string {
  return otherwise === undefined ? description : `${description} (default ${String(otherwise)})`
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
