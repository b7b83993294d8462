/**
 * The events of the Nexmark benchmark, made from a seed: person, auction and bid in the shares 1 : 3 : 46, with the
 * skew of Apache Beam's and nexmark-flink's generators. The generator is sequential (each event draws
 * from one stream of random numbers), so a position is the event number and the four words of the
 * random generator.
 * Hot path: millions of events a second; no object, string or closure per event. The fields of the
 * current event stand in the generator itself until the next one.
 */

export const PERSON = 0
export const AUCTION = 1
export const BID = 2

const TOTAL_SHARE = 50
const PERSON_SHARE = 1
const AUCTION_SHARE = 3
const FIRST_ID = 1000
const FIRST_CATEGORY = 10
const CATEGORY_COUNT = 5
const HOT = 100
const LEAD = 10
const IN_FLIGHT_AUCTIONS = 100
const ACTIVE_PERSONS = 1000
const POOL_BYTES = 65_536
const CHANNEL_COUNT = 10_000
const EVENTS_PER_SECOND = 10_000
/** 2025-01-01T00:00Z, microseconds. */
const BASE_TIME_US = 1_735_689_600_000_000

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text)
const STATES = ['AZ', 'CA', 'ID', 'OR', 'WA', 'WY'].map(ascii)
const CITIES = [
  'Phoenix',
  'Los Angeles',
  'San Francisco',
  'Boise',
  'Portland',
  'Bend',
  'Redmond',
  'Seattle',
  'Kent',
  'Cheyenne',
].map(ascii)
const FIRST_NAMES = [
  'Peter',
  'Paul',
  'Luke',
  'John',
  'Saul',
  'Vicky',
  'Kate',
  'Julie',
  'Sarah',
  'Deiter',
  'Walter',
].map(ascii)
const LAST_NAMES = [
  'Shultz',
  'Abrams',
  'Spencer',
  'White',
  'Bartels',
  'Walton',
  'Smith',
  'Jones',
  'Noris',
].map(ascii)
const HOT_CHANNELS = ['Google', 'Facebook', 'Baidu', 'Apple']

/** A byte string somewhere: `bytes[start .. end]`. */
class Text {
  bytes: Uint8Array = new Uint8Array(0)
  start = 0
  end = 0

  set(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes
    this.start = start
    this.end = end
  }
}

/** Position of a generator. */
export interface GeneratorState {
  readonly events: number
  readonly a: number
  readonly b: number
  readonly c: number
  readonly d: number
}

export class NexmarkGenerator {
  /** Events made so far; the number of the next one. */
  events = 0
  // Fields of the current event; which ones count depends on its kind. Times in microseconds.
  id = 0
  dateTime = 0
  expires = 0
  seller = 0
  category = 0
  initialBid = 0
  reserve = 0
  auction = 0
  bidder = 0
  price = 0
  readonly name = new Text()
  readonly email = new Text()
  readonly creditCard = new Text()
  readonly city = new Text()
  readonly state = new Text()
  readonly itemName = new Text()
  readonly description = new Text()
  readonly channel = new Text()
  readonly url = new Text()
  readonly extra = new Text()

  private a = 0x9e3779b9 | 0
  private b = 0x243f6a88 | 0
  private c = 0xb7e15162 | 0
  private d: number
  private readonly pool = new Uint8Array(POOL_BYTES)
  private readonly channelNames: Uint8Array[] = []
  private readonly channelUrls: Uint8Array[] = []
  private readonly hotUrls: Uint8Array[] = []
  private readonly hotNames = HOT_CHANNELS.map(ascii)
  private readonly scratch = new Uint8Array(512)
  private scratchEnd = 0

  constructor(seed: number) {
    this.d = seed | 0
    for (let i = 0; i < 20; i++) this.draw()
    for (let i = 0; i < POOL_BYTES; i++) this.pool[i] = 97 + this.below(26)
    for (let i = 0; i < HOT_CHANNELS.length; i++) this.hotUrls.push(ascii(this.makeUrl()))
    for (let i = 0; i < CHANNEL_COUNT; i++) {
      let url = this.makeUrl()
      if (this.below(10) > 0) url += `&channel_id=${Math.imul(i, 2654435761) >>> 1}`
      this.channelNames.push(ascii(`channel-${i}`))
      this.channelUrls.push(ascii(url))
    }
  }

