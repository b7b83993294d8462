/** The subcommands of `tussock`; each is loaded when it is asked for. */
import { defineCommand } from 'citty'

export const commands = defineCommand({
  meta: {
    name: 'tussock',
    description: 'Streaming SQL with durable state on S3, inside your Node process',
  },
  subCommands: {
    demo: () => import('./demo.ts').then(({ command }) => command),
    run: () => import('./run.ts').then(({ command }) => command),
    sql: () => import('./sql.ts').then(({ command }) => command),
    bench: () => import('./bench.ts').then(({ command }) => command),
    inspect: () => import('./inspect.ts').then(({ command }) => command),
    verify: () => import('./verify.ts').then(({ command }) => command),
  },
})
