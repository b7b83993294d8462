/**
 * Calendar arithmetic on days and microseconds since 1970-01-01T00:00Z (proleptic Gregorian, UTC), and
 * the text forms of date, time, timestamp and interval as PostgreSQL reads and prints them. Times within
 * a safe integer (until the year 2255) are numbers; all else is split into days and microseconds.
 */
import { EngineError } from '../common/errors.ts'

export const MICROS_PER_SECOND = 1_000_000
export const MICROS_PER_MINUTE = 60 * MICROS_PER_SECOND
export const MICROS_PER_HOUR = 3600 * MICROS_PER_SECOND
export const MICROS_PER_DAY = 86_400 * MICROS_PER_SECOND

/** Days of a date; month 1..12, day 1..31 (checked by the caller). Year 0 is 1 BC. */
export function daysOfDate(year: number, month: number, day: number): number {
  // Years begin in March, so that the leap day is the last one (Hinnant, "chrono-compatible low-level
  // date algorithms").
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468
}

/** The date as `year * 512 + month * 32 + day`. */
export function packedDate(days: number): number {
  const z = days + 719_468
  const era = Math.floor(z / 146_097)
  const dayOfEra = z - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  )
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const shifted = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1
  const month = shifted < 10 ? shifted + 3 : shifted - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  return year * 512 + month * 32 + day
}

const yearOf = (packed: number): number => Math.floor(packed / 512)
const monthOf = (packed: number): number => (((packed % 512) + 512) % 512) >> 5
const dayOf = (packed: number): number => ((packed % 32) + 32) % 32

export const TRUNCATE_UNITS = [
  'microseconds',
  'milliseconds',
  'second',
  'minute',
  'hour',
  'day',
  'week',
  'month',
  'quarter',
  'year',
  'decade',
  'century',
  'millennium',
] as const
export type TruncateUnit = (typeof TRUNCATE_UNITS)[number]

/** The unit that PostgreSQL means by this word, or null. */
export function truncateUnit(word: string): TruncateUnit | null {
  const name = word.toLowerCase()
  const aliases: Readonly<Record<string, TruncateUnit>> = {
    microsecond: 'microseconds',
    millisecond: 'milliseconds',
    seconds: 'second',
    minutes: 'minute',
    hours: 'hour',
    days: 'day',
    weeks: 'week',
    months: 'month',
    years: 'year',
    decades: 'decade',
    centuries: 'century',
    millennia: 'millennium',
  }
  return TRUNCATE_UNITS.find((unit) => unit === name) ?? aliases[name] ?? null
}

/** Length of units that have one, in microseconds; 0 for those of the calendar. */
export function unitMicros(unit: TruncateUnit): number {
  switch (unit) {
    case 'microseconds':
      return 1
    case 'milliseconds':
      return 1000
    case 'second':
      return MICROS_PER_SECOND
    case 'minute':
      return MICROS_PER_MINUTE
    case 'hour':
      return MICROS_PER_HOUR
    case 'day':
      return MICROS_PER_DAY
    default:
      return 0
  }
}

/** The first day of the calendar unit that `days` lies in. */
export function truncateDays(unit: TruncateUnit, days: number): number {
  if (unit === 'week') return days - ((((days + 3) % 7) + 7) % 7)
  const packed = packedDate(days)
  const year = yearOf(packed)
  switch (unit) {
    case 'month':
      return daysOfDate(year, monthOf(packed), 1)
    case 'quarter':
      return daysOfDate(year, Math.floor((monthOf(packed) - 1) / 3) * 3 + 1, 1)
    case 'year':
      return daysOfDate(year, 1, 1)
    case 'decade':
      return daysOfDate(Math.floor(year / 10) * 10, 1, 1)
    case 'century':
      return daysOfDate(Math.floor((year - 1) / 100) * 100 + 1, 1, 1)
    case 'millennium':
      return daysOfDate(Math.floor((year - 1) / 1000) * 1000 + 1, 1, 1)
    default:
      return days
  }
}