  position(): GeneratorState {
    return { events: this.events, a: this.a, b: this.b, c: this.c, d: this.d }
  }

  seek(state: GeneratorState): void {
    this.events = state.events
    this.a = state.a
    this.b = state.b
    this.c = state.c
    this.d = state.d
  }

  /** Makes the next event; returns its kind. */
  next(): number {
    const number = this.events++
    const rest = number % TOTAL_SHARE
    this.dateTime = timeOf(number)
    this.scratchEnd = 0
    if (rest < PERSON_SHARE) {
      this.makePerson(number)
      return PERSON
    }
    if (rest < PERSON_SHARE + AUCTION_SHARE) {
      this.makeAuction(number)
      return AUCTION
    }
    this.makeBid(number)
    return BID
  }

  private makePerson(number: number): void {
    const first = FIRST_NAMES[this.below(FIRST_NAMES.length)]
    const last = LAST_NAMES[this.below(LAST_NAMES.length)]
    const scratch = this.scratch
    let at = this.scratchEnd
    scratch.set(first, at)
    scratch[at + first.length] = 32
    scratch.set(last, at + first.length + 1)
    this.name.set(scratch, at, at + first.length + 1 + last.length)
    this.scratchEnd = this.name.end
    this.makeEmail()
    at = this.scratchEnd
    for (let group = 0; group < 4; group++) {
      if (group > 0) scratch[at++] = 32
      let digits = this.below(10_000)
      for (let digit = 3; digit >= 0; digit--) {
        scratch[at + digit] = 48 + (digits % 10)
        digits = Math.floor(digits / 10)
      }
      at += 4
    }
    this.creditCard.set(scratch, this.scratchEnd, at)
    this.scratchEnd = at
    const city = CITIES[this.below(CITIES.length)]
    this.city.set(city, 0, city.length)
    const state = STATES[this.below(STATES.length)]
    this.state.set(state, 0, state.length)
    this.id = lastPerson(number) + FIRST_ID
    const used = 8 + lengthOf(this.name) + lengthOf(this.email) + lengthOf(this.creditCard)
    this.makeExtra(used + city.length + 2, 200)
  }

  private makeEmail(): void {
    const scratch = this.scratch
    const start = this.scratchEnd
    this.makeText(7, this.email)
    const userBytes = lengthOf(this.email)
    scratch.copyWithin(start, this.email.start, this.email.end)
    let at = start + userBytes
    scratch[at++] = 64
    this.scratchEnd = at
    this.makeText(5, this.email)
    const hostBytes = lengthOf(this.email)
    scratch.copyWithin(at, this.email.start, this.email.end)
    at += hostBytes
    scratch[at] = 46
    scratch[at + 1] = 99
    scratch[at + 2] = 111
    scratch[at + 3] = 109
    this.email.set(scratch, start, at + 4)
    this.scratchEnd = at + 4
  }

  private makeAuction(number: number): void {
    const lastSeller = lastPerson(number)
    const seller =
      this.below(4) > 0 ? Math.floor(lastSeller / HOT) * HOT : this.nextPerson(lastSeller)
    this.seller = seller + FIRST_ID
    this.category = FIRST_CATEGORY + this.below(CATEGORY_COUNT)
    this.initialBid = this.makePrice()
    const ahead = Math.floor((IN_FLIGHT_AUCTIONS * TOTAL_SHARE) / AUCTION_SHARE)
    const horizonMs = (timeOf(number + ahead) - this.dateTime) / 1000
    this.expires = this.dateTime + (1 + this.below(Math.max(horizonMs * 2, 1))) * 1000
    this.makeText(20, this.itemName)
    this.makeText(100, this.description)
    this.reserve = this.initialBid + this.makePrice()
    this.id = lastAuction(number) + FIRST_ID
    this.makeExtra(48 + lengthOf(this.itemName) + lengthOf(this.description), 500)
  }

