/** The parts one by one, by mitata. */
export interface MicroOptions {
  readonly filter: string
  readonly smoke: boolean
  readonly json: boolean
  readonly print: (line: string) => void
}

export async function runMicro(_options: MicroOptions): Promise<void> {}
