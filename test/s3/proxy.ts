/**
 * Stands between the engine and the S3 server: sees every request, and misbehaves when told to. What it counts
 * is what was sent, whatever the engine believes.
 */
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Seen {
  readonly method: string
  /** Within the bucket; empty for the bucket itself. */
  readonly key: string
  readonly query: string
  /** Of `performance.now()`, when it began. */
  readonly atMs: number
  readonly bytes: number
}

export type Fault =
  /** Connections are closed as soon as they speak. */
  | { readonly kind: 'cut' }
  /** Requests are never answered. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'status'; readonly status: number; readonly code: string }
  /** Done, but nobody hears of it: every n-th request's connection is cut instead of the answer. */
  | { readonly kind: 'deaf'; readonly every: number }
  /** Answered as it should be, so much later. */
  | { readonly kind: 'slow'; readonly delayMs: number }

export class S3Proxy {
  readonly seen: Seen[] = []
  fault: Fault | null = null
  /** Answers that were withheld. */
  withheld = 0
  private requests = 0
  private readonly target: URL
  private readonly agent = new Agent({ keepAlive: true })
  private readonly sockets = new Set<Socket>()
  private readonly server = createServer((incoming, answer) => {
    this.handle(incoming, answer).catch(() => answer.destroy())
  })

  private constructor(target: string) {
    this.target = new URL(target)
    this.server.on('connection', (socket) => {
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
    })
  }

  static async open(target: string): Promise<S3Proxy> {
    const proxy = new S3Proxy(target)
    await new Promise<void>((resolve) => proxy.server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  storeUrl(bucket: string, prefix: string): string {
    return `s3://${bucket}/${prefix}?endpoint=${encodeURIComponent(this.endpoint)}&pathStyle=true`
  }

  /** Requests since the last call. */
  take(): Seen[] {
    return this.seen.splice(0)
  }

  /** Ends what is under way, and the fault with it. */
  heal(): void {
    const { fault } = this
    this.fault = null
    if (fault?.kind === 'silent') for (const socket of this.sockets) socket.destroy()
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve))
    for (const socket of this.sockets) socket.destroy()
    this.agent.destroy()
    await closed
  }

  private async handle(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const atMs = performance.now()
    const { fault } = this
    if (fault?.kind === 'cut') return void incoming.socket.destroy()
    const parts: Buffer[] = []
    for await (const part of incoming) parts.push(part)
    const body = Buffer.concat(parts)
    const { pathname, search } = new URL(incoming.url ?? '/', 'http://any')
    const key = decodeURIComponent(pathname.split('/').slice(2).join('/'))
    this.seen.push({ method: incoming.method ?? '', key, query: search, atMs, bytes: body.length })
    if (fault?.kind === 'silent') return
    if (fault?.kind === 'status') return refuse(answer, fault.status, fault.code)
    if (fault?.kind === 'slow') await sleep(fault.delayMs)
    const deaf = fault?.kind === 'deaf' && ++this.requests % fault.every === 0
    await this.forward(incoming, body, answer, deaf)
  }

  /** Unchanged, `host` too: it is signed. */
  private forward(
    incoming: IncomingMessage,
    body: Buffer,
    answer: ServerResponse,
    deaf: boolean,
  ): Promise<void> {
    const { hostname, port } = this.target
    const { method, url: path, headers } = incoming
    return new Promise((resolve, reject) => {
      const sent = request({ agent: this.agent, hostname, port, method, path, headers }, (got) => {
        got.on('end', resolve)
        if (deaf) {
          this.withheld++
          got.resume()
          incoming.socket.destroy()
          return
        }
        answer.writeHead(got.statusCode ?? 500, got.rawHeaders)
        got.pipe(answer)
        got.on('error', reject)
      })
      sent.on('error', reject)
      sent.end(body)
    })
  }
}

function refuse(answer: ServerResponse, status: number, code: string): void {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code></Error>`
  answer.writeHead(status, { 'content-type': 'application/xml', 'content-length': body.length })
  answer.end(body)
}
