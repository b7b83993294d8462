/** comlink's adapter for Node's ports; its types describe a bundler's view of the module, not Node's. */
import type { MessagePort } from 'node:worker_threads'
import type { Endpoint } from 'comlink'
import adapter from 'comlink/dist/umd/node-adapter.js'

export const nodeEndpoint = adapter as unknown as (port: MessagePort) => Endpoint
