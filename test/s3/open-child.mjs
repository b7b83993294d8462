// Opens a store that cannot be opened, says how that ended, and must then end by itself.
// usage: node open-child.mjs <store>
import { open } from 'tussock'

const startMs = performance.now()
try {
  await open(process.argv[2])
  console.log(JSON.stringify({ code: 'opened' }))
  process.exit(2)
} catch ({ code, kind, message }) {
  const milliseconds = Math.round(performance.now() - startMs)
  console.log(JSON.stringify({ code, kind, message, milliseconds }))
}