  private makeBid(number: number): void {
    const newest = lastAuction(number)
    const auction = this.below(2) > 0 ? Math.floor(newest / HOT) * HOT : this.nextAuction(newest)
    this.auction = auction + FIRST_ID
    const person = lastPerson(number)
    const bidder = this.below(4) > 0 ? Math.floor(person / HOT) * HOT + 1 : this.nextPerson(person)
    this.bidder = bidder + FIRST_ID
    this.price = this.makePrice()
    let name: Uint8Array
    let url: Uint8Array
    if (this.below(2) > 0) {
      const hot = this.below(HOT_CHANNELS.length)
      name = this.hotNames[hot]
      url = this.hotUrls[hot]
    } else {
      const channel = this.below(CHANNEL_COUNT)
      name = this.channelNames[channel]
      url = this.channelUrls[channel]
    }
    this.channel.set(name, 0, name.length)
    this.url.set(url, 0, url.length)
    this.makeExtra(32, 100)
  }

  private nextPerson(last: number): number {
    const count = last + 1
    const active = Math.min(count, ACTIVE_PERSONS)
    return count - active + this.below(active + LEAD)
  }

  private nextAuction(last: number): number {
    const least = Math.max(last - IN_FLIGHT_AUCTIONS, 0)
    return least + this.below(last - least + 1 + LEAD)
  }

  private makePrice(): number {
    return Math.round(10 ** (this.draw() * 6) * 100)
  }

  /** Letters and some spaces, trimmed, into the scratch. */
  private makeText(lengthMax: number, target: Text): void {
    const scratch = this.scratch
    let start = this.scratchEnd
    const length = 3 + this.below(lengthMax - 3)
    let end = start
    for (let i = 0; i < length; i++) {
      scratch[end++] = this.below(13) === 0 ? 32 : 97 + this.below(26)
    }
    this.scratchEnd = end
    while (start < end && scratch[start] === 32) start++
    while (end > start && scratch[end - 1] === 32) end--
    target.set(scratch, start, end)
  }

  /** Filler, so that an event has `average` bytes on the whole. */
  private makeExtra(used: number, average: number): void {
    if (used > average) {
      this.extra.set(this.pool, 0, 0)
      return
    }
    const room = average - used
    const spread = Math.round(room * 0.2)
    const length = room - spread + (spread === 0 ? 0 : this.below(2 * spread))
    const start = this.below(POOL_BYTES - length)
    this.extra.set(this.pool, start, start + length)
  }

  private makeUrl(): string {
    const first = this.makeWord()
    const second = this.makeWord()
    return `https://www.nexmark.com/${first}/${second}/${this.makeWord()}/item.htm?query=1`
  }

  private makeWord(): string {
    let word = ''
    const length = 3 + this.below(2)
    for (let i = 0; i < length; i++) word += String.fromCharCode(97 + this.below(26))
    return word
  }

  private below(limit: number): number {
    return Math.floor(this.draw() * limit)
  }

  /** sfc32 (Chris Doty-Humphrey, PractRand, public domain): uniform in [0, 1). */
  private draw(): number {
    const t = (((this.a + this.b) | 0) + this.d) | 0
    this.d = (this.d + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (((this.c << 21) | (this.c >>> 11)) + t) | 0
    return (t >>> 0) / 4294967296
  }
}

function lengthOf(text: Text): number {
  return text.end - text.start
}

/** Event time in microseconds, whole milliseconds. */
function timeOf(number: number): number {
  return BASE_TIME_US + Math.floor((number * (1e6 / EVENTS_PER_SECOND)) / 1000) * 1000
}

function lastPerson(number: number): number {
  const round = Math.floor(number / TOTAL_SHARE)
  const offset = number % TOTAL_SHARE
  return round * PERSON_SHARE + (offset >= PERSON_SHARE ? PERSON_SHARE - 1 : offset)
}

function lastAuction(number: number): number {
  let round = Math.floor(number / TOTAL_SHARE)
  let offset = number % TOTAL_SHARE
  if (offset < PERSON_SHARE) {
    round--
    offset = AUCTION_SHARE - 1
  } else if (offset >= PERSON_SHARE + AUCTION_SHARE) offset = AUCTION_SHARE - 1
  else offset -= PERSON_SHARE
  return round * AUCTION_SHARE + offset
}