/** Fields of `extract` and the scale of their numeric result. */
export const EXTRACT_SCALES = {
  microseconds: 0,
  milliseconds: 3,
  second: 6,
  minute: 0,
  hour: 0,
  day: 0,
  dow: 0,
  isodow: 0,
  doy: 0,
  week: 0,
  month: 0,
  quarter: 0,
  year: 0,
  isoyear: 0,
  decade: 0,
  century: 0,
  millennium: 0,
  epoch: 6,
} as const
export type ExtractField = keyof typeof EXTRACT_SCALES

export function extractField(word: string): ExtractField | null {
  const name = word.toLowerCase()
  if (name in EXTRACT_SCALES) return name as ExtractField
  const singular = name.replace(/s$/, '')
  if (singular in EXTRACT_SCALES) return singular as ExtractField
  if (`${name}s` in EXTRACT_SCALES) return `${name}s` as ExtractField
  return null
}

/** A field of a point in time, at its scale; not `epoch`, which the caller has already. */
export function extract(field: ExtractField, days: number, microsOfDay: number): number {
  switch (field) {
    case 'microseconds':
    case 'milliseconds':
    case 'second':
      // 1 s = 1,000 ms (scale 3) = 1,000,000 us: one integer serves all three.
      return microsOfDay % MICROS_PER_MINUTE
    case 'minute':
      return Math.floor(microsOfDay / MICROS_PER_MINUTE) % 60
    case 'hour':
      return Math.floor(microsOfDay / MICROS_PER_HOUR)
    case 'epoch':
      return days * MICROS_PER_DAY + microsOfDay
    default:
      return extractDate(field, days)
  }
}

function extractDate(field: ExtractField, days: number): number {
  const packed = packedDate(days)
  const year = yearOf(packed)
  switch (field) {
    case 'day':
      return dayOf(packed)
    case 'dow':
      return (((days + 4) % 7) + 7) % 7
    case 'isodow':
      return ((((days + 3) % 7) + 7) % 7) + 1
    case 'doy':
      return days - daysOfDate(year, 1, 1) + 1
    case 'week':
      return Math.floor((days - isoYearStart(isoYear(days))) / 7) + 1
    case 'month':
      return monthOf(packed)
    case 'quarter':
      return Math.floor((monthOf(packed) + 2) / 3)
    // There is no year 0: the year before 1 is -1.
    case 'year':
      return year > 0 ? year : year - 1
    case 'isoyear': {
      const iso = isoYear(days)
      return iso > 0 ? iso : iso - 1
    }
    case 'decade':
      return Math.floor(year / 10)
    case 'century':
      return year > 0 ? Math.floor((year + 99) / 100) : -Math.floor((99 - (year - 1)) / 100)
    default:
      return year > 0 ? Math.floor((year + 999) / 1000) : -Math.floor((999 - (year - 1)) / 1000)
  }
}

/** The Monday of the week that holds January 4th. */
function isoYearStart(year: number): number {
  return truncateDays('week', daysOfDate(year, 1, 4))
}

function isoYear(days: number): number {
  // The Thursday of the week lies in its ISO year.
  return yearOf(packedDate(truncateDays('week', days) + 3))
}

const pad = (value: number, width: number): string => String(value).padStart(width, '0')

export function formatDate(days: number): string {
  const packed = packedDate(days)
  const year = yearOf(packed)
  const shown = year > 0 ? year : 1 - year
  const text = `${pad(shown, 4)}-${pad(monthOf(packed), 2)}-${pad(dayOf(packed), 2)}`
  return year > 0 ? text : `${text} BC`
}

/** `HH:MM:SS[.ffffff]`, trailing zeros cut; hours may have more digits. */
export function formatTime(micros: number): string {
  const hours = Math.floor(micros / MICROS_PER_HOUR)
  const minutes = Math.floor(micros / MICROS_PER_MINUTE) % 60
  const seconds = Math.floor(micros / MICROS_PER_SECOND) % 60
  const fraction = micros % MICROS_PER_SECOND
  const text = `${pad(hours, 2)}:${pad(minutes, 2)}:${pad(seconds, 2)}`
  return fraction === 0 ? text : `${text}.${pad(fraction, 6).replace(/0+$/, '')}`
}

/** @param zone appended to the time: '' or '+00'. @param separator between date and time. */
export function formatTimestamp(micros: number | bigint, zone = '', separator = ' '): string {
  const days = splitDays(micros)
  const rest = Number(BigInt(micros) - BigInt(days) * BigInt(MICROS_PER_DAY))
  const date = formatDate(days)
  const suffix = date.endsWith(' BC') ? ' BC' : ''
  return `${date.replace(' BC', '')}${separator}${formatTime(rest)}${zone}${suffix}`
}

