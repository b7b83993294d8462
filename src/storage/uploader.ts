/**
 * Puts encoded SSTs on the object store, a bounded number at a time. Retries are the store's (see object/retry.ts); what
 * still fails is the caller's failure. An object is written once under an id that nobody else can mint,
 * so a plain put is enough, and a large one may go in parts. Control thread.
 */
import type { JobOutput } from './job.ts'
import type { ObjectStore } from './object/object-store.ts'
import { sstKey } from './sst-name.ts'

type EncodedSst = JobOutput['ssts'][number]

export class Uploader {
  private readonly objects: ObjectStore
  private readonly concurrency: number
  private running = 0
  private bytesInFlight = 0
  private bytesDone = 0
  private readonly waiting: (() => void)[] = []

  constructor(objects: ObjectStore, concurrency: number) {
    this.objects = objects
    this.concurrency = concurrency
  }

  /** Bytes of objects whose upload was asked for and has not ended. */
  get inFlightBytes(): number {
    return this.bytesInFlight
  }

  get uploadedBytes(): number {
    return this.bytesDone
  }

  /** Resolves when all of them are on the store. */
  async upload(ssts: readonly EncodedSst[]): Promise<void> {
    await Promise.all(ssts.map((sst) => this.uploadOne(sst)))
  }

  private async uploadOne(sst: EncodedSst): Promise<void> {
    this.bytesInFlight += sst.length
    await this.enter()
    try {
      const body = new Uint8Array(sst.body, 0, sst.length)
      await this.objects.put(sstKey(sst.meta.sstId), body)
      this.bytesDone += sst.length
    } finally {
      this.bytesInFlight -= sst.length
      this.running--
      this.waiting.shift()?.()
    }
  }

  private async enter(): Promise<void> {
    while (this.running >= this.concurrency) {
      await new Promise<void>((resolve) => this.waiting.push(resolve))
    }
    this.running++
  }
}
