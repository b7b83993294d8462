/** A pool thread that dies at its first job, without an answer. */
export default function die() {
  process.exit(7)
}