/** Whole days since 1970 of a timestamp, rounded down. */
export function splitDays(micros: number | bigint): number {
  if (typeof micros === 'number') return Math.floor(micros / MICROS_PER_DAY)
  const day = BigInt(MICROS_PER_DAY)
  const days = micros / day
  return Number(micros % day < 0n ? days - 1n : days)
}

export function formatInterval(micros: number | bigint): string {
  const total = BigInt(micros)
  const magnitude = total < 0n ? -total : total
  const days = magnitude / BigInt(MICROS_PER_DAY)
  const rest = Number(magnitude % BigInt(MICROS_PER_DAY))
  const sign = total < 0n ? '-' : ''
  const parts: string[] = []
  if (days !== 0n) parts.push(`${sign}${days} day${days === 1n && sign === '' ? '' : 's'}`)
  if (rest !== 0 || days === 0n) parts.push(`${sign}${formatTime(rest)}`)
  return parts.join(' ')
}

function invalid(type: string, text: string): EngineError {
  return new EngineError('VALUE_INVALID', `invalid input syntax for type ${type}: "${text}"`, {
    context: { sqlState: '22007', type, value: text.slice(0, 100) },
  })
}

function outOfRange(type: string, text: string): EngineError {
  return new EngineError('VALUE_OVERFLOW', `date/time field value out of range: "${text}"`, {
    context: { sqlState: '22008', type, value: text.slice(0, 100) },
  })
}

