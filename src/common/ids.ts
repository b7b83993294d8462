/**
 * Branded numbers of the engine and the only functions that make them. A branded number cannot be
 * passed where another is meant; the constructors are where the casts live.
 */
import { assert } from './assert.ts'

declare const brand: unique symbol
type Branded<Name extends string> = number & { readonly [brand]: Name }

/**
 * Interval between two barriers: a safe integer, milliseconds since 2024-01-01T00:00Z x 256 plus a
 * sequence number. Strictly increasing, also across restarts and clock jumps.
 */
export type Epoch = Branded<'Epoch'>
/** Identifies one table of keys and values in the store. Never reused. u32, >= 1. */
export type TableId = Branded<'TableId'>
/** Hash bucket of a distribution key; the unit of placement. u16. */
export type VNode = Branded<'VNode'>
/** Number of the writer that owns a database; each new writer takes the next one. */
export type Generation = Branded<'Generation'>
/** A count of bytes. */
export type Bytes = Branded<'Bytes'>

/** Buckets that keys hash into: placement never changes a key's bucket, only the bucket's owner. */
export const VNODE_COUNT = 256

export const EPOCH_ORIGIN_MS = Date.UTC(2024, 0, 1)
const EPOCH_SEQUENCE = 256

/** The epoch before any data. */
export const EPOCH_ZERO = 0 as Epoch

export function epoch(value: number): Epoch {
  assert(Number.isSafeInteger(value) && value >= 0, 'an epoch is a safe integer')
  return value as Epoch
}

/** max(clock, last + 1): increases although the clock may jump back. @param nowMs Unix time, ms. */
export function nextEpoch(last: Epoch, nowMs: number): Epoch {
  return epoch(Math.max(Math.floor(nowMs - EPOCH_ORIGIN_MS) * EPOCH_SEQUENCE, last + 1))
}

/** Unix time in ms at which an epoch was opened, as far as its clock was right. */
export function epochTimeMs(value: Epoch): number {
  return Math.floor(value / EPOCH_SEQUENCE) + EPOCH_ORIGIN_MS
}

export function tableId(value: number): TableId {
  assert(
    Number.isInteger(value) && value > 0 && value <= 0xffff_ffff,
    'a table id is a positive u32',
  )
  return value as TableId
}

export function vnode(value: number): VNode {
  assert(Number.isInteger(value) && value >= 0 && value < VNODE_COUNT, 'a vnode is below the count')
  return value as VNode
}

export function generation(value: number): Generation {
  assert(Number.isSafeInteger(value) && value >= 0, 'a generation is a safe integer')
  return value as Generation
}

export function bytes(value: number): Bytes {
  assert(Number.isSafeInteger(value) && value >= 0, 'a byte count is a safe integer')
  return value as Bytes
}

export const kibibytes = (value: number): Bytes => bytes(value * 1024)
export const mebibytes = (value: number): Bytes => bytes(value * 1024 * 1024)