const DATE = /^(\d{4,6})-(\d{1,2})-(\d{1,2})/
const TIME = /^(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?/
const ZONE = /^(?:(z|utc|gmt)|([+-])(\d{1,2})(?::?(\d{2}))?(?::(\d{2}))?)$/i
const MONTH_DAYS: readonly number[] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

interface Parsed {
  readonly days: number
  readonly micros: number
  /** East of UTC. */
  readonly zoneMicros: number | null
}

function parseParts(text: string, type: string, date: boolean): Parsed {
  let rest = text.trim()
  const before = /\s*bc$/i.test(rest)
  if (before) rest = rest.replace(/\s*bc$/i, '')
  let days = 0
  if (date) {
    const match = DATE.exec(rest)
    if (match === null) throw invalid(type, text)
    days = checkedDate(text, type, Number(match[1]), Number(match[2]), Number(match[3]), before)
    rest = rest.slice(match[0].length)
    if (rest !== '' && !/^[tT\s]/.test(rest)) throw invalid(type, text)
    rest = rest.replace(/^(?:[tT]|\s+)/, '')
  }
  let micros = 0
  const time = TIME.exec(rest)
  if (time !== null) {
    micros = checkedTime(text, type, time)
    rest = rest.slice(time[0].length).trim()
  } else if (!date) throw invalid(type, text)
  if (rest === '') return { days, micros, zoneMicros: null }
  const zone = time === null ? null : ZONE.exec(rest)
  if (zone === null) throw invalid(type, text)
  const offset =
    Number(zone[3] ?? 0) * MICROS_PER_HOUR +
    Number(zone[4] ?? 0) * MICROS_PER_MINUTE +
    Number(zone[5] ?? 0) * MICROS_PER_SECOND
  return { days, micros, zoneMicros: zone[2] === '-' ? -offset : offset }
}

function checkedDate(
  text: string,
  type: string,
  shownYear: number,
  month: number,
  day: number,
  before: boolean,
): number {
  if (shownYear === 0 || month < 1 || month > 12 || day < 1) throw outOfRange(type, text)
  const year = before ? 1 - shownYear : shownYear
  const days = daysOfDate(year, month, day)
  // The 31st of a short month lands in the next one.
  if (day > MONTH_DAYS[month - 1] || monthOf(packedDate(days)) !== month) {
    throw outOfRange(type, text)
  }
  return days
}

function checkedTime(text: string, type: string, match: RegExpExecArray): number {
  const hours = Number(match[1])
  const minutes = Number(match[2])
  const seconds = Number(match[3] ?? 0)
  // Digits beyond the microsecond are rounded.
  const fraction = Math.round(Number(`0.${match[4] ?? 0}`) * MICROS_PER_SECOND)
  const micros =
    hours * MICROS_PER_HOUR + minutes * MICROS_PER_MINUTE + seconds * MICROS_PER_SECOND + fraction
  if (minutes > 59 || seconds > 60 || micros > MICROS_PER_DAY) throw outOfRange(type, text)
  return micros
}

export function parseDate(text: string): number {
  return parseParts(text, 'date', true).days
}

export function parseTime(text: string): number {
  return parseParts(text, 'time', false).micros
}

/** Microseconds; with a zone a timestamptz is shifted to UTC and a timestamp ignores it, as in PostgreSQL. */
export function parseTimestamp(text: string, type: 'timestamp' | 'timestamptz'): bigint {
  const name = type === 'timestamp' ? 'timestamp' : 'timestamp with time zone'
  const { days, micros, zoneMicros } = parseParts(text, name, true)
  const shift = type === 'timestamptz' ? (zoneMicros ?? 0) : 0
  return BigInt(days) * BigInt(MICROS_PER_DAY) + BigInt(micros - shift)
}

const INTERVAL_UNITS: Readonly<Record<string, number>> = {
  us: 1,
  microsecond: 1,
  ms: 1000,
  millisecond: 1000,
  s: MICROS_PER_SECOND,
  sec: MICROS_PER_SECOND,
  second: MICROS_PER_SECOND,
  m: MICROS_PER_MINUTE,
  min: MICROS_PER_MINUTE,
  minute: MICROS_PER_MINUTE,
  h: MICROS_PER_HOUR,
  hr: MICROS_PER_HOUR,
  hour: MICROS_PER_HOUR,
  d: MICROS_PER_DAY,
  day: MICROS_PER_DAY,
  w: 7 * MICROS_PER_DAY,
  week: 7 * MICROS_PER_DAY,
}
const INTERVAL_PART = /^([+-]?\d+(?:\.\d+)?|[+-]?\.\d+)\s*([a-z]+)?\s*/
const INTERVAL_TIME = /^([+-]?)(\d+):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\s*/

/** Microseconds of `1 day 02:03:04.5`, `10 seconds`, `-3 hours ago`…; a bare number is seconds. */
export function parseInterval(text: string): bigint {
  let rest = text.trim().toLowerCase()
  const ago = /\s+ago$/.test(rest)
  if (ago) rest = rest.replace(/\s+ago$/, '')
  if (rest === '') throw invalid('interval', text)
  let total = 0n
  while (rest !== '') {
    const time = INTERVAL_TIME.exec(rest)
    const match = time ?? INTERVAL_PART.exec(rest)
    if (match === null) throw invalid('interval', text)
    total += time === null ? intervalPart(match, text) : intervalTime(time, text)
    rest = rest.slice(match[0].length)
  }
  return ago ? -total : total
}

function intervalPart(match: RegExpExecArray, text: string): bigint {
  const word = match[2] ?? 's'
  const unit = INTERVAL_UNITS[word] ?? INTERVAL_UNITS[word.replace(/s$/, '')]
  if (unit === undefined) {
    if (/^(mon|month|year|yr|y|decade|centur|millenni)/.test(word)) {
      throw new EngineError('SQL_UNSUPPORTED', 'intervals of months or years are not supported', {
        context: { sqlState: '0A000', value: text.slice(0, 100), hint: 'use days' },
      })
    }
    throw invalid('interval', text)
  }
  if (!match[1].includes('.')) return BigInt(match[1]) * BigInt(unit)
  return BigInt(Math.round(Number(match[1]) * unit))
}

function intervalTime(match: RegExpExecArray, text: string): bigint {
  if (Number(match[3]) > 59 || Number(match[4] ?? 0) > 59) throw outOfRange('interval', text)
  const fraction = Math.round(Number(`0.${match[5] ?? 0}`) * MICROS_PER_SECOND)
  const micros =
    BigInt(match[2]) * BigInt(MICROS_PER_HOUR) +
    BigInt(
      Number(match[3]) * MICROS_PER_MINUTE + Number(match[4] ?? 0) * MICROS_PER_SECOND + fraction,
    )
  return match[1] === '-' ? -micros : micros
}
